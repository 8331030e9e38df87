"""A run on disk: its folder, settings, checkpoints, metrics and result; and processes that work for one that runs."""
