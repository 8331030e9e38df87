"""What is known of a figure's rows: command, commit, machine, date, and digests of the files that it depends on.

The digests are of the files *at the commit that the rows name*, so that a figure is older than its code as soon as that
code differs, whenever its pedigree was recorded. They leave out comments, docstrings and blank lines.
"""

import ast
import fnmatch
import functools
import hashlib
import io
import json
import subprocess
import tokenize
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import yaml

from dnar2mae.benchmarks.figures.figure import RESULTS, ROOT, Figure, Row
from dnar2mae.errors import ConfigError

FILE = RESULTS / "pedigree.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pedigree:
    """Where a figure comes from."""

    command: str
    commit: str
    machine: str
    date: str
    rows: str
    """Digest of the chosen rows."""
    files: dict[str, str] = field(repr=False)
    """Digest of the code behind each pattern of the figure, at the commit."""
    equal: str = ""
    """A later commit that computes the same numbers, as ``python -m tests.same_numbers`` shows: digests are of it."""
    older: str = ""
    """Why the figure stands although its code has changed; shown beside it."""

    def text(self) -> str:
        """Return commit, machine and date in words, with the mark of an older figure."""
        same = f"; the same numbers at {self.equal}" if self.equal else ""
        return f"{self.commit}, {self.machine}, {self.date}{same}{self.mark()}"

    def mark(self) -> str:
        """Return what stands beside a figure that is older than its code."""
        return f" (*older than its code: {self.older}*)" if self.older else ""


def load() -> dict[str, Pedigree]:
    """Read the pedigrees by name of the figure."""
    entries = yaml.safe_load(FILE.read_text()) if FILE.exists() else {}
    return {name: Pedigree(**entry) for name, entry in entries.items()}


def save(pedigrees: dict[str, Pedigree]) -> None:
    """Write the pedigrees, sorted by name."""
    entries = {name: asdict(pedigrees[name]) for name in sorted(pedigrees)}
    FILE.write_text(yaml.safe_dump(entries, sort_keys=False, width=120))


def record(figure: Figure, before: Pedigree | None, equal: str = "") -> Pedigree:
    """Return the pedigree of a figure's rows as they are now; the mark of an older one is kept while it is older.

    ``before`` is the pedigree until now, ``equal`` a later commit with the same numbers; see :class:`Pedigree`.

    Raises
    ------
    ConfigError
        A commit is not in this repository.
    """
    rows = figure.rows()
    commits = sorted(
        {row["commit"].removesuffix("-dirty") for row in rows},
        key=lambda commit: int(_git("show", "-s", "--format=%ct", commit)),
    )
    dates = sorted({row["date"][:10] for row in rows})
    equal = equal and _git("rev-parse", "--short", equal).decode().strip()  # HEAD is another commit tomorrow
    judged = equal or commits[0]
    listing = _git("ls-tree", "-r", "--name-only", judged).decode().splitlines()
    files = {
        pattern: _digest(fnmatch.filter(listing, pattern), lambda path: _git("show", f"{judged}:{path}"))
        for pattern in figure.files
    }
    now = Pedigree(
        command=figure.command,
        commit=_listed(row["commit"] for row in rows),
        machine=_listed(row["device"] for row in rows),
        date=" to ".join(dict.fromkeys((dates[0], dates[-1]))),
        rows=rows_digest(rows),
        files=files,
        equal=equal,
    )
    return replace(now, older=before.older) if before and newer_files(figure, now) else now


def newer_files(figure: Figure, pedigree: Pedigree) -> list[str]:
    """Return the patterns whose files differ from those at the rows' commit."""
    return [pattern for pattern in figure.files if pedigree.files.get(pattern) != tree_digest(pattern)]


def problems(figure: Figure, pedigree: Pedigree | None) -> list[str]:
    """Return what is wrong with a figure's pedigree, a line each."""
    if pedigree is None:
        return [f"{figure.name}: no pedigree; run python -m dnar2mae.benchmarks.figures record {figure.name}"]
    faults = []
    if pedigree.rows != rows_digest(figure.rows()) or pedigree.command != figure.command:
        faults.append(f"{figure.name}: rows or command differ from the recorded ones; record {figure.name}")
    newer = newer_files(figure, pedigree)
    if newer and not pedigree.older:
        remedy = f'measure and record again, or mark {figure.name} "what has changed since"'
        faults.append(f"{figure.name}: older than {', '.join(newer)}; {remedy}")
    return faults


def tree_digest(pattern: str) -> str:
    """Return the digest of the files of the working tree that a pattern names.

    Raises
    ------
    ConfigError
        There is no such file.
    """
    top = ROOT / pattern.split("*", maxsplit=1)[0].rpartition("/")[0]
    paths = top.rglob("*") if "*" in pattern else [ROOT / pattern]
    chosen = fnmatch.filter([path.relative_to(ROOT).as_posix() for path in paths if path.is_file()], pattern)
    if not chosen:
        raise ConfigError(f"no file is named {pattern}")
    return _digest(chosen, lambda path: (ROOT / path).read_bytes())


def rows_digest(rows: Sequence[Row]) -> str:
    """Return the digest of rows, whatever the order of their columns."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:12]


@functools.cache
def bare_code(source: bytes) -> bytes:
    """Return Python source without comments, docstrings, blank lines and spaces at the ends of lines.

    The text is kept otherwise, since the syntax tree's own form differs between versions of Python.
    """
    text = source.decode()
    rows = text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            line, column = token.start
            rows[line - 1] = rows[line - 1][:column]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            # docstrings of modules, classes, functions and attributes alike: an expression that does nothing
            rows[node.lineno - 1 : node.end_lineno] = [""] * len(rows[node.lineno - 1 : node.end_lineno])
    return "\n".join(row.rstrip() for row in rows if row.strip()).encode()


def _digest(paths: Sequence[str], read: Callable[[str], bytes]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = read(path)
        digest.update(f"{path}\n".encode() + (bare_code(content) if path.endswith(".py") else content))
    return digest.hexdigest()[:12]


def _git(*words: str) -> bytes:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)
    if done.returncode:
        raise ConfigError(f"git {' '.join(words)}: {done.stderr.decode().strip()}")
    return done.stdout


def _listed(words: Any) -> str:
    return ", ".join(dict.fromkeys(words))
