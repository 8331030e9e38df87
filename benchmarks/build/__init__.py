"""Benchmarks from your own annotation: suites of classification tasks for any annotated genome."""

from dnar2mae.benchmarks.build.config import BuildConfig
from dnar2mae.benchmarks.build.suite import Built, build_suite

__all__ = ["BuildConfig", "Built", "build_suite"]
