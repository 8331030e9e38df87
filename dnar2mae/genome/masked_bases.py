"""The masked bases of a batch in the form that counting models take."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from dnar2mae.genome.alphabet import UNKNOWN


class MaskedBases(NamedTuple):
    """The bases of a batch of windows: which are visible, and which are to be predicted."""

    codes: UInt8[np.ndarray, "B L"]
    """All bases, as codes 0 to 4."""
    shown: UInt8[np.ndarray, "B L"]
    """Codes of the visible bases, 4 for the others."""
    targets: Int64[np.ndarray, " P"]
    """Bases to predict, as indices of ``codes.flatten()``; all are known."""
    earlier: Int64[np.ndarray, " P"]
    """Number of bases of the same token before each target: these are predicted first, and then known."""

    def padded(self, flank: int) -> tuple[UInt8[np.ndarray, " W"], UInt8[np.ndarray, " W"], Int64[np.ndarray, " P"]]:
        """Put ``flank`` unknown bases around each window, and return all bases, the shown ones and the targets."""
        edges = ((0, 0), (flank, flank))
        codes, shown = (np.pad(x, edges, constant_values=UNKNOWN).reshape(-1) for x in (self.codes, self.shown))
        # before a base of window i lie the two flanks of each of the i windows before it, and its own left one
        return codes, shown, self.targets + (self.targets // self.codes.shape[1] * 2 + 1) * flank
