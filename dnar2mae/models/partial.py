"""A stack of layers at some positions, computing only what these depend on."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Positions = Int[Tensor, " _"]
"""Positions in a sequence, ascending."""


class PartialLayer(NamedTuple):
    """A layer, for a computation that leaves out what is not needed."""

    reads: range | None
    """The positions, relative to its own and 0 among them, that an output depends on; None: all of the sequence."""
    whole: Callable[[Tensor], Tensor]
    """Maps the inputs [B, T, D] of a sequence to all outputs."""
    at: Callable[[Tensor, Positions, Positions], Tensor]
    """Maps inputs [B, N, D] at the positions ``have`` to the outputs at ``want``; what is not in ``have`` is not read,
    or lies past an end."""


def encode_partly(
    layers: Sequence[PartialLayer], x: Float[Tensor, "B T D"], positions: Int[np.ndarray, " S"]
) -> Float[Tensor, "B S D"]:
    """Return the output of a stack of layers at some positions.

    Going down from the last layer, the positions that are needed grow by what each layer reads: around them for local
    attention, to a comb for dilated convolutions, to everything for global attention.

    Parameters
    ----------
    layers
        The layers, in order.
    x
        Inputs of the first one at all positions.
    positions
        Where the output is wanted, ascending.
    """
    length = x.shape[1]
    reads = tuple(layer.reads for layer in layers)
    have, *wanted = _positions(reads, tuple(positions.tolist()), length, x.device)
    for layer, want in zip(layers, wanted, strict=True):
        x = layer.whole(x) if len(want) == length else layer.at(x, have, want)
        have = want
    return x


@lru_cache(maxsize=256)  # the middle of a window, on either strand, is asked for again and again
def _positions(
    reads: tuple[range | None, ...], positions: tuple[int, ...], length: int, device: torch.device
) -> tuple[Positions, ...]:
    """Return the positions of the inputs, which are all there, and those at which each layer is needed."""
    needed = [np.array(positions)]
    for offsets in reads[:0:-1]:
        if offsets is None:
            needed.append(np.arange(length))
        else:
            read = np.unique(needed[-1][:, None] + np.asarray(offsets))
            needed.append(read[(read >= 0) & (read < length)])
    needed.append(np.arange(length))
    return tuple(torch.from_numpy(positions).to(device) for positions in reversed(needed))
