"""Mask laws: from which distribution the mask ratio is drawn, the probability that a token is masked.

A law is one class. From its fields and methods follow the choices of ``--mask.law``, its name (``uniform:0.05,0.5``),
its mean and effective ratio, its control in a comparison, its phrase in a model card, and the integers that a training
step draws from. No torch or numpy at import time: the command line offers the laws in its help.

Every law that trains is, at each step, a uniform choice among a few intervals of ratios: ``uniform`` is one interval,
``fixed`` and the schedules are one interval of zero length, ``choice`` is several of zero length. That one form is all
that the draw (and its GPU kernel) needs to know.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cache, cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from dnar2mae.errors import ConfigError
from dnar2mae.random import threshold

if TYPE_CHECKING:
    import numpy as np

Intervals = tuple[tuple[int, int], ...]
"""(low, span) of each interval, in units of 2**-32."""

LAWS: "dict[str, type[MaskLaw]]" = {}
"""Every law by its name; a class enters when it is defined."""


def interval(low: float, high: float) -> tuple[int, int]:
    """Return one interval of ratios in units of 2**-32, never 0 and never 1."""
    # a step at ratio 0 would predict nothing
    first, last = max(threshold(low), 1), threshold(high)
    return first, max(last - first, 0)


@dataclass(frozen=True)
class MaskLaw(ABC):
    """The distribution of the mask ratio; the fields of a subclass are its numbers, in the order of its name."""

    form: ClassVar[str]
    """Name and numbers as a user writes them, ``uniform:LOW,HIGH``; with ``...`` its one field takes all numbers."""

    def __init_subclass__(cls) -> None:
        """Enter the law under its name."""
        if "form" in cls.__dict__:
            LAWS[cls.form.partition(":")[0]] = cls

    @property
    @abstractmethod
    def largest(self) -> float:
        """Largest ratio that the law can draw."""

    @abstractmethod
    def quadrature(self) -> "tuple[np.ndarray, np.ndarray]":
        """Return ratios and their probabilities, whose sums are the law's expectations (over a run, for a schedule)."""

    def intervals(self, step: int, total_steps: int) -> Intervals:
        """Return the intervals a training step draws its ratio from; a law without any is for the theory alone."""
        raise ConfigError(f"the law {self.name} cannot be trained with")

    def phrase(self, per: str) -> str:
        """Return the law in words, its ratio drawn for each batch or sample (``per``)."""
        return f"ratio drawn from {self.name}, one a {per}"

    def check(self, ok: bool, number: str, rule: str) -> None:
        """Raise a ``ConfigError`` that names a number and its rule, unless ``ok``."""
        if not ok:
            raise ConfigError(f"{self.name}: {number} must be {rule}")

    @classmethod
    def from_numbers(cls, numbers: tuple[float, ...]) -> "MaskLaw":
        """Build the law from the numbers of its name."""
        values = (numbers,) if cls.form.endswith("...") else numbers
        return cls(**dict(zip(cls.settings(), values, strict=True)))

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """Return the names of its numbers, which are those of the flags ``--mask.*`` that set them."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def trains(cls) -> bool:
        """Whether training can draw from the law."""
        return cls.intervals is not MaskLaw.intervals

    @property
    def kind(self) -> str:
        """Name without numbers."""
        return self.form.partition(":")[0]

    @property
    def numbers(self) -> tuple[float, ...]:
        """The numbers of its name."""
        values = tuple(getattr(self, name) for name in self.settings())
        return values[0] if self.form.endswith("...") else values

    @property
    def name(self) -> str:
        """As :func:`parse_law` reads it, numbers in their shortest form."""
        return f"{self.kind}:" + ",".join(f"{number:g}" for number in self.numbers)

    @cached_property
    def _rule(self) -> "tuple[np.ndarray, np.ndarray]":
        return self.quadrature()

    @property
    def nodes(self) -> "np.ndarray":
        """Ratios of the quadrature."""
        return self._rule[0]

    @property
    def weights(self) -> "np.ndarray":
        """Probabilities of the nodes; they sum to 1."""
        return self._rule[1]

    @property
    def mean(self) -> float:
        """Mask ratio on average over the law (and the run)."""
        return float(self.weights @ self.nodes)

    @property
    def is_random(self) -> bool:
        """Whether a training step draws its ratio, rather than being given it."""
        (_, span), *others = self.intervals(0, 1)
        return span > 0 or bool(others)

    @property
    def has_density(self) -> bool:
        """Whether every ratio it draws has a density, by whose inverse a loss can be weighted."""
        return all(span > 0 for _, span in self.intervals(0, 1))

    @property
    def control(self) -> "MaskLaw":
        """The fixed ratio with which the law must be compared: its mean; itself if its ratio is fixed."""
        # six digits, as many as the name of a law shows
        return Fixed(float(f"{self.mean:.6g}"))

    def mean_in_run(self, total_steps: int) -> float:
        """Return the mask ratio on average over the steps of a run, of the integers that they draw from."""
        drawn = [self.intervals(step, total_steps) for step in range(total_steps)]
        return sum(sum(low + span / 2 for low, span in step) / len(step) for step in drawn) / total_steps / 2**32

    def sample(self, size: int, rng: "np.random.Generator") -> "np.ndarray":
        """Draw ratios for a simulation."""
        return rng.choice(self.nodes, size, p=self.weights)


@cache
def _gauss_legendre(num_nodes: int) -> "tuple[list[float], np.ndarray]":
    """Return the nodes in [0, 1] and their weights; numpy takes a millisecond to find them."""
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    return ((nodes + 1) / 2).tolist(), weights


@dataclass(frozen=True)
class _Range(MaskLaw):
    """A law between two ratios; a share in [0, 1] stands for a ratio, 0 for the first and 1 for the last."""

    low: float
    high: float

    num_nodes: ClassVar[int] = 24
    """Gauss-Legendre nodes: the theory's risks are then exact to about 1e-12."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("low", "high"):
            self.check(0 <= getattr(self, name) <= 1, name, "in [0, 1]")

    def at(self, share: float) -> float:
        """Return the ratio that a share stands for."""
        return self.low + (self.high - self.low) * share

    def density(self, share: float) -> float:
        """Return the probability density of a share; need not be normalised."""
        return 1.0

    @property
    def largest(self) -> float:
        """Largest ratio that the law can draw."""
        return max(self.low, self.high)

    def quadrature(self) -> "tuple[np.ndarray, np.ndarray]":
        """Return the Gauss-Legendre rule over the shares."""
        import numpy as np

        if self.low == self.high:
            return np.array([self.low]), np.ones(1)
        shares, weights = _gauss_legendre(self.num_nodes)
        weights = weights * np.array([self.density(share) for share in shares])
        return np.array([self.at(share) for share in shares]), weights / weights.sum()


