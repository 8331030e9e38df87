"""Random numbers of the simulation."""

import numpy as np
from jaxtyping import Float, Int, UInt8


class Draws:
    """Uniform numbers from one Philox stream of a seed.

    Only the raw 64-bit output of NumPy's Philox4x64-10 is used, which NumPy promises not to change (the
    methods of ``Generator`` may), and only exact operations on it, so that a seed gives the same genome on
    every platform and NumPy release.

    Parameters
    ----------
    seed
        First word of the key, in [0, 2**63).
    stream
        Second word of the key: 0 for what all chromosomes share, i for chromosome i.
    """

    def __init__(self, seed: int, stream: int):
        self._bits = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))

    def units(self, size: int) -> Float[np.ndarray, " N"]:
        """Draw numbers in [0, 1) with 53 random bits."""
        # the upper 53 of 64 bits, as many as a double holds exactly
        return (self._bits.random_raw(size) >> np.uint64(11)) * 2.0**-53

    def unit(self) -> float:
        """Draw one number in [0, 1)."""
        return float(self.units(1)[0])

    def integer(self, low: int, high: int) -> int:
        """Draw one integer in [low, high)."""
        return low + int(self.unit() * (high - low))

    def length(self, low: int, high: int) -> int:
        """Draw one integer in [low, high), skewed as feature lengths are: ``low + (high - low) u**3``."""
        u = self.unit()
        return low + int(u * u * u * (high - low))

    def pick(self, cumulative: Float[np.ndarray, " K"], size: int) -> Int[np.ndarray, " N"]:
        """Draw indices in [0, K] for K inner boundaries of a cumulative distribution."""
        return np.searchsorted(cumulative, self.units(size), side="right")

    def bases(self, cumulative: Float[np.ndarray, "L 3"]) -> UInt8[np.ndarray, " L"]:
        """Draw one base code for each row of inner boundaries (after A, C, G)."""
        return (self.units(len(cumulative))[:, None] >= cumulative).sum(axis=1, dtype=np.uint8)


def boundaries(shares: Float[np.ndarray, "*rows K"]) -> Float[np.ndarray, "*rows K-1"]:
    """Return the inner boundaries of the cumulative distribution along the last axis, on a grid of 1e-6.

    The grid keeps the last bits of a platform's floating-point library out of the sequence.
    """
    cumulative = np.cumsum(shares, axis=-1)
    return np.round(cumulative[..., :-1] / cumulative[..., -1:], 6)
