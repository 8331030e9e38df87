"""The packages to install: every folder of code, those at the root inside ``dnar2mae``; all else is in pyproject."""

from setuptools import find_packages, setup

ROOTS = ("kernels", "cli", "benchmarks")
inside = [
    f"dnar2mae.{name}" for name in find_packages(include=[pattern for root in ROOTS for pattern in (root, f"{root}.*")])
]
setup(
    packages=[*find_packages(include=["dnar2mae", "dnar2mae.*"]), *inside],
    package_dir={f"dnar2mae.{root}": root for root in ROOTS},
)
