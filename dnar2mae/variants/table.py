"""Variants in memory: a table in, the same table with scores out."""

import warnings
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.remote import local_path
from dnar2mae.variants.allele_windows import longest_allele
from dnar2mae.variants.files import (
    COLUMNS,
    VALUES,
    Record,
    VariantTable,
    VcfFile,
    field_names,
    find_columns,
    row_record,
)
from dnar2mae.variants.options import ScoreOptions
from dnar2mae.variants.records import Scored, score_records
from dnar2mae.variants.survey import survey
from dnar2mae.variants.vcf import open_variants


def score_variants(
    model: Model,
    variants: pd.DataFrame | str | Path,
    genome: Genome | str | Path,
    *,
    options: ScoreOptions | None = None,
    zero_based: bool = False,
) -> pd.DataFrame:
    """Score the alternative alleles of variants, with all that ``dnar2mae score-variants`` checks.

    Parameters
    ----------
    model
        A model of objective ``mlm``.
    variants
        A table with the columns chrom, pos (1-based, as in VCF), ref and alt, or what they are often called; ``-``
        is an empty allele. Or the path of a VCF, BCF, TSV or CSV file.
    genome
        The genome that they refer to, or its sequence file.
    options
        Window, strands, ``--indel``, distance, percentiles, processes.
    zero_based
        Positions of the table count from 0.

    Returns
    -------
    DataFrame
        The table in its order with its index and the columns ``llr``, with ``ScoreOptions.distance`` and ``.calibrate``
        also ``distance`` and ``percentile``, and ``status``: ``scored`` or why there is no score, as
        :func:`dnar2mae.variants.score_vcf` lists them. A row of several alternatives (``A,C``) becomes as many rows. Of
        a VCF, a row an allele with chrom, pos, id, ref and alt.

    Warns
    -----
    UserWarning
        If no row lies on a sequence of the genome, the REF of more than 1 % of the rows is not the genome's, or rows
        have no position. If positions seem to count from 0, it says so.

    Raises
    ------
    SequenceError
        If a file cannot be read, or a column is missing.
    ConfigError
        If ``zero_based`` is said of a VCF.
    RunError
        If the model has no masked predictions.
    """
    options = options or ScoreOptions()
    opened = genome if isinstance(genome, Genome) else Genome.open(genome)
    source, where = _open(variants, zero_based=zero_based)
    counts = survey(source.records(), opened, longest_allele(model, options), zero_based=zero_based)
    fault = counts.fault(opened, zero_based=zero_based) if counts.records else None
    for line in filter(None, (fault, counts.note())):
        warnings.warn(f"{where}: {line}", stacklevel=2)
    scored, records = [], score_records(model, opened, source.records(), options, zero_based=zero_based)
    with progress_bar("scoring variants", counts.records, at_once=True) as bar:
        for one in records:
            scored.append(one)
            bar.advance()
    table = _rows(source, scored).drop(columns=list(COLUMNS.values()), errors="ignore")
    *numbers, status = field_names(options)
    for name in numbers:
        values = [getattr(one.scores, VALUES[name]) if one.statuses else [np.nan] for one in scored]
        table[COLUMNS[name]] = np.concatenate([np.empty(0, np.float32), *values]).astype(np.float32)
    table[COLUMNS[status]] = list(chain.from_iterable(one.statuses or ["no_alt"] for one in scored))
    return table


class _Frame:
    """A table in memory, read as files of variants are."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self.columns = find_columns([str(name) for name in frame.columns], "variants")

    def records(self) -> Iterator[Record]:
        """Yield the rows in order."""
        for cells in zip(*(self.frame.iloc[:, number] for number in self.columns.values()), strict=True):
            chrom, pos, ref, alt = map(_text, cells)
            yield row_record(chrom, pos, ref or ".", alt, [])


def _open(variants: pd.DataFrame | str | Path, *, zero_based: bool) -> tuple[_Frame | VariantTable | VcfFile, str]:
    """Return the variants and how messages name them."""
    if isinstance(variants, pd.DataFrame):
        return _Frame(variants), "variants"
    path = local_path(variants)
    return open_variants(path, zero_based=zero_based), str(path)


def _rows(source: _Frame | VariantTable | VcfFile, scored: Sequence[Scored]) -> pd.DataFrame:
    """Return a row an alternative allele, or for a record without one."""
    alleles = [(one, alt) for one in scored for alt in one.record.alts or (".",)]
    if isinstance(source, VcfFile):
        lines = [(one.record.chrom, one.record.pos, one.record.id, one.record.ref, alt) for one, alt in alleles]
        return pd.DataFrame(lines, columns=["chrom", "pos", "id", "ref", "alt"])
    if isinstance(source, _Frame):
        whole, columns = source.frame, source.columns
    else:
        whole = pd.DataFrame([one.record.columns for one in scored], columns=pd.Index(source.header))
        columns = find_columns(source.header, str(source.path))
    table = whole.iloc[np.repeat(np.arange(len(scored)), [max(len(one.statuses), 1) for one in scored])].copy()
    if len(table) > len(scored):
        is_one = np.array([len(one.statuses) < 2 for one, _ in alleles])
        column = table.columns[columns["alt"]]
        table[column] = table[column].where(is_one, [alt or "-" for _, alt in alleles])
    return table


def _text(cell: Any) -> str:
    """Return the text of a cell; none for what is missing."""
    if isinstance(cell, float) and cell.is_integer():  # whole numbers in a column in which one is missing
        return str(int(cell))
    return "" if cell is None or pd.isna(cell) else str(cell).strip()
