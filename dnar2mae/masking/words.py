"""Ranks of words (runs of tokens) by normalised pointwise mutual information, counted on training samples."""

import numpy as np
import torch
from jaxtyping import Float

from dnar2mae.batch import Source
from dnar2mae.config import MaskConfig
from dnar2mae.errors import ConfigError
from dnar2mae.masking.placement import Words
from dnar2mae.tokenizers.vocabulary import Vocabulary

# counts and ranks of 8 bytes a word: 8 MB each
_MOST_WORDS = 2**20
# samples that are counted, and how many at once
_SAMPLES, _AT_ONCE = 8192, 256


def words_by_information(config: MaskConfig, vocabulary: Vocabulary, source: Source) -> Words:
    r"""Rank all words by how much more often they occur than if their tokens were independent.

    .. math:: \mathrm{NPMI}(w) = \log\frac{p(w)}{\prod_i p(w_i)} \Big/ -\log p(w)

    Parameters
    ----------
    config
        ``pmi_length`` is used.
    vocabulary
        Vocabulary of the tokens.
    source
        Training samples; the first 8,192 are counted. Words that do not occur there rank lowest.

    Raises
    ------
    ConfigError
        If tokens carry values, a word is not two or more whole tokens, or there are more than 2**20 words.
    """
    length, rest = divmod(config.pmi_length, vocabulary.bases_per_token)
    if rest or length < 2:
        raise ConfigError(
            f"--mask.pmi-length must be two or more whole tokens of {vocabulary.bases_per_token}, "
            f"got {config.pmi_length}"
        )
    if source.batch(np.zeros(1, np.int64)).values is not None:
        raise ConfigError("--mask.placement pmi needs tokens that recur, got tokens that carry values")
    number = vocabulary.num_real**length
    if number > _MOST_WORDS:
        raise ConfigError(
            f"--mask.placement pmi ranks at most 2**20 words, got {vocabulary.num_real} tokens ** {length}"
        )
    words, single = np.zeros(number), np.zeros(vocabulary.num_real)
    for start in range(0, _SAMPLES, _AT_ONCE):
        batch = source.batch(np.arange(start, start + _AT_ONCE))
        digits = batch.tokens.numpy().astype(np.int64) - vocabulary.first_real
        real = batch.maskable.numpy()
        single += np.bincount(digits[real], minlength=len(single))
        span = digits.shape[1] - (length - 1) * vocabulary.anchor_stride
        if span < 1:
            raise ConfigError(f"--mask.pmi-length {config.pmi_length} does not fit into a sample")
        index, whole = np.zeros(digits[:, :span].shape, np.int64), np.ones((len(digits), span), bool)
        for first in range(0, length * vocabulary.anchor_stride, vocabulary.anchor_stride):
            index = index * vocabulary.num_real + digits[:, first : first + span]
            whole &= real[:, first : first + span]
        words += np.bincount(index[whole], minlength=number)
    # the inverse of the order is each word's rank; stable, so that ties are ranked alike on every machine
    ranks = np.argsort(np.argsort(npmi(words, single), kind="stable"), kind="stable")
    return Words(torch.from_numpy(ranks), length, vocabulary.first_real, vocabulary.num_real)


def npmi(words: Float[np.ndarray, " W"], single: Float[np.ndarray, " V"]) -> Float[np.ndarray, " W"]:
    """Return normalised pointwise mutual information from counts of words and tokens; -1 where a word has no count."""
    with np.errstate(divide="ignore", invalid="ignore"):
        token = np.log(single / single.sum())
        # log-probability of each word if its tokens were independent, token by token
        independent = np.zeros(1)
        while len(independent) < len(words):
            independent = np.add.outer(independent, token).ravel()
        joint = np.log(words / words.sum())
        return np.where(words > 0, (joint - independent) / -joint, -1.0)
