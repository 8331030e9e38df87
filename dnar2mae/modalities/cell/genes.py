"""One vocabulary of genes for several files."""

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dnar2mae.errors import ConfigError, DataError, raising
from dnar2mae.modalities.cell.files import CellFile

_LOW_SHARE = 0.5  # of genes in common: below it a warning


def choose_genes(files: Sequence[CellFile], rule: str) -> list[str]:
    """Return the vocabulary of some files, in order of first appearance.

    Parameters
    ----------
    files
        The files that the run trains on.
    rule
        ``union``, ``intersection``, or a text file with one gene a line (further columns are ignored).

    Raises
    ------
    ConfigError
        If the list cannot be read or is empty.
    DataError
        If a file has no gene in common with the others, as happens where one has symbols and another identifiers.
    """
    if rule not in ("union", "intersection"):
        return _listed(Path(rule))
    named = [dict.fromkeys(file.genes[file.used].tolist()) for file in files]
    for number, (file, own) in enumerate(zip(files, named, strict=True)):
        others = set().union(*(named[:number] + named[number + 1 :]))
        if len(files) > 1:
            _check_overlap(file, len(own.keys() & others) / min(len(own), len(others)), own, "the other files")
    every = dict.fromkeys(gene for own in named for gene in own)
    if rule == "union":
        return list(every)
    shared = [gene for gene in every if all(gene in own for own in named)]
    if not shared:
        raise DataError("--data.genes intersection: no gene is in all files; check --data.gene-names")
    return shared


def selection(file: CellFile, genes: Sequence[str], *, may_sum: bool, given: bool) -> Any:
    """Return the matrix that maps a file's columns to the vocabulary's.

    Parameters
    ----------
    file
        The file.
    genes
        The vocabulary.
    may_sum
        Whether columns of the same name may be added up, as counts may.
    given
        Whether the vocabulary was not made from this file, so that a low overlap is worth a warning.

    Returns
    -------
    csr_matrix [file's genes, G]
        Zeros and ones; float32.

    Raises
    ------
    DataError
        If no gene is in the vocabulary, or a name occurs twice and its columns must not be added up.
    """
    from scipy.sparse import csr_matrix

    index = {gene: number for number, gene in enumerate(genes)}
    names = file.genes
    columns = np.array([index.get(n, -1) if used else -1 for n, used in zip(names, file.used, strict=True)], np.int64)
    rows = np.flatnonzero(columns >= 0)
    _check_duplicates(file, Counter(names[rows].tolist()), may_sum)
    if given:
        _check_overlap(file, len(set(columns[rows].tolist())) / len(genes), names, "the vocabulary")
    ones = np.ones(len(rows), np.float32)
    return csr_matrix((ones, (rows, columns[rows])), shape=(len(names), len(genes)))


def _check_duplicates(file: CellFile, counts: Counter, may_sum: bool) -> None:
    twice = [name for name, number in counts.items() if number > 1]
    if not twice:
        return
    problem = (
        f"{file.path}: {len(twice)} genes occur more than once ({', '.join(twice[:5])}{', ...' * (len(twice) > 5)})"
    )
    if not may_sum:
        raise DataError(
            f"{problem}; normalised values cannot be summed: make the names unique, or see --data.gene-names"
        )
    warnings.warn(f"{problem}; their counts are summed", stacklevel=2)


def _check_overlap(file: CellFile, share: float, names: Any, others: str) -> None:
    """Refuse a file that shares no gene, and warn of one that shares few."""
    if share == 0:
        first = ", ".join(list(names)[:3])
        raise DataError(f"{file.path}: no gene in common with {others}; it names {first}, ...: check --data.gene-names")
    if share < _LOW_SHARE:
        warnings.warn(f"{file.path}: only {share:.1%} of genes in common with {others}", stacklevel=3)


def _listed(path: Path) -> list[str]:
    rule = f"--data.genes must be union, intersection or a readable text file, got {path}"
    with raising(ConfigError, rule, OSError, UnicodeDecodeError):
        lines = [line.split() for line in path.read_text().splitlines()]
    genes = list(dict.fromkeys(fields[0] for fields in lines if fields))
    if not genes:
        raise ConfigError(f"--data.genes {path}: no gene in this file")
    return genes
