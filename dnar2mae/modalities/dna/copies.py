"""Losses of hidden tokens, given also what the training bases hold of their windows."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from dnar2mae.batch import Batch
from dnar2mae.genome.copies import CopyModel
from dnar2mae.modalities.dna.yardstick import masked_bases
from dnar2mae.tokenizers import KmerTokenizer


class WindowCopies:
    """The :class:`.CopyModel` of windows, beside the model's probabilities of their tokens.

    Parameters
    ----------
    tokenizer
        Of the run: single bases or k-mers, since of pieces of several lengths the probabilities would not sum to 1.
    sample_ids
        Which samples the windows are.
    codes
        Their bases, unknown ones at the end where one is shorter.
    training
        Training bases with their reverse complement, as :func:`~.fitted_bases.fitted_bases` reads them.
    """

    def __init__(
        self,
        tokenizer: KmerTokenizer,
        sample_ids: Int[np.ndarray, " S"],
        codes: UInt8[np.ndarray, "S L"],
        training: UInt8[np.ndarray, " F"],
    ) -> None:
        self._tokenizer, self._codes = tokenizer, codes
        self._order = np.argsort(sample_ids)
        self._sorted = sample_ids[self._order]
        self._model = CopyModel(codes, training)

    def __call__(
        self, losses: Float[Tensor, " M"], index: Int[Tensor, " M"], batch: Batch, hidden: Bool[Tensor, "B T"]
    ) -> Float[Tensor, " M"]:
        """Return the losses of the tokens at ``index`` of the flattened batch with copies, in nats."""
        predicted = torch.zeros_like(hidden)
        predicted.view(-1)[index] = True
        rows = self._order[np.searchsorted(self._sorted, batch.sample_ids.cpu().numpy())]
        masked = masked_bases(hidden.cpu(), predicted.cpu(), batch, self._codes[rows], self._tokenizer)
        return torch.from_numpy(-self._model.mixed(-losses.double().cpu().numpy(), rows, masked)).to(losses)