@dataclass(frozen=True)
class Uniform(_Range):
    """R2MAE: a ratio drawn uniformly from [low, high].

    References
    ----------
    .. [1] Dong, Wang, Kluger, "Understanding and Enhancing Mask-Based Pretraining towards Universal Representations",
        arXiv 2509.21650.
    """

    form = "uniform:LOW,HIGH"

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self.check(self.low <= self.high, "low", f"at most high ({self.high:g})")

    def intervals(self, step: int, total_steps: int) -> Intervals:
        """Return the one interval."""
        return (interval(self.low, self.high),)

    def phrase(self, per: str) -> str:
        """Return the law in words."""
        return f"R2MAE: ratio drawn uniformly from {self.low} to {self.high}, one ratio a {per}"

    def sample(self, size: int, rng: "np.random.Generator") -> "np.ndarray":
        """Draw ratios for a simulation."""
        return rng.uniform(self.low, self.high, size)


@dataclass(frozen=True)
class _Points(MaskLaw):
    """A law whose numbers are its ratios, each equally often."""

    @property
    def largest(self) -> float:
        """The largest of them."""
        return max(self.numbers)

    def quadrature(self) -> "tuple[np.ndarray, np.ndarray]":
        """Return the ratios, with equal probabilities."""
        import numpy as np

        return np.array(self.numbers), np.full(len(self.numbers), 1 / len(self.numbers))

    def intervals(self, step: int, total_steps: int) -> Intervals:
        """Return an interval of zero length for each ratio."""
        return tuple(interval(ratio, ratio) for ratio in self.numbers)


@dataclass(frozen=True)
class Fixed(_Points):
    """Always the same ratio, in [0, 1); 0 masks nothing."""

    form = "fixed:P"
    ratio: float

    def __post_init__(self) -> None:
        """Check the range."""
        self.check(0 <= self.ratio < 1, "ratio", "in [0, 1)")

    @property
    def control(self) -> MaskLaw:
        """The law itself."""
        return self

    def phrase(self, per: str) -> str:
        """Return the law in words."""
        return f"fixed ratio {self.ratio}"


