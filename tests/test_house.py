"""Rules of the tree that no linter knows."""

import ast
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("dnar2mae", "cli", "kernels", "benchmarks")
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"


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


def test_every_path_in_the_architecture_exists():
    named = set(re.findall(r"`([\w/]+(?:/|\.py|\.toml|\.md))`", (ROOT / "ARCHITECTURE.md").read_text()))
    assert len(named) > 20
    places = [ROOT, ROOT / "dnar2mae", ROOT / "kernels"]
    patterns = {path: path.replace("NAME", "*") for path in named}
    patterns["triton.py"] = "*/triton.py"  # beside kernels/NAME/reference.py
    missing = {path for path, pattern in patterns.items() if not any(any(place.glob(pattern)) for place in places)}
    assert missing == set()


def test_every_path_in_the_tree_of_the_readme_exists():
    text = re.search(r"## The tree\n+```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    listed, root = set(), ROOT
    for line in text.splitlines():
        names, _, about = line.strip().partition("  ")
        if not line.startswith(" "):
            root = ROOT / names
            listed |= {root, *(root / name for name in re.findall(r"(\w+)/", about))}
        else:
            listed |= {root / name for name in names.split()}
    assert len(listed) > 30
    assert {path for path in listed if not path.exists()} == set()


@pytest.mark.parametrize("upwards", [False, True])
def test_the_layers_hold_and_an_import_upwards_breaks_them(upwards, tmp_path):
    pytest.importorskip("importlinter")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    if upwards:
        with (tmp_path / "dnar2mae" / "errors.py").open("a") as handle:
            handle.write("\nfrom dnar2mae.cli import main\n")

    def run(*line, folder):
        return subprocess.run([sys.executable, *line], cwd=folder, capture_output=True, text=True, check=False)

    built = run("setup.py", "-q", "build_py", "--build-lib", "built", folder=tmp_path)
    assert built.returncode == 0, built.stderr
    done = run("-c", LINT_IMPORTS, "--no-logo", "--no-cache", "../pyproject.toml", folder=tmp_path / "built")
    if upwards:
        assert done.returncode == 1
        assert "dnar2mae.errors is not allowed to import dnar2mae.cli" in done.stdout
    else:
        assert done.returncode == 0, done.stdout + done.stderr
