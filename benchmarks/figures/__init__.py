"""Figures of README.md and docs/, written from the rows of benchmarks/results/, each with its pedigree."""
