"""Rules of the tree that no linter knows."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("dnar2mae", "cli", "kernels", "benchmarks")


def test_every_class_has_a_name_of_its_own():
    found = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_the_package_itself_holds_only_what_everybody_shares():
    assert len(list((ROOT / "dnar2mae").glob("*.py"))) <= 8
