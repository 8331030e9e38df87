"""Counter-based randomness: every random choice of a run is a pure function of where it is made.

Philox-4x32-10 maps a 64-bit key (the seed) and a 128-bit counter to four 32-bit words. The counter is
``(position, sample low, sample high, stream)``, so a choice depends on the seed, the stream, the sample index
and the position in the sample, and on nothing else: not on batch size, workers, ranks, device or interruptions.

The functions take NumPy ``int64`` arrays, PyTorch ``int64`` tensors or Python integers: unsigned 32-bit values
are held in signed 64-bit ones, and no signed product leaves them (compiled code may take an overflow for impossible).

References
----------
.. [1] Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Random123).
"""

from enum import IntEnum
from typing import Any

MASK32 = 0xFFFFFFFF
# the published constants of Philox-4x32-10
_MULTIPLIER = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


class Stream(IntEnum):
    """Last counter word: one independent stream for each type of choice."""

    WINDOW = 0
    STRAND = 1
    RATIO = 2
    MASK = 3
    SPAN = 4
    SPLIT = 5
    # 6 and 7 were other streams once; renumbering would change every draw
    AUGMENT = 8
    GENES = 9
    CONTROL = 10
    ORDER = 11
    DRAW = 12
    CALIBRATION = 13
    CLASS = 14


def philox(seed: int, c0: Any, c1: Any, c2: Any, c3: Any) -> tuple[Any, Any, Any, Any]:
    """Return Philox-4x32-10 of four counter words under a 64-bit seed.

    Parameters
    ----------
    seed
        64-bit key; the low half is key word 0.
    c0, c1, c2, c3
        Counter words in [0, 2**32): integers, ``int64`` arrays or ``int64`` tensors that broadcast.

    Returns
    -------
    tuple
        Four words in [0, 2**32) of the broadcast shape, held as ``int64``.
    """
    if any(hasattr(c, "numpy") for c in (c0, c1, c2, c3)):
        import torch

        tensors = [c for c in (c0, c1, c2, c3) if isinstance(c, torch.Tensor)]
        if all(c.device.type == "cpu" for c in tensors) and not torch.compiler.is_compiling():
            arrays = (c.numpy() if isinstance(c, torch.Tensor) else c for c in (c0, c1, c2, c3))
            w0, w1, w2, w3 = philox(seed, *arrays)  # in NumPy: 0.6 of the time
            return torch.as_tensor(w0), torch.as_tensor(w1), torch.as_tensor(w2), torch.as_tensor(w3)
    k0, k1 = seed & MASK32, (seed >> 32) & MASK32
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(c0, _MULTIPLIER[0])
        high1, low1 = _multiply(c2, _MULTIPLIER[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & MASK32, (k1 + _WEYL[1]) & MASK32
    return c0, c1, c2, c3


def _multiply(word: Any, factor: Any) -> tuple[Any, Any]:
    """Return the high and low 32 bits of a word times a factor of at most 2**32."""
    if hasattr(word, "astype"):  # NumPy's, which a command's help has no time to load
        import numpy as np

        product = word.view(np.uint64) * np.asarray(factor).astype(np.uint64)
        return (product >> np.uint64(32)).view(np.int64), (product & np.uint64(MASK32)).view(np.int64)
    # signed numbers: by halves of the word
    low = (word & 0xFFFF) * factor
    middle = (word >> 16) * factor + (low >> 16)
    return middle >> 16, ((middle & 0xFFFF) << 16) | (low & 0xFFFF)


def draw(seed: int, stream: Stream, sample: Any, position: Any = 0) -> tuple[Any, Any, Any, Any]:
    """Draw four 32-bit words for one position of one sample of one stream; arguments broadcast."""
    return philox(seed, position, sample & MASK32, (sample >> 32) & MASK32, int(stream))


def scale(word: Any, bound: Any) -> Any:
    """Map a 32-bit word to an integer in [0, bound) as ``word * bound >> 32`` (bound <= 2**32)."""
    return _multiply(word, bound)[0]


def threshold(probability: float) -> int:
    """Return the 32-bit integer ``t`` such that ``word < t`` holds with this probability, to 2**-32."""
    return min(round(probability * 2**32), MASK32)


def unit(high: Any, low: Any) -> Any:
    """Turn two 32-bit words into a double in [0, 1) with 53 random bits."""
    # 27 bits of one and 26 of the other: 2**26 and 2**53
    return ((high >> 5) * 67108864.0 + (low >> 6)) / 9007199254740992.0
