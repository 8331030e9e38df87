"""Cells of several files as one table over one vocabulary, which is chosen here; checked and normalised when read."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from dnar2mae.errors import ConfigError, DataError, raising
from dnar2mae.modalities.cell.files import CellFile
from dnar2mae.storage.remote import local_path

PER_CELL = 10_000
"""Counts a cell is scaled to."""
_GAP_CELLS = 32  # up to so many unwanted cells are read along rather than reading two stretches
_SURVEY_CELLS = 2048
_LOW_SHARE = 0.5  # of genes in common: below it a warning


@dataclass(frozen=True, slots=True)
class CellRows:
    """Cells that were read."""

    values: Any
    """SciPy CSR [N, G], float32: normalised values over the vocabulary."""
    library: Float[np.ndarray, " N"]
    """Counts of the cell over all genes of its file; without normalisation, how many values are not zero."""
    file: Int[np.ndarray, " N"]
    """Number of the cell's file."""
    genes_of_file: Bool[np.ndarray, "F G"]
    """Genes that each file has."""

    @property
    def present(self) -> Bool[np.ndarray, "N G"]:
        """Genes that the cell's file has."""
        return self.genes_of_file[self.file]

    def take(self, index: Int[np.ndarray, " M"]) -> "CellRows":
        """Return some of these cells."""
        return CellRows(self.values[index], self.library[index], self.file[index], self.genes_of_file)


def join(parts: Sequence[CellRows]) -> CellRows:
    """Return the cells of several parts, in order."""
    from scipy.sparse import vstack

    if len(parts) == 1:
        return parts[0]
    values = vstack([part.values for part in parts], format="csr")
    library, file = (np.concatenate([getattr(part, name) for part in parts]) for name in ("library", "file"))
    return CellRows(values, library, file, parts[0].genes_of_file)


