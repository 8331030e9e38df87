"""Samples to learn from or to predict: of DNA on either strand, cut where that is allowed, and of other modalities."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, UInt8

from dnar2mae.batch import Batch, FiniteSource
from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.alphabet import complement, decode
from dnar2mae.genome.bed import bed_lines
from dnar2mae.genome.store import Genome, open_genomes
from dnar2mae.homology.files import read_table
from dnar2mae.homology.letters import canonical, upper
from dnar2mae.inference.loading import TrainedModel
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.modalities.dna.sequences import Sequences, read_sequences
from dnar2mae.modalities.dna.sources import SequenceSource
from dnar2mae.storage.compressed import without_compression
from dnar2mae.storage.remote import file_name

SEQUENCE_COLUMNS = ("sequence", "seq")
REGION_COLUMNS = ("chrom", "start", "end")
_BED_COLUMNS = (*REGION_COLUMNS, "name", "score", "strand")
_TABLES = (".csv", ".tsv", ".parquet")
_READ_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Strands:
    """Sequences of which some are read from the other strand, and long ones are cut; as :class:`.Sequences` is used."""

    sequences: Sequences
    flipped: Bool[np.ndarray, " N"]
    limit_bp: int | None

    def codes(self, index: int) -> UInt8[np.ndarray, " L"]:
        """Return the genome codes of one sequence."""
        codes = self.sequences.codes(index)[: self.limit_bp]
        return complement(codes[::-1]) if self.flipped[index] else codes


class Samples:
    """Samples of one file in their order.

    Parameters
    ----------
    source
        As the modality reads them.
    table
        A row a sample, for outputs and splits.
    limit_bp
        Length to which sequences of DNA are cut; None: they are not.
    """

    def __init__(self, source: FiniteSource, table: pd.DataFrame, limit_bp: int | None = None) -> None:
        self.source, self.table, self.limit_bp = source, table, limit_bp

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.source)

    @property
    def has_strands(self) -> bool:
        """Whether samples can be read from the other strand."""
        return isinstance(self.source, SequenceSource)

    def check_strands(self) -> None:
        """Raise a ``ConfigError`` where there is no other strand to read."""
        if not self.has_strands:
            raise ConfigError("--both-strands is for DNA: other samples have one reading")

    @property
    def lengths(self) -> Int[np.ndarray, " N"]:
        """How long samples are, by which they are batched; all 0 where they are alike."""
        if not isinstance(self.source, SequenceSource):
            return np.zeros(len(self), np.int64)
        return np.minimum(self.source.sequences.lengths, self.limit_bp or np.iinfo(np.int64).max)

    def batch(self, ids: Int[np.ndarray, " B"], flipped: Bool[np.ndarray, " B"] | None = None) -> Batch:
        """Return these samples, those that are ``flipped`` as their reverse complements."""
        if not isinstance(self.source, SequenceSource):
            return self.source.batch(ids)
        turned = np.zeros(len(self), bool)
        if flipped is not None:
            turned[ids] = flipped
        source = copy.copy(self.source)
        source.sequences = Strands(self.source.sequences, turned, self.limit_bp)  # type: ignore[assignment]
        return source.batch(ids)

    def letters(self, ids: Sequence[int] | np.ndarray) -> list[str]:
        """Return the upper-case letters of sequences of DNA, cut as the model sees them."""
        assert isinstance(self.source, SequenceSource)
        return [decode(self.source.sequences.codes(int(i))[: self.limit_bp]).upper() for i in ids]

    def contents(self) -> list[bytes]:
        """Return a text for each sample that equal samples share: of DNA, the smaller of both strands."""
        if isinstance(self.source, SequenceSource):
            return [canonical(s).encode() for s in self.letters(range(len(self)))]
        return list(self._tokens_and_values())

    def _tokens_and_values(self) -> Iterator[bytes]:
        for start in range(0, len(self), _READ_ROWS):
            batch = self.source.batch(np.arange(start, min(start + _READ_ROWS, len(self))))
            parts = [part.numpy() for part in (batch.tokens, batch.values) if part is not None]
            for row in range(len(batch.tokens)):
                yield b"".join(part[row].tobytes() for part in parts)


def read_samples(
    trained: TrainedModel, data: str, genome: str | None = None, *, allow_truncation: bool, where: str = "--data"
) -> Samples:
    """Read the samples of a file, which the model must be able to take.

    Raises
    ------
    Dnar2maeError
        If the file cannot be read, or sequences of DNA are longer than the windows of pretraining.
    """
    path = Path(data)
    if not isinstance(trained.modality, DnaModality):
        if genome:
            raise ConfigError(f"--genome is for DNA, and {trained.source} is of --modality {trained.config.modality}")
        source = trained.modality.read(path)
        table = getattr(source, "table", None)
        return Samples(source, pd.DataFrame({"sample": np.arange(len(source))}) if table is None else table)
    sequences, table = _read_dna(path, genome, where)
    return of_sequences(trained, sequences, table, path, allow_truncation=allow_truncation)


def of_sequences(
    trained: TrainedModel, sequences: Sequences, table: pd.DataFrame, path: Path, *, allow_truncation: bool
) -> Samples:
    """Return sequences of DNA as samples; raises as :func:`read_samples`."""
    assert isinstance(trained.modality, DnaModality)
    source = SequenceSource(sequences, trained.modality.tokenizer, path)
    limit = context_bp(trained)
    longer = int((sequences.lengths > limit).sum())
    if longer and not allow_truncation:
        raise SequenceError(
            f"{path}: {longer:,} of {len(table):,} sequences are longer than the {limit} bp that the model was trained "
            f"on, the longest {sequences.lengths.max():,}; cut them, or let --allow-truncation cut them at their end"
        )
    exact = trained.config.model.backbone == "mlp" and sequences.lengths != limit
    if np.any(exact):
        row = int(np.argmax(exact))
        raise SequenceError(
            f"{path}: row {row + 1}: the mlp backbone takes sequences of {limit} bp, got {sequences.lengths[row]}"
        )
    return Samples(source, table, limit if longer else None)


def context_bp(trained: TrainedModel) -> int:
    """Return the length of the windows that a model of DNA was trained on."""
    return trained.config.data.window_bp


def of_letters(trained: TrainedModel, sequences: Sequence[str], *, allow_truncation: bool = False) -> Samples:
    """Return texts as samples of DNA; raises as :func:`read_samples`."""
    if not isinstance(trained.modality, DnaModality):
        raise ConfigError(f"{trained.source}: sequences are of DNA, and this is --modality {trained.config.modality}")
    given, table = _of_letters(list(sequences), pd.DataFrame(index=range(len(sequences))), "sequences")
    return of_sequences(trained, given, table, Path("sequences"), allow_truncation=allow_truncation)


def _read_dna(path: Path, genome: str | None, where: str) -> tuple[Sequences, pd.DataFrame]:
    """Return sequences, and the table of them with all its columns as texts."""
    name = without_compression(file_name(path)).lower()
    if not name.endswith((*_TABLES, ".bed")):
        sequences = read_sequences(path, genome=genome)
        return sequences, sequences.table.astype(str)
    table = read_table(path) if name.endswith(_TABLES) else _read_bed_table(path)
    if table.empty:
        raise SequenceError(f"{path}: no row in this table")
    column = next((column for column in SEQUENCE_COLUMNS if column in table.columns), None)
    if column is not None and genome is None:
        return _of_letters(table[column].tolist(), table, str(path))
    if missing := [column for column in REGION_COLUMNS if column not in table.columns]:
        raise SequenceError(
            f"{path}: expected a column sequence, or chrom, start and end with --genome; it has "
            f"{', '.join(map(str, table.columns))} (no {', '.join(missing)})"
        )
    if genome is None:
        raise ConfigError(f"--genome must be given with {where} {path}, which has regions and no sequences")
    return _of_regions(table, open_genomes([genome])[0], path)


def _read_bed_table(path: Path) -> pd.DataFrame:
    """Return the columns of a BED file by their usual names."""
    rows = [[line.name, str(line.start), str(line.end), *line.fields[3:]] for line in bed_lines(path)]
    if not rows:
        raise SequenceError(f"{path}: no region in this BED file")
    width = max(map(len, rows))
    names = [*_BED_COLUMNS, *(f"column{i}" for i in range(len(_BED_COLUMNS) + 1, width + 1))][:width]
    return pd.DataFrame([row + [""] * (width - len(row)) for row in rows], columns=names)


def _of_letters(texts: list[str], table: pd.DataFrame, where: str) -> tuple[Sequences, pd.DataFrame]:
    letters = upper([text.strip() for text in texts], where)  # as an audit reads them
    lengths = np.array([len(text) for text in letters], np.int64)
    return Sequences(table=table, lengths=lengths, texts=tuple(letters)), table


def _of_regions(table: pd.DataFrame, genome: Genome, path: Path) -> tuple[Sequences, pd.DataFrame]:
    """Return the sequences of the regions of a table."""
    places = []
    for row, (chrom, start, end) in enumerate(table[list(REGION_COLUMNS)].itertuples(index=False), 1):
        name = genome.find(chrom)
        if name is None:
            raise SequenceError(f"{path}: row {row}: {genome.unknown(chrom)}")
        length = int(genome.lengths[genome.index[name]])
        try:
            first, last = int(start), int(end)
        except ValueError as error:
            raise SequenceError(
                f"{path}: row {row}: start and end must be whole numbers, got {start}, {end}"
            ) from error
        if not 0 <= first < last <= length:
            raise SequenceError(
                f"{path}: row {row}: a region needs 0 <= start < end <= {length} (length of {name}), got {start}-{end}"
            )
        places.append((name, first, last))
    strand = table["strand"].where(table["strand"] == "-", "+") if "strand" in table.columns else "+"
    placed = pd.DataFrame(places, columns=["name", "start", "end"]).assign(strand=strand)
    lengths = (placed["end"] - placed["start"]).to_numpy(np.int64)
    return Sequences(table=placed, lengths=lengths, genome=genome), table


def tile(sequences: Sequences, window_bp: int, step_bp: int) -> Sequences:
    """Return windows of this length, every ``step_bp``, over sequences of a genome; shorter sequences stay whole."""
    rows: list[tuple[Any, ...]] = []
    for name, start, end, strand in sequences.table[["name", "start", "end", "strand"]].itertuples(index=False):
        last = max(int(end) - window_bp, int(start))
        firsts = [*range(int(start), last, step_bp), last]
        rows += [(name, first, min(first + window_bp, int(end)), strand) for first in firsts]
    table = pd.DataFrame(rows, columns=["name", "start", "end", "strand"])
    lengths = (table["end"] - table["start"]).to_numpy(np.int64)
    return replace(sequences, table=table, lengths=lengths)
