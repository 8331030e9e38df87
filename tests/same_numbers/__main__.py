"""``python -m tests.same_numbers OLD [NEW]``: whether two commits compute the same numbers, bit by bit.

Both train and score the same small cases (see :mod:`tests.same_numbers.cases`) on a CPU in fp32. Without NEW the
commit OLD is compared with the working tree as it lies. Ends with 1 if any number differs.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from dnar2mae.benchmarks.speed.gpu import ROOT, link

from . import worker
from .cases import make_cases, write_data
from .compare import compare


def check_out(commit: str, folder: Path) -> Path:
    """Write the files of a commit to a new folder."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def start(tree: Path, folder: Path, plan: Path) -> subprocess.Popen:
    """Start all cases with the package of a tree, in a process of its own; their results go to ``results.json``."""
    links = folder / "links"
    links.mkdir()
    link(links, tree)
    environment = {
        **os.environ,
        "PYTHONPATH": str(links),  # comes before what is installed
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": "1",  # sums must not depend on how many cores are free
        "DNAR2MAE_CACHE": str(folder / "cache"),
    }
    command = [sys.executable, worker.__file__, str(plan), str(folder / "results.json")]
    return subprocess.Popen(command, env=environment, cwd=folder)


def results_of(trees: list[Path], folder: Path) -> list[dict[str, Any]]:
    """Results of all cases for each tree, the trees side by side."""
    data = folder / "data"
    data.mkdir()
    write_data(data)
    plan = folder / "cases.json"
    plan.write_text(json.dumps(make_cases(data)))
    places = [folder / f"results-{i}" for i in range(len(trees))]
    for place in places:
        place.mkdir()
    started = [start(tree, place, plan) for tree, place in zip(trees, places, strict=True)]
    try:
        codes = [process.wait() for process in started]
    finally:
        for process in started:
            process.terminate()  # does nothing to one that has ended
    if any(codes):
        raise SystemExit("the cases could not be run; see above")
    return [json.loads((place / "results.json").read_text()) for place in places]


def main() -> int:
    """Check out, run, compare, print a line a case."""
    parser = argparse.ArgumentParser(prog="python -m tests.same_numbers", description=__doc__.splitlines()[0])
    parser.add_argument("old", help="commit to compare with")
    parser.add_argument("new", nargs="?", help="another commit; by default the working tree as it lies")
    commits = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="same-numbers-") as name:
        folder = Path(name)
        old = check_out(commits.old, folder / "old")
        new = check_out(commits.new, folder / "new") if commits.new else ROOT
        results = results_of([old, new], folder)
    findings = compare(*results)
    width = max(len(finding.case) for finding in findings)
    for finding in findings:
        print(f"{finding.case:{width}}  {finding.verdict:7}  {finding.details}")
    count = Counter(finding.verdict for finding in findings)
    print(
        f"{commits.old} and {commits.new or 'the working tree'}: {count['equal']} cases equal, "
        f"{count['refused']} refused by both, {count['DIFFERS']} different"
    )
    return int(count["DIFFERS"] > 0)


if __name__ == "__main__":
    sys.exit(main())
