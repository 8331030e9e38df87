"""How much of a test set has a homologue in the training set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dnar2mae.homology.search import IDENTITIES, Homologues, homologues


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """Test rows that have a homologue of at least one identity."""

    identity: float
    rows: int
    share: float
    """Of the test rows."""
    chance: float
    """Share that would be found in training sequences read backwards: of ``share``, about as much is chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """Leakage from a training set to a test set."""

    train_rows: int
    test_rows: int
    exact: int
    """Test rows that are training rows, or their reverse complements."""
    levels: tuple[Level, ...]
    found: Homologues

    @property
    def exact_share(self) -> float:
        """Return the share of the test rows that are training rows, or their reverse complements."""
        return self.exact / self.test_rows


def audit(
    train: Sequence[str],
    test: Sequence[str],
    identities: Sequence[float] = IDENTITIES,
    advance: Callable[[int, int], None] | None = None,
) -> Audit:
    """Look for homologues of the test rows, and count them by identity; arguments are those of :func:`homologues`."""
    found = homologues(train, test, identities, advance)
    levels = tuple(
        Level(
            identity=level,
            rows=int(found.at(level).sum()),
            share=float(found.at(level).mean()),
            chance=float(found.by_chance(level).mean()),
        )
        for level in sorted(identities)
    )
    exact = int(found.exact.sum())
    return Audit(train_rows=len(train), test_rows=len(test), exact=exact, levels=levels, found=found)
