"""Tracks along a genome: what a model predicts of each base where that base is masked."""
