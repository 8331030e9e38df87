"""The tests that need CUDA, then those of kernels and models that run on any device; a row for each."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch

from dnar2mae.benchmarks.speed.gpu import ROOT
from dnar2mae.benchmarks.speed.parts.context import Context
from dnar2mae.benchmarks.speed.parts.environment import check

_GB_A_TEST = 25  # of the largest ones, whose definition runs in fp64; a worker keeps what it once had
_WORKERS = 8  # where tests are small: each holds a CUDA context of half a gigabyte


class Recorder:
    """A pytest plugin that writes outcomes to ``checks.csv``."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the outcome of a test's call, or of what kept it from being called."""
        if report.when == "call" or report.outcome != "passed":
            check(self.context, "test", report.nodeid, report.outcome, round(report.duration, 2))

    def pytest_collectreport(self, report: Any) -> None:
        """Write down a module that could not be imported or skips itself."""
        if report.outcome != "passed":
            check(self.context, "test", report.nodeid, f"collection {report.outcome}")


def run(context: Context) -> None:
    """Run both tiers; a dry run collects the first and does a little of the second."""
    folders = ["tests/kernels", "tests/models", "tests/training"]
    if context.dry:
        _pytest(context, ["-m", "gpu", "--collect-only", *folders])
        _pytest(context, ["-m", "not slow and not gpu", "tests/kernels/test_mask_draw.py", "-k", "philox"])
        return
    fit = int(torch.cuda.get_device_properties(0).total_memory / 1e9 / _GB_A_TEST)
    _pytest(context, ["-m", "gpu and not multi_gpu", *_workers(min(max(fit, 1), _WORKERS)), *folders])
    _pytest(context, ["-m", "not gpu and not slow and not multi_gpu", *_workers(_WORKERS), *folders[:2]])


def _workers(count: int) -> list[str]:
    return ["-n", str(count), "--dist", "worksteal"] if find_spec("xdist") else []


def _pytest(context: Context, arguments: list[str]) -> None:
    """Run pytest without the settings that need the test extra: a GPU machine brings its own packages."""
    settings = ["addopts=--import-mode=importlib", "filterwarnings=default", "pythonpath="]
    options = [word for setting in settings for word in ("-o", setting)]
    options += ["-q", "--tb=short", "--continue-on-collection-errors", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    if pytest.main([*options, *arguments], plugins=[Recorder(context)]) not in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        context.failures.append(f"pytest {' '.join(arguments)}")
