"""Benchmarks: downstream suites and speed."""
