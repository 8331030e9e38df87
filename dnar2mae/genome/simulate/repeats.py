"""Repeats: diverged copies of a few families and tandem repeats, in introns and between genes."""

import numpy as np
from jaxtyping import Bool, UInt8

from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import complement, encode
from dnar2mae.genome.simulate import signals
from dnar2mae.genome.simulate.draws import Draws, boundaries
from dnar2mae.genome.simulate.features import Feature

TANDEM_BP = (20, 150)
_MAX_TRIES = 1000


def draw_consensus(draws: Draws) -> dict[str, np.ndarray]:
    """Draw the consensus sequence (base codes) of each family: independent bases and a poly-A tail."""
    consensus = {}
    for family in signals.REPEAT_FAMILIES:
        shares = np.array([1 - family.gc, family.gc, family.gc, 1 - family.gc])
        body = draws.bases(np.tile(boundaries(shares), (family.length_bp - signals.POLYA_TAIL_BP, 1)))
        consensus[family.name] = np.concatenate([body, np.zeros(signals.POLYA_TAIL_BP, dtype=np.uint8)])
    return consensus


def plant_repeats(
    codes: UInt8[np.ndarray, " L"],
    taken: Bool[np.ndarray, " L"],
    consensus: dict[str, np.ndarray],
    draws: Draws,
    share: float,
) -> list[Feature]:
    """Plant copies at random free positions until they cover a share of the chromosome.

    Parameters
    ----------
    codes
        Base codes of the chromosome; changed in place.
    taken
        Bases that no repeat may cover; those of the new repeats are added in place.
    consensus
        Sequence of each family.
    draws
        Stream of the chromosome.
    share
        Share of the chromosome to cover; exceeded by less than one copy.

    Returns
    -------
    list[Feature]
        ``repeat_region`` and ``tandem_repeat``, without IDs, in the order of planting.

    Raises
    ------
    ConfigError
        When a thousand positions in a row are taken.
    """
    cumulative = np.cumsum([family.copies for family in signals.REPEAT_FAMILIES])
    features: list[Feature] = []
    missing, tries = share * len(codes), 0
    while missing > 0:
        kind = draws.pick(cumulative, 1)[0]
        family = signals.REPEAT_FAMILIES[kind] if kind < len(signals.REPEAT_FAMILIES) else None
        bounds = (family.shortest_bp, family.length_bp + 1) if family else TANDEM_BP
        length_bp = draws.length(*bounds)
        start = draws.integer(0, len(codes) - length_bp)
        if taken[start : start + length_bp].any():
            tries += 1
            if tries == _MAX_TRIES:
                raise ConfigError(f"--repeat-share must leave room beside the genes, got {share}")
            continue
        if family:
            copy, feature = _interspersed(draws, family, consensus[family.name], length_bp)
        else:
            copy, feature = _tandem(draws, length_bp)
        end = start + len(copy)
        codes[start:end], taken[start:end] = copy, True
        features.append(feature._replace(start=start, end=end))
        missing, tries = missing - len(copy), 0
    return features


def _interspersed(
    draws: Draws, family: signals.RepeatFamily, consensus: np.ndarray, length_bp: int
) -> tuple[np.ndarray, Feature]:
    """Draw one copy of at most ``length_bp`` from the 3' end of the consensus, on either strand."""
    copy = _mutate(draws, consensus[-length_bp:], family.divergence * (0.5 + draws.unit()))[:length_bp]
    strand = "+-"[draws.integer(0, 2)]
    feature = Feature(0, 0, strand, "repeat_region", "", name=family.name)
    return (copy if strand == "+" else complement(copy[::-1])), feature


def _tandem(draws: Draws, length_bp: int) -> tuple[np.ndarray, Feature]:
    """Draw one microsatellite of at most ``length_bp``, on either strand."""
    unit = signals.TANDEM_UNITS[draws.integer(0, len(signals.TANDEM_UNITS))]
    copy = _mutate(draws, np.resize(encode(unit.encode()), length_bp), signals.TANDEM_DIVERGENCE)[:length_bp]
    if draws.integer(0, 2):
        copy = complement(copy[::-1])
    return copy, Feature(0, 0, ".", "tandem_repeat", "", name=f"({unit})n")


def _mutate(draws: Draws, codes: np.ndarray, divergence: float) -> np.ndarray:
    """Substitute a share of the bases; delete a twentieth of that share and double as many."""
    changed = draws.units(len(codes)) < divergence
    # 1, 2 or 3 codes further: never the same base
    other = 1 + (draws.units(len(codes)) * 3).astype(np.uint8)
    codes = np.where(changed, (codes + other) % 4, codes).astype(np.uint8)
    indel = draws.units(len(codes))
    times = 1 - (indel < divergence / 20).astype(np.int64) + (indel > 1 - divergence / 20)
    return np.repeat(codes, times)
