r"""Predicted distributions of single bases where they are masked, many of a window in one pass.

In pass r of n all known bases of a window are masked whose coordinate in the sequence is r modulo n: each base once,
and its neighbours up to n - 1 bases away are seen. On the reverse strand the same bases are masked.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import SOFT_MASK, complement
from dnar2mae.genome.store import Genome
from dnar2mae.genome.window_layout import WindowLayout
from dnar2mae.inference import Model
from dnar2mae.inference.predictions import masked_log_probabilities

LogProbabilities = Float32[np.ndarray, "L 4"]
"""Of A, C, G, T on the forward strand, in nats; NaN where the base is unknown or was not asked for."""


class Asked(NamedTuple):
    """A window and the bases of it that are asked for."""

    codes: UInt8[np.ndarray, " L"]
    wanted: Bool[np.ndarray, " L"]
    phase: int
    """Coordinate of its first base; which bases are masked together goes by it."""
    visible: int | None = None
    """A place that is never masked."""


def window_of(genome: Genome, windows: WindowLayout, number: int) -> Asked:
    """Return a window of a genome."""
    start, end = windows.extents[number].tolist()
    wanted = np.zeros(end - start, bool)
    for low, high in (windows.of(number) - start).tolist():
        wanted[low:high] = True
    sequence = int(genome.sequence_of(np.array([start]))[0])
    codes = genome.span(start, end) & np.uint8(SOFT_MASK - 1)
    return Asked(codes, wanted, int(start - genome.offsets[sequence]))


def require_single_bases(model: Model) -> None:
    """Raise a ``ConfigError`` if the tokens of a model are more than a base."""
    if model.tokenizer.k > 1:
        raise ConfigError(
            f"{model.source}: tracks need a run on single bases (--tokenizer.k 1), got k = {model.tokenizer.k}"
        )


def period_of(pattern_ratio: float, window_bp: int) -> int:
    """Return which n-th bases are masked together; with a ratio of 0 so many that a window has one of them."""
    return round(1 / pattern_ratio) if pattern_ratio else window_bp


def base_log_probabilities(
    model: Model, windows: list[Asked], period: int, *, both_strands: bool
) -> list[LogProbabilities]:
    """Return the log-probabilities of the four bases at the places asked for.

    Parameters
    ----------
    model
        A model of single bases of objective ``mlm``.
    windows
        What is asked for.
    period
        Every n-th base is masked in a pass.
    both_strands
        Take the mean of the probabilities on both strands; of a model to which they are the same, those on one.

    Raises
    ------
    RunError
        If the model has no masked predictions (objective ``mae``).
    """
    tokens: list[Int[np.ndarray, " _"]] = []
    positions: list[Int[np.ndarray, " _"]] = []
    places: list[tuple[int, Int[np.ndarray, " _"], bool]] = []
    first = model.tokenizer.vocabulary.first_real
    both_strands = both_strands and not model.is_strand_symmetric
    for number, window in enumerate(windows):
        strands = [(model.tokenizer.encode(window.codes), False)]
        if both_strands:
            strands.append((model.tokenizer.encode(complement(window.codes[::-1])), True))
        may_be_masked = strands[0][0] >= first
        if window.visible is not None:
            may_be_masked[window.visible] = False
        for hidden, predicted in _passes(window, may_be_masked, period):
            for ids, is_reverse in strands:
                shown = ids.copy()
                shown[_mirrored(hidden, len(ids)) if is_reverse else hidden] = model.tokenizer.vocabulary.mask_id
                tokens.append(shown)
                positions.append(_mirrored(predicted, len(ids)) if is_reverse else predicted)
                places.append((number, predicted, is_reverse))
    out = [np.full((len(window.codes), 4), np.nan, np.float32) for window in windows]
    answers = masked_log_probabilities(model.module, tokens, positions)
    for (number, predicted, is_reverse), answer in zip(places, answers, strict=True):
        if is_reverse:  # complements are in opposite order: A C G T, T G C A; the forward strand came before
            both = np.logaddexp(out[number][predicted], answer[::-1, ::-1]) - np.log(np.float32(2))
        out[number][predicted] = both if is_reverse else answer
    return out


def _passes(
    window: Asked, may_be_masked: Bool[np.ndarray, " L"], period: int
) -> Iterator[tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]]:
    """Yield the places that are masked together, and those of them that are asked for, if there are any."""
    for remainder in range(period):
        hidden = np.arange((remainder - window.phase) % period, len(may_be_masked), period)
        hidden = hidden[may_be_masked[hidden]]
        predicted = hidden[window.wanted[hidden]]
        if len(predicted):
            yield hidden, predicted


def _mirrored(positions: Int[np.ndarray, " _"], length: int) -> Int[np.ndarray, " _"]:
    return length - 1 - positions[::-1]
