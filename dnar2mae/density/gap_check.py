"""Gap filling where the answer is known: gaps in held-out windows, filled by the model and by counts."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from dnar2mae.density.counts import best_order, next_base
from dnar2mae.density.drawing import Sampler, Unfinished, draw_tasks
from dnar2mae.density.likelihood import check_density
from dnar2mae.density.windows import held_out_windows, single_bases
from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import UNKNOWN
from dnar2mae.genome.markov import MarkovCounts
from dnar2mae.genome.masked_bases import MaskedBases
from dnar2mae.genome.two_sided import TwoSidedCounts
from dnar2mae.inference import TrainedModel
from dnar2mae.storage.progress import progress_bar

_WINDOWS_RANKED = 512
Codes = UInt8[np.ndarray, "N L"]
Gaps = UInt8[np.ndarray, "N G"]


def check_gaps(
    trained: TrainedModel, number: int, gap_bp: int, *, seed: int = 0, progress: bool = False
) -> dict[str, Any]:
    """Fill a gap in the middle of held-out windows, base by base, each time with the likeliest base.

    The model unmasks in a random order, both flanks in view; Markov models go on from the left flank; two-sided counts
    work inwards from both.

    Parameters
    ----------
    trained
        A model of DNA by single bases, with its training genome.
    number
        Windows, evenly spaced; those with an unknown base are left out.
    gap_bp
        Length of a gap.
    seed
        Of the random orders.
    progress
        Show a progress bar on a terminal.

    Returns
    -------
    dict
        ``gaps``, ``gap_bp``, and by filler ``right``, the share of right bases, with its standard error over gaps.

    Raises
    ------
    ConfigError
        If the model is another one, or a gap leaves no flanks.
    """
    check_density(trained)
    modality = single_bases(trained, "--fill-check")
    windows = held_out_windows(trained, number)
    assert windows.codes is not None
    true = np.stack([windows.codes(int(sample)) for sample in windows.sample_ids])
    true = true[(true < UNKNOWN).all(1)]
    if gap_bp > true.shape[1] // 2 or not len(true):
        raise ConfigError(
            f"--gap-bp must be at most half a window ({true.shape[1] // 2}), and windows known, got {gap_bp}"
        )
    start = (true.shape[1] - gap_bp) // 2
    gap = slice(start, start + gap_bp)
    with progress_bar("filling gaps", len(true) * gap_bp, show=progress) as bar:
        filled = {"model": _by_model(trained, true, gap, seed, bar.advance)}
    bases = modality.training_bases()
    counts = MarkovCounts(bases)
    more = held_out_windows(trained, _WINDOWS_RANKED)  # on few windows a repeat would decide
    order = best_order(counts, np.stack([windows.codes(int(sample)) for sample in more.sample_ids]))
    filled[f"Markov order {order}, the best"] = _from_the_left(counts, order, true, gap)
    filled["two-sided counts"] = _inwards(TwoSidedCounts(bases), true, gap)
    common = np.bincount(bases[bases < UNKNOWN], minlength=UNKNOWN).argmax()
    filled["the most frequent base"] = np.full((len(true), gap_bp), common, np.uint8)
    shares = {name: (bases == true[:, gap]).mean(1) for name, bases in filled.items()}
    return {
        "gaps": len(true),
        "gap_bp": gap_bp,
        "right": {name: {"share": float(x.mean()), "standard_error": _error(x)} for name, x in shares.items()},
    }


def gap_lines(check: dict[str, Any]) -> list[str]:
    """Return the result in words."""
    shares = [f"{name} {x['share']:.3f} ± {x['standard_error']:.3f}" for name, x in check["right"].items()]
    return [f"{check['gaps']} held-out gaps of {check['gap_bp']} bases, right (chance 0.25): {'; '.join(shares)}"]


def _error(shares: Float64[np.ndarray, " N"]) -> float:
    return float(shares.std(ddof=1) / math.sqrt(len(shares))) if len(shares) > 1 else math.nan


def _by_model(trained: TrainedModel, true: Codes, gap: slice, seed: int, advance: Callable[[int], object]) -> Gaps:
    vocabulary = trained.modality.vocabulary
    first = vocabulary.first_real
    tasks = []
    for number, codes in enumerate(true):
        row = codes.astype(np.int32) + first
        hidden: Bool[np.ndarray, " L"] = np.zeros(len(row), bool)
        hidden[gap] = True
        row[gap] = vocabulary.unk_id
        tasks.append(Unfinished(number=number, tokens=row, hidden=hidden))
    sampler = Sampler(steps=true.shape[1], temperature=0.0, seed=seed)
    draw_tasks(trained.model, tasks, true.shape[1], sampler, advance=advance)
    return (np.stack([task.tokens[gap] for task in tasks]) - first).astype(np.uint8)


def _from_the_left(counts: MarkovCounts, order: int, true: Codes, gap: slice) -> Gaps:
    codes = true.copy()
    for at in range(gap.start, gap.stop):
        codes[:, at] = next_base(counts, codes[:, max(at - order, 0) : at], order).argmax(1)
    return codes[:, gap]


def _inwards(counts: TwoSidedCounts, true: Codes, gap: slice) -> Gaps:
    """Fill from both ends in turn, each base given those filled before."""
    reach = counts.reach
    codes = np.pad(true, ((0, 0), (reach, reach)), constant_values=UNKNOWN)  # a short window has short flanks
    inside = slice(gap.start + reach, gap.stop + reach)
    codes[:, inside] = UNKNOWN
    left, right = inside.start, inside.stop - 1
    while left <= right:
        for at in dict.fromkeys((left, right)):
            near = np.repeat(codes[:, at - reach : at + reach + 1], UNKNOWN, axis=0)
            letters = near.copy()
            letters[:, reach] = np.tile(np.arange(UNKNOWN, dtype=np.uint8), len(codes))
            targets = np.arange(len(near)) * near.shape[1] + reach
            bits = counts.bits(MaskedBases(letters, near, targets, np.zeros_like(targets)))[-1]
            codes[:, at] = bits.reshape(-1, UNKNOWN).argmin(1)
        left, right = left + 1, right - 1
    return codes[:, inside]
