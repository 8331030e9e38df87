"""Risk along the mask ratio, with simulations at some of its points."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dnar2mae.errors import ConfigError
from dnar2mae.mask_laws import Fixed, MaskLaw, Uniform
from dnar2mae.theory.equivalents import risk_equivalent
from dnar2mae.theory.monte_carlo import simulate
from dnar2mae.theory.options import Masking, Sampling
from dnar2mae.theory.self_supervised import reconstruction_equivalent, simulate_autoencoder
from dnar2mae.theory.shapes import Matrix
from dnar2mae.theory.task import Task

# ratio 0 is left out where a loss on masked entries or a singular covariance needs some masking
_LOWEST, _HIGHEST = 0.01, 0.9


@dataclass(frozen=True, eq=False)
class Line:
    """The risk of fixed ratios, or of uniform laws of one width, at one aspect ratio."""

    aspect: float
    laws: tuple[MaskLaw, ...]
    theory: Float[np.ndarray, " L"]
    chosen: Int[np.ndarray, " J"]
    """Positions of the simulated laws."""
    simulation: Float[np.ndarray, "2 J"]
    """Mean and standard error of their simulated risks."""
    probe: Float[np.ndarray, "2 J"] | None
    """Mean and standard error of their probe errors (self-supervised form)."""

    @property
    def random(self) -> bool:
        """Whether the laws are uniform."""
        return not isinstance(self.laws[0], Fixed)

    @cached_property
    def means(self) -> Float[np.ndarray, " L"]:
        """Mean ratio of each law."""
        return np.array([law.mean for law in self.laws])

    @property
    def best(self) -> int:
        """Position of the law with the smallest risk."""
        return int(self.theory.argmin())

    @property
    def gaps(self) -> Float[np.ndarray, " J"]:
        """Theory over simulation, less 1."""
        return self.theory[self.chosen] / self.simulation[0] - 1

    def rows(self) -> list[dict[str, Any]]:
        """Return the line as a table; cells that were not simulated are empty."""
        names = ("simulation", "standard_error", "probe", "probe_standard_error")
        unknown = dict.fromkeys(names, math.nan)
        rows: list[dict[str, Any]] = [
            {"aspect": self.aspect, "law": law.name, "mean_ratio": law.mean, "theory": risk} | unknown
            for law, risk in zip(self.laws, self.theory.tolist(), strict=True)
        ]
        measured = self.simulation if self.probe is None else np.concatenate([self.simulation, self.probe])
        for i, values in zip(self.chosen, measured.T.tolist(), strict=True):
            rows[i] |= dict(zip(names, values, strict=False))
        return rows


def trace(
    source: Task | Matrix,
    aspect: float,
    width: float,
    masking: Masking,
    sampling: Sampling,
    *,
    rank: int = 6,
    seed: int = 0,
) -> Line:
    """Compute one line, and simulate some of its points.

    Parameters
    ----------
    source
        A supervised task; or a covariance, for masked autoencoders of its features.
    aspect
        d / n.
    width
        0 for fixed ratios p; else for the laws Uniform(p - width/2, p + width/2). In [0, 0.8].
    masking
        Rescaling, loss, masks per sample, ridge.
    sampling
        Number of ratios, simulated points and repetitions.
    rank
        Size of the probed code of an autoencoder.
    seed
        First of the repetitions' seeds, >= 0.

    Raises
    ------
    ConfigError
        If the width is out of range, or a covariance meets a loss on all rows.
    """
    if not 0 <= width <= 0.8:
        raise ConfigError(f"--width must be in [0, 0.8], got {width:g}")
    if not isinstance(source, Task) and masking.loss == "rows":
        raise ConfigError("--form self-supervised needs --loss masked or masked-mean")
    singular = isinstance(source, Task) and source.singular
    low = _LOWEST if masking.loss != "rows" or singular else 0.0
    centres = np.linspace(low, _HIGHEST - width, sampling.num_ratios) + width / 2
    laws = tuple(Uniform(p - width / 2, p + width / 2) if width else Fixed(p) for p in centres.tolist())
    chosen = np.unique(np.linspace(0, len(laws) - 1, sampling.num_points).round().astype(int))
    some, seeds = [laws[i] for i in chosen], range(seed, seed + sampling.repetitions)
    if isinstance(source, Task):
        theory = risk_equivalent(source, laws, aspect, masking).excess[:, 0]
        return Line(aspect, laws, theory, chosen, _summary(simulate(source, some, aspect, masking, seeds).excess), None)
    theory = reconstruction_equivalent(source, laws, aspect, masking)[:, 0]
    trained = simulate_autoencoder(source, some, aspect, masking, rank=rank, seeds=seeds)
    return Line(aspect, laws, theory, chosen, _summary(trained.reconstruction), _summary(trained.probe))


def _summary(values: Float[np.ndarray, "R J"]) -> Float[np.ndarray, "2 J"]:
    return np.stack([values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))])
