"""Names of one sequence in several files: with and without ``chr``, of mitochondria, and NCBI's accessions."""

import difflib
import itertools
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

from dnar2mae.errors import SequenceError, raising
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip_text
from dnar2mae.storage.remote import local_path

_MITOCHONDRION = ("M", "MT", "Mt", "Mito", "MtDNA", "chrM", "chrMT", "chrMito", "chrmt")
_COLUMNS = ("Sequence-Name", "Assigned-Molecule", "GenBank-Accn", "RefSeq-Accn", "UCSC-style-name")
_COMPARED = 10_000


def aliases(name: str) -> tuple[str, ...]:
    """Return the usual names of a sequence: its own, that with or without ``chr``, and those of a mitochondrion."""
    other = name.removeprefix("chr") if name.startswith("chr") else f"chr{name}"
    return tuple(dict.fromkeys((name, other, *(_MITOCHONDRION if name in _MITOCHONDRION else ()))))


class AssemblyReport:
    """The names that the sequences of an assembly have elsewhere, by NCBI's ``*_assembly_report.txt``.

    Parameters
    ----------
    path
        The file, plain or compressed; it may be an address: see :func:`dnar2mae.storage.remote.local_path`.

    Raises
    ------
    SequenceError
        It cannot be read, or has no line with the names of the columns.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self._rows: dict[str, tuple[str, ...]] = {}
        self._lengths: dict[str, int] = {}
        columns: list[str] = []
        with (
            raising(SequenceError, f"{path}: cannot be read as an assembly report", *READ_ERRORS),
            open_maybe_gzip_text(local_path(path), errors="replace") as file,
        ):
            for line in file:
                fields = line.rstrip("\r\n").lstrip("# ").split("\t")
                if line.startswith("#"):
                    columns = fields if "Sequence-Name" in fields else columns
                elif len(fields) == len(columns):
                    self._add(dict(zip(columns, fields, strict=True)))
        if not self._rows:
            raise SequenceError(f"{path}: not NCBI's *_assembly_report.txt: no line below # Sequence-Name ...")

    def _add(self, row: dict[str, str]) -> None:
        # parts of a chromosome that are not placed on it name it, too
        is_whole = row.get("Sequence-Role") == "assembled-molecule"
        names = [row.get(column, "na") for column in _COLUMNS if is_whole or column != "Assigned-Molecule"]
        names = list(dict.fromkeys(name for name in names if name not in ("na", "")))
        # an accession may be written without its version
        names += [name.rpartition(".")[0] for name in names if name.rpartition(".")[2].isdigit() and "." in name]
        for name in names:
            self._rows.setdefault(name, tuple(names))
            if row.get("Sequence-Length", "").isdigit():
                self._lengths.setdefault(name, int(row["Sequence-Length"]))

    def names(self, name: str) -> tuple[str, ...]:
        """Return all names of the sequence that has this one; none where no sequence has it."""
        return self._rows.get(name, ())

    def is_of(self, lengths: Mapping[str, int]) -> bool:
        """Return whether it names any of these sequences.

        Raises
        ------
        SequenceError
            One of them has another length: it is the report of another assembly.
        """
        known = [name for name in lengths if name in self._rows]
        for name in known:
            if (length := self._lengths.get(name, lengths[name])) != lengths[name]:
                raise SequenceError(
                    f"{self.path}: {name} has {length:,} bp, in the genome {lengths[name]:,}: the report of another "
                    "assembly"
                )
        return bool(known)


def other_names(name: str, report: AssemblyReport | None) -> tuple[str, ...]:
    """Return every name under which a sequence may be known, its own first."""
    usual = aliases(name)
    listed = [other for alias in usual for other in (report.names(alias) if report else ())]
    return tuple(dict.fromkeys(itertools.chain(usual, listed, *map(aliases, listed))))


def unknown_name(path: str | Path, name: str, names: Sequence[str], known: Container[str]) -> str:
    """Return the message that no sequence has this name, and which ones may have been meant.

    Parameters
    ----------
    path
        The file.
    name
        The name.
    names, known
        Names of the file's sequences, and the same for looking one up.
    """
    near = [alias for alias in aliases(name) if alias in known]
    # comparing letters is slow, and an assembly may have a million sequences: the first ones must do
    near += difflib.get_close_matches(name, names[:_COMPARED], n=3)
    hint = f"did you mean {', '.join(dict.fromkeys(near))}?" if near else "it has " + ", ".join(names[:5])
    return f"{path}: no sequence {name!r}; {hint}{'' if near or len(names) <= 5 else ', ...'}"


def some(names: Iterable[str]) -> str:
    """Return the first few of many names, for a message."""
    first = list(itertools.islice(names, 4))
    return ", ".join(first[:3]) + (", ..." if len(first) > 3 else "")
