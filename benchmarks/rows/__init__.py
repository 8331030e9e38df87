"""Rows of a benchmark, and how each modality reads and embeds them."""
