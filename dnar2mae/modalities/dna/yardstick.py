"""Scores of count models on the bases that a masked model is scored on: the same windows, the same masks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64, UInt8
from torch import Tensor

from dnar2mae.batch import Batch
from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN
from dnar2mae.genome.markov import MAX_ORDER, MarkovCounts
from dnar2mae.genome.masked_bases import MaskedBases
from dnar2mae.genome.two_sided import MAX_REACH, TwoSidedCounts
from dnar2mae.masking import MaskPlan
from dnar2mae.masking.draw import corrupt
from dnar2mae.modalities.contract import Yardsticks
from dnar2mae.modalities.dna.pieces import PieceTokenizer
from dnar2mae.tokenizers import KmerTokenizer

if TYPE_CHECKING:
    from dnar2mae.modalities.dna.modality import DnaModality

_BATCH_BP = 1 << 18


def counted_yardsticks(
    modality: "DnaModality", plans: Sequence[MaskPlan], sample_ids: Int[np.ndarray, " S"]
) -> Yardsticks:
    """Fit counts on the training windows' bases and score them at the masks of held-out windows.

    Parameters
    ----------
    modality
        Has the training bases, the held-out windows and the tokenizer.
    plans
        Masks, one plan per ratio.
    sample_ids
        The held-out windows.

    Returns
    -------
    dict
        For Markov models and two-sided counts, by name, the bits per base of each plan's predicted tokens, summed
        over each window: of shape (plans, windows). The name of the last order says that it is the highest fitted;
        where it is the best, a longer context may do better still.

    Notes
    -----
    A token of several bases is predicted base by base from left to right: of its bases only those before the predicted
    one are known, so that the bits of its bases sum to those of a distribution over tokens. They compare with the
    model's loss per base. Tokens of a ``tokenizer.json`` vary in length; the counts know how many bases a masked one
    has, and the model does not, so that the comparison favours the counts.
    Of overlapping k-mers a base is visible if any visible token has it.
    """
    bases = modality.training_bases()
    orders = [f"Markov order {order}" for order in range(MAX_ORDER + 1)]
    orders[-1] += ", the highest fitted"
    reaches = [f"two-sided counts {n}+{n}" for n in range(1, MAX_REACH + 1)]
    scores = {}
    for family, fit, names in (("one-sided", MarkovCounts, orders), ("two-sided", TwoSidedCounts, reaches)):
        sums = _window_sums(
            modality, fit(bases), plans, sample_ids
        )  # one family after the other: their tables are large
        scores[family] = dict(zip(names, sums, strict=False))
    return scores


def _window_sums(
    modality: "DnaModality",
    model: MarkovCounts | TwoSidedCounts,
    plans: Sequence[MaskPlan],
    sample_ids: Int[np.ndarray, " S"],
) -> Float64[np.ndarray, "K R S"]:
    """Return the bits of a family's models, summed over the masked tokens of each window, by plan, in the unit."""
    size = max(_BATCH_BP // modality.config.data.window_bp, 1)
    parts = []
    for start in range(0, len(sample_ids), size):
        ids = sample_ids[start : start + size]
        batch, codes = modality.validation.batch(ids), modality.validation.windows.codes(ids) & np.uint8(SOFT_MASK - 1)
        by_plan = []
        for plan in plans:
            inputs, predicted = corrupt(plan, batch.tokens, batch.maskable, batch.sample_ids)
            masked = masked_bases(inputs == plan.mask_id, predicted, batch, codes, modality.tokenizer)
            window = masked.targets // codes.shape[1]
            by_plan.append([np.bincount(window, bits, minlength=len(ids)) for bits in model.bits(masked)])
        parts.append(np.stack(by_plan, axis=1))
    return np.concatenate(parts, axis=2) * np.log(2) / modality.unit_size


def masked_bases(
    hidden: Bool[Tensor, "B T"],
    predicted: Bool[Tensor, "B T"],
    batch: Batch,
    codes: UInt8[np.ndarray, "B L"],
    tokenizer: KmerTokenizer | PieceTokenizer,
) -> MaskedBases:
    """Return the bases of the tokens to predict, and which bases are visible in tokens that are not hidden.

    Parameters
    ----------
    hidden, predicted
        Tokens, on the CPU.
    batch
        Has the number of bases of each token, where these vary.
    codes
        Bases of the windows.
    tokenizer
        Of the run.
    """
    if isinstance(tokenizer, KmerTokenizer):
        sizes = np.full(predicted.shape, tokenizer.k)
        starts = np.broadcast_to(np.arange(predicted.shape[1]) * tokenizer.stride, predicted.shape)
    else:
        assert batch.units is not None, "pieces vary in length"
        sizes = batch.units.cpu().numpy().astype(np.int64)
        starts = np.cumsum(sizes, axis=1) - sizes
    rows = np.arange(len(codes))[:, None] * codes.shape[1]
    visible = np.zeros(codes.size, bool)
    seen = (~hidden & batch.maskable.cpu()).numpy()  # of a token with an unknown base the model sees none
    visible[_spread((starts + rows)[seen], sizes[seen])[0]] = True
    targets, earlier = _spread((starts + rows)[predicted.numpy()], sizes[predicted.numpy()])
    return MaskedBases(codes, np.where(visible.reshape(codes.shape), codes, np.uint8(UNKNOWN)), targets, earlier)


def _spread(
    starts: Int64[np.ndarray, " M"], sizes: Int64[np.ndarray, " M"]
) -> tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"]]:
    """Return the positions of the tokens' bases, and how many of the same token come before each."""
    earlier = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.repeat(starts, sizes) + earlier, earlier