class CellStore:
    """The cells of several files, one file after the other.

    Parameters
    ----------
    files
        Opened files.
    genes
        The vocabulary.
    normalisation
        ``log1p_cp10k`` or ``scaled`` (both read as log1p_cp10k), ``counts`` or ``none``.
    given
        Whether the vocabulary was not made from these files.

    Raises
    ------
    DataError
        If a file's genes do not fit the vocabulary; see :func:`dnar2mae.modalities.cell.store.selection`.
    """

    def __init__(
        self, files: Sequence[CellFile], genes: Sequence[str], normalisation: str, *, given: bool = False
    ) -> None:
        self.files, self.genes, self.normalisation = tuple(files), tuple(genes), normalisation
        may_sum = normalisation != "none"
        self.selections = [selection(file, genes, may_sum=may_sum, given=given) for file in files]
        self.present = np.stack([np.asarray(chosen.sum(0)).ravel() > 0 for chosen in self.selections])
        self.offsets = np.cumsum([0, *(file.num_cells for file in files)])

    def __len__(self) -> int:
        """Count the cells of all files."""
        return int(self.offsets[-1])

    def narrow(self, index: Int[np.ndarray, " H"]) -> "CellStore":
        """Return the same cells over some of the genes."""
        other = copy(self)
        other.genes = tuple(self.genes[i] for i in index)
        other.selections = [chosen[:, index] for chosen in self.selections]
        other.present = self.present[:, index]
        return other

    def rows(self, cells: Int[np.ndarray, " N"]) -> CellRows:
        """Read cells.

        Parameters
        ----------
        cells
            Numbers in any order, each at most once.

        Raises
        ------
        DataError
            If a value does not fit the normalisation, or a file is damaged.
        """
        order = np.argsort(cells)
        parts = [self._stretch(which, local) for which, local in self._stretches(cells[order])]
        return join(parts).take(np.argsort(order))

    def contents(self, cells: Int[np.ndarray, " N"]) -> list[bytes]:
        """Return what the files have of cells, before any normalisation: genes with a value, by name, and values.

        The order of a file's columns makes no difference, nor does a gene without counts. ``cells`` are numbers in any
        order, each at most once.

        Raises
        ------
        DataError
            As :meth:`rows`.
        """
        order = np.argsort(cells)
        found: list[bytes] = []
        for which, local in self._stretches(cells[order]):
            file, raw = self.files[which], self._raw(which, local)
            self._check(file, raw, local)
            by_name, names = self._genes_by_name[which]
            raw = raw[:, by_name].sorted_indices()
            raw.eliminate_zeros()  # of a copy
            for first, last in pairwise(raw.indptr.tolist()):
                genes = b"\0".join([names[gene] for gene in raw.indices[first:last].tolist()])
                found.append(genes + b"\0" + raw.data[first:last].astype(np.float32).tobytes())
        return [found[place] for place in np.argsort(order)]

    @cached_property
    def _genes_by_name(self) -> list[tuple[Int[np.ndarray, " G"], list[bytes]]]:
        """Columns of each file in the order of their names, and these names."""
        orders = [np.argsort(file.genes.astype(str), kind="stable") for file in self.files]
        return [
            (order, [str(name).encode() for name in file.genes[order]])
            for order, file in zip(orders, self.files, strict=True)
        ]

    def _stretches(self, cells: Int[np.ndarray, " N"]) -> Iterator[tuple[int, Int[np.ndarray, " M"]]]:
        """Cut ascending numbers of cells into stretches that are read at once: a file, and numbers within it."""
        number = np.searchsorted(self.offsets, cells, side="right") - 1
        cuts = np.flatnonzero((np.diff(cells) > _GAP_CELLS) | (np.diff(number) > 0)) + 1
        for stretch in np.split(np.arange(len(cells)), cuts):
            which = int(number[stretch[0]])
            yield which, cells[stretch] - self.offsets[which]

    def survey(
        self, among: Int[np.ndarray, " M"]
    ) -> tuple[Bool[np.ndarray, " N"], Float[np.ndarray, " G"], Float[np.ndarray, " G"]]:
        """Read all cells once, in order; return which are not empty, and the mean and variance of each gene.

        These are over the cells ``among`` whose file has the gene: of log1p_cp10k, or of values not normalised.
        """
        num_genes = len(self.genes)
        has_counts = np.zeros(len(self), bool)
        total, squares, seen = np.zeros((3, num_genes))
        chosen = np.zeros(len(self), bool)
        chosen[among] = True
        for cells, rows in self.blocks():
            has_counts[cells] = rows.library > 0
            counted = chosen[cells] & has_counts[cells]
            values = rows.values[counted].astype(np.float64)
            if self.normalisation == "counts":
                values = log1p_cp10k(values, rows.library[counted])
            total += np.asarray(values.sum(0)).ravel()
            squares += np.asarray(values.multiply(values).sum(0)).ravel()
            seen += np.bincount(rows.file[counted], minlength=len(self.files)) @ self.present
        mean = total / np.maximum(seen, 1)
        return has_counts, mean, squares / np.maximum(seen, 1) - mean**2

    def blocks(self) -> Iterator[tuple[Int[np.ndarray, " N"], CellRows]]:
        """Yield all cells in order, some thousands at a time."""
        for start in range(0, len(self), _SURVEY_CELLS):
            cells = np.arange(start, min(start + _SURVEY_CELLS, len(self)))
            yield cells, self.rows(cells)

    @cached_property
    def cell_names(self) -> np.ndarray:
        """Names of all cells."""
        return np.concatenate([file.cell_names() for file in self.files])

    def _stretch(self, which: int, local: Int[np.ndarray, " N"]) -> CellRows:
        file, raw = self.files[which], self._raw(which, local)
        self._check(file, raw, local)
        if self.normalisation == "none":
            library = np.diff(raw.indptr).astype(np.float32)
        else:
            library = np.asarray(raw @ file.used.astype(np.float32)).ravel()
        values = raw @ self.selections[which]
        if self.normalisation in ("log1p_cp10k", "scaled"):
            values = log1p_cp10k(values, library)
        return CellRows(values, library, np.full(len(local), which), self.present)

    def _raw(self, which: int, local: Int[np.ndarray, " N"]) -> Any:
        """Return a stretch of cells as their file has them, CSR."""
        first = int(local[0])
        raw = self.files[which].rows(first, int(local[-1]) + 1)
        return raw if len(local) == raw.shape[0] else raw[local - first]  # without the cells of the gaps

    def _check(self, file: CellFile, raw: Any, local: Int[np.ndarray, " N"]) -> None:
        data = raw.data
        if not np.isfinite(data).all():
            raise DataError(f"{_locate(file, raw, local, ~np.isfinite(data))}; values must be finite")
        if self.normalisation == "none":
            return
        advice = "name a layer of counts by --data.layer (raw, or one of layers), or take --data.normalisation none"
        if len(data) and data.min() < 0:
            where = _locate(file, raw, local, data < 0)
            raise DataError(f"{where}, but --data.normalisation {self.normalisation} needs counts: {advice}")
        fraction = data != np.rint(data)
        if fraction.any():
            where = _locate(file, raw, local, fraction)
            if self.normalisation == "counts":
                raise DataError(f"{where}, but --data.normalisation counts needs whole numbers: {advice}")
            if not file.warned:
                file.warned = True
                warnings.warn(
                    f"{file.path}: values are not whole numbers; if they are no counts, {advice}", stacklevel=2
                )


def log1p_cp10k(values: Any, library: Float[np.ndarray, " N"]) -> Any:
    r"""Compute :math:`\log(1 + 10^4 c_{ng} / \sum_g c_{ng})` of the stored values of a CSR matrix of counts."""
    values = values.copy()
    scale = PER_CELL / np.maximum(library, 1e-12)
    values.data = np.log1p(values.data * np.repeat(scale, np.diff(values.indptr))).astype(values.dtype, copy=False)
    return values


def _locate(file: CellFile, raw: Any, local: Int[np.ndarray, " N"], wrong: Bool[np.ndarray, " M"]) -> str:
    """Return a sentence that names the first wrong value and its cell and gene."""
    at = int(np.argmax(wrong))
    row = int(np.searchsorted(raw.indptr, at, side="right")) - 1
    cell, gene = file.cell_names()[local[row]], file.genes[raw.indices[at]]
    layer = getattr(file, "key", "the matrix")
    return f"{file.path}: {layer} holds {raw.data[at]:g} (cell {cell}, gene {gene})"


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
        return _listed(local_path(rule))
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
