"""Rows of a benchmark: what the benchmarks ask of each modality."""
