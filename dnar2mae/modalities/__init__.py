"""Modalities: ``registry`` finds one by name, ``contract`` defines what the pretraining loop needs of it."""
