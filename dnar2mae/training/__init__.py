"""The training loop: one for every modality."""
