"""The bases that a masked model is asked for, as counting models are given them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from dnar2mae.genome.alphabet import UNKNOWN


class MaskedBases(NamedTuple):
    """What is asked of a batch of windows, and what is seen of it."""

    codes: UInt8[np.ndarray, "B L"]
    """All bases, as codes 0 to 4."""
    shown: UInt8[np.ndarray, "B L"]
    """Codes of the visible bases, 4 for the others."""
    place: Int64[np.ndarray, " P"]
    """Which bases are asked for, as indices of ``codes.flatten()``; all are known."""
    earlier: Int64[np.ndarray, " P"]
    """How many bases of the same token come before each: these are predicted first, and then known."""

    def padded(self, flank: int) -> tuple[UInt8[np.ndarray, " W"], UInt8[np.ndarray, " W"], Int64[np.ndarray, " P"]]:
        """Put unknown bases around each window: all bases, those shown, and where the masked ones are in either."""
        edges = ((0, 0), (flank, flank))
        codes, shown = (np.pad(x, edges, constant_values=UNKNOWN).reshape(-1) for x in (self.codes, self.shown))
        return codes, shown, self.place + (self.place // self.codes.shape[1] * 2 + 1) * flank
