"""The reference of the Python library, by folder of the package: what mkdocstrings makes of the docstrings."""

import ast
import re
import shutil
from pathlib import Path

from docs.site.pages import ROOT

INSIDE = ("kernels", "benchmarks")  # installed inside the package; the commands have pages of their own
LEFT_OUT = ("benchmarks.figures", "benchmarks.speed", "benchmarks.theory_page", "benchmarks.coverage")
_MATH = re.compile(r"^([ \t]*)\.\. math::((?:.*)(?:\n\1[ \t]+\S.*)*)", re.MULTILINE)
_INLINE_MATH = re.compile(r":math:`([^`]+)`")
_REFERENCE = re.compile(r"^([ \t]*)\.\. (?=\[\d+\])", re.MULTILINE)
_ROLE = re.compile(r":(?:func|class|meth|mod|attr|data|exc):`[~.]*([^`]+)`")


def write_api(out: Path, tree: Path) -> list[str]:
    """Write a page for each folder of the package, read from a tree in which the package is whole; return their names.

    ``kernels/`` and ``benchmarks/`` lie at the root of the repository and are part of the package only once it is
    installed, hence the tree.
    """
    copy_package(tree)
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


def copy_package(tree: Path) -> None:
    """Copy the package as it is installed, with docstrings of Markdown."""
    shutil.rmtree(tree, ignore_errors=True)
    for name in ("", *INSIDE):
        for path in (ROOT / (name or "dnar2mae")).rglob("*.py"):
            target = tree / "dnar2mae" / path.relative_to(ROOT if name else ROOT / "dnar2mae")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(as_markdown(path.read_text()))


def as_markdown(source: str) -> str:
    """Return source whose docstrings have formulas as MathML, which browsers draw, and cross-references as code."""
    from latex2mathml.converter import convert

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}<div>{convert(' '.join(match[2].split()), display='block')}</div>"

    source = _INLINE_MATH.sub(lambda match: convert(match[1]), _MATH.sub(block, source))
    return _ROLE.sub(r"`\1`", _REFERENCE.sub(r"\1- ", source))


def _page(room: str, paths: list[Path], tree: Path) -> str:
    """Return the page of a folder: its modules that document anything, each by its full name."""
    lines = [f"# {room}", ""]
    for path in paths:
        parts = path.relative_to(tree).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if _summary(path):
            lines += [f"::: {name}", *_own_members(path), ""]
    return "\n".join(lines)


def _own_members(path: Path) -> list[str]:
    """Return options that leave out what a package only hands on: it stands where it is defined."""
    if path.name != "__init__.py":
        return []
    defined = [
        node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    return ["    options:", f"      members: {[name for name in defined if not name.startswith('_')]}"]


def _summary(path: Path) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
