"""Background sequence: an order-3 Markov chain whose GC content varies by isochore."""

from functools import cache

import numpy as np
from jaxtyping import Float, UInt8

from dnar2mae.genome.simulate.draws import Draws, boundaries

ISOCHORE_BP = (20_000, 100_000)
ISOCHORE_GC = (-0.06, -0.03, 0.0, 0.03, 0.06)
"""GC share of an isochore relative to the genome's, equally likely."""
_STEPS = 1000
_MAX_LANES = 1024


def background(draws: Draws, length_bp: int, gc: float) -> UInt8[np.ndarray, " L"]:
    """Sample a chromosome's background.

    Stretches of at least 1000 bp are sampled side by side, each from a random context, so that one NumPy call
    serves all of them.

    Parameters
    ----------
    draws
        Stream of the chromosome.
    length_bp
        Length in base pairs.
    gc
        Mean GC share over isochores.

    Returns
    -------
    UInt8[np.ndarray, " L"]
        Base codes 0..3 (A C G T).
    """
    lanes = min(max(length_bp // _STEPS, 1), _MAX_LANES)
    steps = -(-length_bp // lanes)
    table = np.concatenate([boundaries(transitions(gc + shift)) for shift in ISOCHORE_GC])
    rows = np.resize(_isochores(draws, length_bp), steps * lanes).reshape(lanes, steps).T * 64
    units = draws.units(steps * lanes).reshape(steps, lanes, 1)
    context = (draws.units(lanes) * 64).astype(np.int64)
    codes = np.empty((steps, lanes), dtype=np.uint8)
    for step in range(steps):
        codes[step] = (units[step] >= table[rows[step] + context]).sum(axis=1)
        context = (context * 4 + codes[step]) % 64
    return codes.T.reshape(-1)[:length_bp]


def _isochores(draws: Draws, length_bp: int) -> np.ndarray:
    """Draw the index into ``ISOCHORE_GC`` of each base."""
    levels = np.empty(length_bp, dtype=np.int64)
    start = 0
    while start < length_bp:
        end = start + draws.integer(*ISOCHORE_BP)
        levels[start:end] = draws.integer(0, len(ISOCHORE_GC))
        start = end
    return levels


@cache
def transitions(gc: float) -> Float[np.ndarray, "64 4"]:
    """Return the probabilities of the next base after each 3-mer, with this GC share in the long run.

    Base frequencies (by bisection) times the biases of vertebrate DNA: CpG depleted fourfold, its
    deamination products CA and TG enriched, TA depleted, runs of A and of T extended.
    """
    # the biases shift the GC share away from that of the base frequencies, which are known to 1e-6 after 20 halvings
    low, high = 0.05, 0.95
    for _ in range(20):
        table = _biased((low + high) / 2)
        low, high = ((low + high) / 2, high) if _stationary_gc(table) < gc else (low, (low + high) / 2)
    return table


def _biased(gc: float) -> np.ndarray:
    weights = np.empty((4, 4, 4, 4))
    weights[:] = np.array([1 - gc, gc, gc, 1 - gc]) / 2
    a, c, g, t = range(4)
    weights[:, :, c, g] *= 0.25
    weights[:, :, c, a] *= 1.25
    weights[:, :, t, g] *= 1.25
    weights[:, :, t, a] *= 0.75
    weights[a, a, a, a] *= 1.5
    weights[t, t, t, t] *= 1.5
    return (weights / weights.sum(axis=-1, keepdims=True)).reshape(64, 4)


def _stationary_gc(table: np.ndarray) -> float:
    state = np.full(64, 1 / 64)
    for _ in range(50):
        state = (state[:, None] * table).reshape(4, 64).sum(axis=0)
    by_last_base = state.reshape(16, 4).sum(axis=0)
    return float(by_last_base[1] + by_last_base[2])
