"""Weights shared by the two strands of DNA: of the reverse complement, a model predicts the reverse complement.

A convolutional model has this symmetry if reading a window on the other strand does no more than reverse the order of
the tokens and, in every layer, that of the channels: taps read backwards, channels in and out in reverse order, are the
same taps, and so on. The weights stay ordinary ones: they begin with this symmetry, and the mean over both strands of
each gradient keeps it.

References
----------
.. [1] Shrikumar, Greenside, Kundaje, "Reverse-complement parameter sharing improves deep learning models for genomics",
   bioRxiv 103663 (2017).
.. [2] Schiff et al., "Caduceus: bi-directional equivariant long-range DNA sequence modeling", ICML 2024.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from dnar2mae.distributed import copy_into, full_tensor
from dnar2mae.tokenizers import Vocabulary


class StrandSymmetry:
    """The exchange of strands in a model of single bases.

    Parameters
    ----------
    vocabulary
        One whose real tokens, read backwards, are their complements.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def exchanged(self, name: str, value: Tensor) -> Tensor:
        """Return a parameter, or its gradient, as the other strand has it.

        Parameters
        ----------
        name
            The parameter's in the :class:`dnar2mae.models.MaskedModel`.
        value
            In the parameter's shape.
        """
        if name == "head.bias":
            return self._complemented(value)
        if name == "embedder.embedding.weight":
            return self._complemented(value).flip(1)
        if name.endswith("mlp_in.weight"):  # GeGLU's two halves
            return value.unflatten(0, (2, -1)).flip(1, 2).flatten(0, 1)
        return value.flip(tuple(range(value.ndim)))

    def drawn(self, name: str, value: Tensor) -> Tensor:
        """Return initial weights with the symmetry, from drawn ones without, whose sd they keep."""
        return (value + self.exchanged(name, value)) * (0.5 if value.ndim == 1 else 0.5**0.5)

    def holds(self, named: Iterable[tuple[str, Tensor]]) -> bool:
        """Return whether parameters have the symmetry: those of a run do, changed ones need not.

        Of shards every rank must call this.
        """
        wholes = ((name, full_tensor(value)) for name, value in named)
        return all(torch.equal(whole, self.exchanged(name, whole)) for name, whole in wholes)

    @torch.no_grad()
    def average_(self, named: Iterable[tuple[str, Tensor | None]]) -> None:
        """Replace parameters, or their gradients, by the mean over both strands; None is left out.

        Of shards every rank must call this.
        """
        for name, value in named:
            if value is not None:
                whole = full_tensor(value)
                copy_into(value, (whole + self.exchanged(name, whole)) * 0.5)

    def _complemented(self, rows: Tensor) -> Tensor:
        """Return rows, one a token, with those of each base and of its complement exchanged."""
        real = self.vocabulary.real
        return torch.cat([rows[: real.start], rows[real].flip(0), rows[real.stop :]])
