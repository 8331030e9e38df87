"""Sequences to embed, from FASTA, GenBank, BED and CSV files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int64, UInt8

from dnar2mae.errors import ConfigError, SequenceError, raising
from dnar2mae.genome.alphabet import complement, encode
from dnar2mae.genome.bed import read_regions
from dnar2mae.genome.store import Genome, open_genomes
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip, without_compression
from dnar2mae.storage.remote import file_name, local_path

_TABLES = (".csv", ".tsv")
_REGIONS = (".bed",)


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """Sequences of a file; those of a genome are read one at a time."""

    table: pd.DataFrame
    """One row per sequence, written beside its vector."""
    lengths: Int64[np.ndarray, " N"]
    """Base pairs."""
    texts: tuple[str, ...] = ()
    """Letters of each sequence, unless they are in a genome."""
    genome: Genome | None = None
    """Genome of the sequences; the table then has ``name``, ``start``, ``end`` (0-based half-open) and ``strand``."""

    def codes(self, index: int) -> UInt8[np.ndarray, " L"]:
        """Return the genome codes of one sequence, 5' to 3' on its strand."""
        if self.genome is None:
            return encode(self.texts[index].encode("latin-1", "replace"))
        row = self.table.iloc[index]
        codes = self.genome.codes(row["name"], int(row["start"]), int(row["end"]))
        return complement(codes[::-1]) if row["strand"] == "-" else codes


def read_sequences(
    path: str | Path,
    *,
    genome: str | Path | None = None,
    tile_bp: int | None = None,
    assembly_report: str | Path | None = None,
) -> Sequences:
    """Open the sequences of a FASTA, GenBank, .2bit, BED, CSV or TSV file, plain, gzip or zstd.

    Parameters
    ----------
    path
        The file; BED files and tables are recognised by their suffix. A table needs a column ``sequence``.
    genome
        Sequence file that a BED file refers to.
    tile_bp
        Cut the sequences of a FASTA or GenBank file into tiles of this length; the last of each may be shorter.
    assembly_report
        NCBI's report of the genome that a BED file refers to, for other names of its sequences.

    Raises
    ------
    ConfigError
        If an option does not fit the input.
    SequenceError
        If the input cannot be read, has no sequence, or a letter is no nucleotide code.
    """
    path, name = Path(path), without_compression(file_name(path)).lower()
    is_table, is_bed = name.endswith(_TABLES), name.endswith(_REGIONS)
    if tile_bp is not None and (is_table or is_bed or tile_bp < 1):
        raise ConfigError(f"--tile-bp must be at least 1, and the input FASTA or GenBank, got {tile_bp} for {path}")
    if is_bed != (genome is not None):
        raise ConfigError(f"--genome must be given with a BED file and no other input, got {genome} for {path}")
    if is_table:
        return _from_table(path)
    if genome is None:
        return _from_genome(Genome.open(path), tile_bp)
    return _from_bed(path, *open_genomes([genome], assembly_report))


def _from_genome(genome: Genome, tile_bp: int | None) -> Sequences:
    step = tile_bp or int(genome.lengths.max())
    tiles = -(-genome.lengths // step)
    sequence = np.repeat(np.arange(len(genome)), tiles)
    start = (np.arange(len(sequence)) - np.repeat(np.cumsum(tiles) - tiles, tiles)) * step
    end = np.minimum(start + step, genome.lengths[sequence])
    names = np.array(genome.names, object)[sequence]
    table = pd.DataFrame({"name": names, "start": start, "end": end, "strand": "+"})
    return Sequences(table=table, lengths=end - start, genome=genome)


def _from_bed(path: Path, genome: Genome) -> Sequences:
    rows = []
    for region in read_regions(path, [genome]):
        fields = region.fields
        label, strand = fields[3] if len(fields) > 3 else "", fields[5] if len(fields) > 5 else "+"
        name = genome.names[region.sequence]
        rows.append((name, region.start, region.end, "-" if strand == "-" else "+", label))
    table = pd.DataFrame(rows, columns=["name", "start", "end", "strand", "region"])
    return Sequences(table=table, lengths=(table["end"] - table["start"]).to_numpy(np.int64), genome=genome)


def _from_table(path: Path) -> Sequences:
    separator = "\t" if ".tsv" in file_name(path).lower() else ","
    with raising(SequenceError, f"{path}: cannot be read as a table", *READ_ERRORS, ValueError):
        with open_maybe_gzip(local_path(path)) as file:
            table = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False).fillna("").apply(_numbers)
    if "sequence" not in table.columns:
        raise SequenceError(f"{path}: expected a column named sequence, got {', '.join(map(str, table.columns))}")
    if table.empty:
        raise SequenceError(f"{path}: no row in this table")
    texts = tuple(table["sequence"].astype(str))
    for row, text in enumerate(texts, 1):
        bad = np.flatnonzero(encode(text.encode("latin-1", "replace")) == 255)
        if bad.size:
            raise SequenceError(
                f"{path}: row {row}, position {bad[0] + 1}: expected a nucleotide letter, got {text[bad[0]]!r}"
            )
    lengths = np.array([len(text) for text in texts], np.int64)
    return Sequences(table=table.drop(columns="sequence"), lengths=lengths, texts=texts)


def _numbers(column: pd.Series) -> pd.Series:
    """Return a column of text as numbers where these are written the same way: not 007, 1.10 or NA."""
    numbers = pd.to_numeric(column, errors="coerce")
    return numbers if (numbers.astype(str) == column).all() else column
