"""The samples whose likelihood is asked for: held-out ones of a run, regions of a genome, or all of a genome."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8

from dnar2mae.batch import FiniteSource, evenly_spaced
from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import SOFT_MASK
from dnar2mae.inference import TrainedModel
from dnar2mae.modalities.dna.embedding import grid
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.modalities.dna.sequences import Sequences, read_sequences
from dnar2mae.modalities.dna.sources import SequenceSource
from dnar2mae.tokenizers import KmerTokenizer

Codes = UInt8[np.ndarray, " L"]


@dataclass(frozen=True, kw_only=True)
class ScoredWindows:
    """Samples of a source."""

    source: FiniteSource
    sample_ids: Int[np.ndarray, " S"]
    """Which samples; those of one length follow one another."""
    table: pd.DataFrame
    """A row for each: of DNA ``name``, ``start``, ``end`` (0-based half-open) and ``strand``."""
    total: int
    """Samples that there were to choose from."""
    codes: Callable[[int], Codes] | None = None
    """Base codes of a sample, 5' to 3' on its strand, without the soft-mask bit; None of other kinds of data."""


def held_out_windows(trained: TrainedModel, number: int) -> ScoredWindows:
    """Return held-out samples of a run, evenly spaced; of DNA on the forward strand. 0 stands for all."""
    modality = trained.modality
    source = modality.validation
    everything = modality.locate(np.arange(len(source)))
    forward = np.flatnonzero(everything["strand"] == "+") if "strand" in everything else np.arange(len(source))
    ids = forward[evenly_spaced(len(forward), number or len(forward))]
    table = everything.iloc[ids].reset_index(drop=True)
    if not isinstance(modality, DnaModality):
        return ScoredWindows(source=source, sample_ids=ids, table=table, total=len(forward))
    windows = modality.validation.windows

    def codes(sample: int) -> Codes:
        return windows.codes(np.array([sample]))[0] & np.uint8(SOFT_MASK - 1)

    return ScoredWindows(source=source, sample_ids=ids, table=table, total=len(forward), codes=codes)


def dna_of(trained: TrainedModel, asking: str) -> DnaModality:
    """Return the modality of a model of DNA; raise a ``ConfigError`` that names what asks for one, for any other."""
    if not isinstance(trained.modality, DnaModality):
        raise ConfigError(f"{asking} needs a model of DNA, got one of --modality {trained.config.modality}")
    return trained.modality


def single_bases(trained: TrainedModel, flag: str) -> DnaModality:
    """Return the modality of a model of single bases; raise a ``ConfigError`` that names the flag for any other."""
    modality = dna_of(trained, flag)
    if not isinstance(modality.tokenizer, KmerTokenizer) or modality.tokenizer.k > 1:
        raise ConfigError(f"{trained.source}: {flag} needs a run on single bases (--tokenizer.k 1)")
    return modality


def windows_of(trained: TrainedModel, genome: Path, bed: Path | None, number: int) -> ScoredWindows:
    """Return windows that tile the regions of a BED file, or all of a genome; ``number`` evenly spaced ones, 0 all.

    Raises
    ------
    ConfigError
        If the model is not one of DNA.
    SequenceError
        If a file cannot be used.
    """
    modality = dna_of(trained, "--genome")
    sequences = read_sequences(genome) if bed is None else read_sequences(bed, genome=genome)
    tiles = _tiled(sequences, modality.config.data.window_bp, grid(modality.tokenizer).k)
    source = SequenceSource(tiles, modality.tokenizer, bed or genome)
    ids = evenly_spaced(len(source), number or len(source))
    ids = ids[np.argsort(-tiles.lengths[ids], kind="stable")]  # the shorter last windows of sequences come last
    table = tiles.table.iloc[ids].reset_index(drop=True)
    return ScoredWindows(
        source=source,
        sample_ids=ids,
        table=table,
        total=len(source),
        codes=lambda sample: tiles.codes(sample) & np.uint8(SOFT_MASK - 1),
    )


def _tiled(sequences: Sequences, window_bp: int, least_bp: int) -> Sequences:
    """Cut sequences of a genome into windows; the last of each may be shorter, but no shorter than a token."""
    # of a rest shorter than a token nothing could be scored
    pieces = np.maximum(-(-(sequences.lengths - least_bp + 1) // window_bp), 1)
    table = sequences.table.loc[sequences.table.index.repeat(pieces)].reset_index(drop=True)
    number = np.arange(len(table)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    start = table["start"].to_numpy() + number * window_bp
    table = table.assign(start=start, end=np.minimum(start + window_bp, table["end"]))
    return Sequences(table=table, lengths=(table["end"] - table["start"]).to_numpy(np.int64), genome=sequences.genome)
