"""The laboratory: the same model pretrained on the same windows under several mask laws, and compared."""
