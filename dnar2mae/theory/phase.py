"""Phase diagrams: the best fixed and the best random ratio over aspect ratio and noise.

A risk is linear in the noise variance and its fixed points do not depend on it, so a whole column of a map
costs one solution for each law.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from dnar2mae.errors import ConfigError
from dnar2mae.mask_laws import Fixed, MaskLaw, Uniform
from dnar2mae.storage.progress import progress_bar

WIN_MARGIN = 1e-3
"""A random ratio wins where its risk is lower by more than this share; less is within a search's
resolution."""

HIGHEST_RATIO = 0.98
"""Largest ratio that searches consider."""
LOWEST_RATIO = 1e-4
"""Smallest ratio that searches consider where ratio 0 is not allowed."""
MIN_WIDTH = 0.1
"""Narrowest uniform law that searches consider: a narrower one is a fixed ratio for every purpose."""

_ROUNDING = 1e-7
"""Excess risk of a target of variance 1 below which rounding decides: lower ones count as this."""

PerOption = Float[np.ndarray, "L G B R"]
"""A number of each law at each aspect ratio, for B predictors and R penalties."""
RiskTable = Callable[[Sequence[MaskLaw], Float[np.ndarray, " G"]], tuple[PerOption, PerOption]]
"""Laws and aspect ratios to the excess risk without noise and its slope in the noise variance. Each
setting takes the best predictor and penalty."""
LAWS_AT_ONCE = 32
"""Laws whose risks are computed together: a progress bar moves after each of these, and memory is bounded."""
# fine enough that neither family wins because the other's grid is coarse
_FIXED_RATIOS, _UNIFORM_STEP = 400, 0.025


def fixed_grid(size: int, lowest: float = 0.0) -> list[Fixed]:
    """Return fixed ratios from ``lowest`` to 0.98, densest at the low end, where optima are sharpest."""
    ratios = lowest + (HIGHEST_RATIO - lowest) * np.linspace(0, 1, size) ** 2
    return [Fixed(ratio) for ratio in ratios.tolist()]


def uniform_grid(step: float = 0.05, lowest: float = 0.0) -> list[Uniform]:
    """Return uniform laws at least 0.1 wide on a grid of their ends."""
    # 1e-9: rounding must neither add an end nor drop a law of exactly the smallest width
    ends = np.append(np.arange(lowest, HIGHEST_RATIO - 1e-9, step), HIGHEST_RATIO).tolist()
    return [Uniform(low, high) for low in ends for high in ends if high - low > MIN_WIDTH - 1e-9]


@dataclass(frozen=True, eq=False)
class PhaseMap:
    """The best of some fixed and of some random laws at each of G aspect ratios and N noise variances."""

    aspects: Float[np.ndarray, " G"]
    noises: Float[np.ndarray, " N"]
    fixed_laws: Sequence[MaskLaw]
    random_laws: Sequence[MaskLaw]
    fixed_index: Int[np.ndarray, "G N"]
    """Position of the best fixed law."""
    random_index: Int[np.ndarray, "G N"]
    """Position of the best random law."""
    fixed_risk: Float[np.ndarray, "G N"]
    """Excess risk of the best fixed law."""
    random_risk: Float[np.ndarray, "G N"]
    """Excess risk of the best random law."""

    @property
    def best_ratio(self) -> Float[np.ndarray, "G N"]:
        """The best fixed ratio."""
        return np.array([law.mean for law in self.fixed_laws])[self.fixed_index]

    @property
    def gain(self) -> Float[np.ndarray, "G N"]:
        """Risk of the best random law over that of the best fixed one, less 1.

        Negative where the random law wins; infinite at an interpolation peak of its own, NaN at one of all laws.
        """
        known = np.isfinite(self.fixed_risk)
        return np.divide(self.random_risk, self.fixed_risk, out=np.full(known.shape, np.nan), where=known) - 1

    @property
    def wins(self) -> Bool[np.ndarray, "G N"]:
        """Where the random law wins by more than the margin."""
        return self.gain < -WIN_MARGIN

    def rows(self) -> list[dict[str, Any]]:
        """Return the map as a table, one row a setting of signal variance 1."""
        best = self.best_ratio
        return [
            {
                "aspect": aspect,
                "snr": 1 / noise,
                "best_ratio": best[g, i],
                "fixed_risk": self.fixed_risk[g, i],
                "best_law": self.random_laws[self.random_index[g, i]].name,
                "random_risk": self.random_risk[g, i],
            }
            for g, aspect in enumerate(self.aspects.tolist())
            for i, noise in enumerate(self.noises.tolist())
        ]

    def summary(self) -> str:
        """Return a line that says how often the random law wins, and the extremes."""
        gain = 100 * self.gain
        line = f"wins {100 * self.wins.mean():5.1f} % of {gain.size} settings"
        if self.wins.any():
            g, i = np.unravel_index(np.nanargmin(gain), gain.shape)
            law, ratio = self.random_laws[self.random_index[g, i]].name, self.best_ratio[g, i]
            setting = f"d/n {self.aspects[g]:.2f}, snr {1 / self.noises[i]:.2g}: {law} against {ratio:.3f}"
            line += f"; largest win {-gain[g, i]:.1f} % ({setting})"
        return f"{line}; largest loss {max(np.nanmax(gain), 0):.1f} %, median change {np.nanmedian(gain):+.2f} %"


def lowest_risks(
    base: Float[np.ndarray, "L B R"], slope: Float[np.ndarray, "L B R"], noises: Float[np.ndarray, " N"]
) -> Float[np.ndarray, "L N"]:
    """Return the risk of each law at each noise variance, in which it is linear, by the best predictor and penalty.

    Between penalties, evenly spaced in the logarithm after the first, the lowest risk is that of a parabola through
    the lowest and its neighbours: without it a law whose penalties happen to lie better would seem to win.
    """
    risks = np.maximum(base[..., None] + slope[..., None] * noises, _ROUNDING)
    size, lowest = risks.shape[2], risks.min(2)
    if size > 3:
        at = np.clip(risks.argmin(2, keepdims=True), 2, size - 2)
        left, middle, right = (np.log(np.take_along_axis(risks, at + i, 2)[:, :, 0]) for i in (-1, 0, 1))
        bend = left + right - 2 * middle
        inside = (middle <= left) & (middle <= right) & (bend > 0)
        gain = np.where(inside, (right - left) ** 2 / (8 * np.where(inside, bend, 1.0)), 0.0)
        lowest = np.minimum(lowest, np.exp(middle - gain))
    return lowest.min(1)


def phase_map(
    table: RiskTable,
    aspects: Float[np.ndarray, " G"],
    noises: Float[np.ndarray, " N"],
    fixed_laws: Sequence[MaskLaw],
    random_laws: Sequence[MaskLaw],
    *,
    advance: Callable[[int], object] | None = None,
) -> PhaseMap:
    """Compare families of laws over a grid of settings.

    Parameters
    ----------
    table
        Returns the risks; see :func:`dnar2mae.theory.regimes.centred_table`.
    aspects
        d / n, away from the interpolation peaks that all laws share.
    noises
        Noise variances.
    fixed_laws
        Candidates of the first family; a grid too coarse makes false wins of the second (200 or more are
        safe).
    random_laws
        Candidates of the second family.
    advance
        Called with the number of laws done, for a progress bar.

    Returns
    -------
    PhaseMap
        Arrays of shape (G, N).

    Raises
    ------
    ConfigError
        If a family is empty.
    """
    if not fixed_laws or not random_laws:
        raise ConfigError("a phase map compares at least one fixed law with at least one random law")
    best, done = [], 0
    for laws in (fixed_laws, random_laws):
        parts = []
        for start in range(0, len(laws), LAWS_AT_ONCE):
            chunk = laws[start : start + LAWS_AT_ONCE]
            parts.append(table(chunk, aspects))
            done += len(chunk)
            if advance is not None:
                advance(done)
        base, slope = (np.concatenate(part) for part in zip(*parts, strict=True))
        # one aspect ratio at a time, all laws by all noises
        columns = [lowest_risks(base[:, g], slope[:, g], noises) for g in range(len(aspects))]
        best += [np.array([c.argmin(0) for c in columns]), np.array([c.min(0) for c in columns])]
    return PhaseMap(aspects, noises, fixed_laws, random_laws, best[0], best[2], best[1], best[3])


def search(
    table: RiskTable, aspects: Float[np.ndarray, " G"], snrs: Float[np.ndarray, " N"], law: MaskLaw | None, title: str
) -> PhaseMap:
    """Compare the best fixed ratio with a law, or with the best of the uniform ones; a bar shows the progress.

    Parameters
    ----------
    table
        Returns the risks.
    aspects, snrs
        Aspect ratios d / n and signal-to-noise ratios.
    law
        The law; by default the best of 702 uniform ones.
    title
        Title of the progress bar.
    """
    fixed = fixed_grid(_FIXED_RATIOS, LOWEST_RATIO)
    laws = uniform_grid(_UNIFORM_STEP, LOWEST_RATIO) if law is None else [law]
    with progress_bar(title, len(fixed) + len(laws), at_once=True) as bar:
        return phase_map(table, aspects, 1 / snrs, fixed, laws, advance=bar)
