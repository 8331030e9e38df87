"""How usual a substitution's score is: its percentile among those of the same trinucleotide in the genome.

Rates of mutation and the predictions of models both depend on the neighbours of a base. A percentile compares a score
with those of the same three bases elsewhere, read on either strand, with all three substitutions of the middle one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int, Int64

from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.random import Stream, draw, unit
from dnar2mae.storage.cache import default_cache
from dnar2mae.storage.fingerprint import of_values
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.safe_files import written_whole
from dnar2mae.variants.alleles import Allele
from dnar2mae.variants.blocks import BLOCK, score_blocks
from dnar2mae.variants.options import ScoreOptions
from dnar2mae.variants.scores import Scores, substitutions

_FORWARD = np.arange(64)
# bases are 0 to 3, and a complement is 3 minus its base
_REVERSE = (3 - _FORWARD % 4) * 16 + (3 - _FORWARD // 4 % 4) * 4 + 3 - _FORWARD // 16
_CONTEXTS = np.unique(np.minimum(_FORWARD, _REVERSE), return_inverse=True)[1]
NUM_CONTEXTS = 32
"""Trinucleotides, read on either strand."""
_DRAWN, _ROUNDS = 1 << 16, 64  # positions drawn at once, and how often at most: rare contexts have fewer sites


@dataclass(frozen=True, slots=True)
class Calibration:
    """Scores of substitutions by their trinucleotide."""

    scores: Float32[np.ndarray, "C N"]
    """Ascending; NaN at the end where a genome has fewer sites."""

    def added(self, genome: Genome, alleles: Sequence[Allele], scores: Scores) -> Scores:
        """Return scores with percentiles: the per cent of those of its trinucleotide that are lower, equal ones half.

        NaN unless the allele is a substitution of one base between two that are known.
        """
        found = np.full(len(alleles), np.nan, np.float32)
        for number, (allele, ratio) in enumerate(zip(alleles, scores.ratio, strict=True)):
            context = _context(genome, allele)
            if context is not None and not np.isnan(ratio):
                known = self.scores[context][~np.isnan(self.scores[context])]
                lower, not_higher = (np.searchsorted(known, ratio, side) for side in ("left", "right"))
                found[number] = 50 * (lower + not_higher) / len(known) if len(known) else np.nan
        return scores._replace(percentile=found)


def calibrate(model: Model, genome: Genome, options: ScoreOptions) -> Calibration:
    """Return the calibration of a model on a genome, computed unless it is kept with the run.

    Sites are drawn by a counter: for a genome, a seed and a number of them they are the same on every machine.

    Raises
    ------
    Dnar2maeError
        As :func:`dnar2mae.variants.blocks.score_blocks`.
    """
    kept = _kept(model, genome, options)
    if kept.is_file():
        return Calibration(np.load(kept, allow_pickle=False))
    contexts, positions = draw_sites(genome, options.calibration_sites, options.seed)
    sites = [_substitutions_at(genome, position) for position in positions.tolist()]
    blocks = [sites[start : start + BLOCK] for start in range(0, len(sites), BLOCK)]
    ratios = np.full((len(sites), 3), np.nan, np.float32)
    with progress_bar("calibrating", len(sites), at_once=True) as bar:
        for number, block in enumerate(score_blocks(model, genome, blocks, options)):
            own = slice(number * BLOCK, number * BLOCK + len(block))
            ratios[own] = [scores.ratio for scores in block]
            bar(own.stop)
    table = np.full((NUM_CONTEXTS, 3 * options.calibration_sites), np.nan, np.float32)
    for context in range(NUM_CONTEXTS):
        ascending = np.sort(ratios[contexts == context].ravel())  # NaN last
        table[context, : len(ascending)] = ascending
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with written_whole(kept) as partial:
        np.save(partial, table)
    return Calibration(table)


def draw_sites(genome: Genome, number: int, seed: int) -> tuple[Int[np.ndarray, " S"], Int64[np.ndarray, " S"]]:
    """Draw positions for each trinucleotide, without replacement; fewer where the genome has no more.

    Parameters
    ----------
    genome
        The genome.
    number
        Sites of each trinucleotide.
    seed
        Seed of the draw.

    Returns
    -------
    contexts, positions
        Number of the trinucleotide, and its middle base in concatenated coordinates.
    """
    if genome.total_bp < 3:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    starts = np.empty(0, np.int64)
    for first in range(0, _ROUNDS * _DRAWN, _DRAWN):
        high, low, *_ = draw(seed, Stream.CALIBRATION, np.arange(first, first + _DRAWN))
        drawn = np.append(starts, (unit(high, low) * (genome.total_bp - 2)).astype(np.int64))
        starts = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
        codes = genome.windows(starts, 3).astype(np.int64) & (SOFT_MASK - 1)
        good = (codes < UNKNOWN).all(1) & (genome.sequence_of(starts) == genome.sequence_of(starts + 2))
        contexts = np.where(good, _CONTEXTS[np.minimum(codes, 3) @ (16, 4, 1)], NUM_CONTEXTS)
        if np.bincount(contexts, minlength=NUM_CONTEXTS)[:NUM_CONTEXTS].min() >= number:
            break
    chosen = np.concatenate([np.flatnonzero(contexts == context)[:number] for context in range(NUM_CONTEXTS)])
    return contexts[chosen], starts[chosen] + 1


def _kept(model: Model, genome: Genome, options: ScoreOptions) -> Path:
    """Return the file of a calibration: in the folder of its run, else (an export) in the cache."""
    settings = {
        "window_bp": options.window_bp or model.window_bp,
        "both_strands": options.both_strands,
        "precision": options.precision,
        "snv": options.snv,
        "sites": options.calibration_sites,
        "seed": options.seed,
    }
    name = f"{of_values(model.digest(), genome.fingerprint(), settings)[:32]}.npy"
    source = Path(model.source)
    run = source.parent.parent if source.parent.name == "checkpoints" else source
    folder = run if (run / "checkpoints").is_dir() else default_cache()
    return folder / "calibration" / name


def _substitutions_at(genome: Genome, position: int) -> list[Allele]:
    number = int(genome.sequence_of(np.array([position]))[0])
    code = int(genome.span(position, position + 1)[0]) & (SOFT_MASK - 1)
    return substitutions(genome.names[number], position - int(genome.offsets[number]), code)


def _context(genome: Genome, allele: Allele) -> int | None:
    """Return the number of the trinucleotide around a substituted base; None where there is none."""
    total = int(genome.lengths[genome.index[allele.name]])
    if len(allele.ref) != 1 or len(allele.alt) != 1 or not 0 < allele.start < total - 1:
        return None
    codes = genome.codes(allele.name, allele.start - 1, allele.start + 2).astype(np.int64) & (SOFT_MASK - 1)
    return int(_CONTEXTS[codes @ (16, 4, 1)]) if (codes < UNKNOWN).all() else None
