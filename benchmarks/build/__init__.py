"""Benchmarks from your own annotation: suites of classification tasks for any annotated genome."""