@dataclass(frozen=True)
class Choice(_Points):
    """One of a few ratios in [0, 1), equally often."""

    form = "choice:P,P,..."
    ratios: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the ratios."""
        self.check(len(self.ratios) > 0 and all(0 <= p < 1 for p in self.ratios), "ratios", "numbers in [0, 1)")

    def phrase(self, per: str) -> str:
        """Return the law in words."""
        return f"ratio drawn from {', '.join(map(str, self.ratios))}, one ratio a {per}"


@dataclass(frozen=True)
class Linear(_Range):
    """From the first ratio to the last one over the run, in equal steps."""

    form = "linear:FIRST,LAST"

    def intervals(self, step: int, total_steps: int) -> Intervals:
        """Return the step's ratio as an interval of zero length."""
        ratio = self.at(min(step / max(total_steps - 1, 1), 1.0))
        return (interval(ratio, ratio),)

    def phrase(self, per: str) -> str:
        """Return the law in words."""
        return f"ratio from {self.low} to {self.high} over the run ({self.kind})"


@dataclass(frozen=True)
class Cosine(Linear):
    """From the first ratio to the last one over the run, along half a wave: slow at both ends."""

    form = "cosine:FIRST,LAST"

    def at(self, share: float) -> float:
        """Return the ratio at a share of the run."""
        return self.high + (self.low - self.high) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class _Smooth(_Range):
    """A law with a smooth density, drawn from as intervals of equal probability between its quantiles."""

    # more, since the densities are no polynomials
    num_nodes: ClassVar[int] = 64
    _num_intervals: ClassVar[int] = 32
    _num_cells: ClassVar[int] = 1 << 14

    @cached_property
    def _quantiles(self) -> Intervals:
        """The intervals; their ends, quantiles of the density, by summing over fine cells."""
        import numpy as np

        edges = np.linspace(0, 1, self._num_cells + 1)
        mass = np.array([self.density(share) for share in ((edges[1:] + edges[:-1]) / 2).tolist()])
        upto = np.append(0, np.cumsum(mass)) / mass.sum()
        shares = np.interp(np.linspace(0, 1, self._num_intervals + 1), upto, edges).tolist()
        shares[0], shares[-1] = 0.0, 1.0
        ratios = [self.at(share) for share in shares]
        return tuple(interval(first, last) for first, last in pairwise(ratios))

    def intervals(self, step: int, total_steps: int) -> Intervals:
        """Return the intervals, in each of which the density is flat."""
        return self._quantiles


@dataclass(frozen=True)
class Beta(_Smooth):
    """Density proportional to u^(a-1) (1-u)^(b-1) of u = (p - low) / (high - low), a and b at least 1."""

    form = "beta:A,B,LOW,HIGH"
    a: float
    b: float

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self.check(self.a >= 1 and self.b >= 1, "A and B", "at least 1")
        self.check(self.low < self.high, "low", f"below high ({self.high:g})")

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """Return the names of its numbers."""
        return ("a", "b", "low", "high")

    def density(self, share: float) -> float:
        """Return the density of a share, unnormalised."""
        return share ** (self.a - 1) * (1 - share) ** (self.b - 1)


@dataclass(frozen=True)
class Bell(_Smooth):
    """A normal density around a centre, cut to [low, high]: most steps near it, and some everywhere."""

    form = "bell:CENTRE,SD,LOW,HIGH"
    centre: float
    sd: float

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self.check(self.low < self.high, "low", f"below high ({self.high:g})")
        self.check(self.low <= self.centre <= self.high, "centre", f"in [{self.low:g}, {self.high:g}]")
        self.check(self.sd >= 0.02, "sd", "at least 0.02")

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """Return the names of its numbers."""
        return ("centre", "sd", "low", "high")

    def density(self, share: float) -> float:
        """Return the density of a share, unnormalised."""
        return math.exp(-(((self.at(share) - self.centre) / self.sd) ** 2) / 2)


def training_laws() -> tuple[str, ...]:
    """Return the names of the laws that training can draw from: the choices of ``--mask.law``."""
    return tuple(name for name, law in LAWS.items() if law.trains())


def parse_law(text: str) -> MaskLaw:
    """Read a law from its name, ``uniform:0.05,0.5``.

    Raises
    ------
    ConfigError
        If there is no such law, its numbers are not as many as it takes, or one breaks its rule.
    """
    kind, _, rest = text.partition(":")
    forms = ", ".join(law.form for law in LAWS.values())
    unreadable = ConfigError(f"a law must be one of {forms}; got {text}")
    try:
        numbers = tuple(float(value) for value in rest.split(","))
    except ValueError:
        raise unreadable from None
    law = LAWS.get(kind)
    if law is None or (not law.form.endswith("...") and len(numbers) != law.form.count(",") + 1):
        raise unreadable
    return law.from_numbers(numbers)
