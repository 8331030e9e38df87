"""The reference of the Python library, by folder of the package: what mkdocstrings makes of the docstrings."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

from docs.site.pages import ROOT

LEFT_OUT = ("cli", "benchmarks.figures", "benchmarks.speed", "benchmarks.theory_page", "benchmarks.coverage")
_ROLE = re.compile(r":(?:func|class|meth|mod|attr|data|exc):`[~.]*([^`]+)`")


def write_api(out: Path, tree: Path) -> list[str]:
    """Write a page for each folder of the package, read from a tree in which the package is whole; return their names.

    ``kernels/`` and ``benchmarks/`` lie at the root of the repository and are part of the package only once it is
    built, hence the tree.
    """
    build_package(tree)
    out.mkdir(parents=True, exist_ok=True)
    rooms: dict[str, list[Path]] = {"dnar2mae": []}
    for path in sorted((tree / "dnar2mae").rglob("*.py")):
        inside = path.relative_to(tree / "dnar2mae").with_suffix("")
        if not path.stem.endswith("__main__") and not ".".join(inside.parts).startswith(LEFT_OUT):
            rooms.setdefault(inside.parts[0] if len(inside.parts) > 1 else "dnar2mae", []).append(path)
    rows = []
    for room, paths in rooms.items():
        (out / f"{room}.md").write_text(_page(room, paths, tree))
        first = tree / "dnar2mae" / ("" if room == "dnar2mae" else room) / "__init__.py"
        rows.append(f"| [`{room}`]({room}.md) | {_summary(first)} |")
    about = "By folder of the package; [architecture](../../architecture.md) says which folder imports which."
    table = "\n".join(["| folder | what it has |", "|---|---|", *rows])
    (out / "index.md").write_text(f"# Python\n\n{about}\n\n{table}\n")
    return list(rooms)


def build_package(tree: Path) -> None:
    """Copy the package as it is installed, its cross-references as plain code, since mkdocstrings knows no roles."""
    shutil.rmtree(tree, ignore_errors=True)
    subprocess.run([sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tree)], cwd=ROOT, check=True)
    for path in tree.rglob("*.py"):
        text = path.read_text()
        if (plain := _ROLE.sub(r"`\1`", text)) != text:
            path.write_text(plain)


def _page(room: str, paths: list[Path], tree: Path) -> str:
    """Return the page of a folder: its modules that document anything, each by its full name."""
    lines = [f"# {room}", ""]
    for path in paths:
        parts = path.relative_to(tree).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if _summary(path):
            lines += [f"::: {name}", ""]
    return "\n".join(lines)


def _summary(path: Path) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
