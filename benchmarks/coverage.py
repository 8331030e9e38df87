"""How often 95 % intervals of scores hold the truth, by simulation: ``python -m dnar2mae.benchmarks.coverage``.

Rows are positive with a given share; a model scores negatives by N(0, 1) and positives by N(d, 1) and predicts the
likelier class, so that the true score of every metric is known. For the paired difference a second model, independent
given the label, has a smaller d.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import norm

from dnar2mae.benchmarks.speed.rows import append, stamp
from dnar2mae.scoring.intervals import Interval, Score, difference, score_ranks, score_rows
from dnar2mae.scoring.scores import COUNT_SCORES

ROWS = Path(__file__).parent / "results" / "coverage.csv"
METRICS = ("mcc", "accuracy", "auroc", "auprc")
_SECOND = 0.7
"""Effect size of the second model of a difference, as a share of the first one's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A test set to be drawn again and again."""

    num_rows: int
    share: float
    """Share of positive rows."""
    effect: float
    """Distance of the groups' mean scores in standard deviations."""


SCENES = tuple(
    Scene(num_rows=n, share=share, effect=effect)
    for n in (50, 100, 250, 1000)
    for share in (0.5, 0.2)
    for effect in (1.0, 2.5)
)


def truth(scene: Scene, effect: float) -> dict[str, float]:
    """Return the scores of infinitely many rows."""
    cut = _cut(scene.share, effect)
    caught, false = scene.share * norm.sf(cut - effect), (1 - scene.share) * norm.sf(cut)
    counts = np.array([[1 - scene.share - false, false], [scene.share - caught, caught]])
    line = np.linspace(-8, 8 + effect, 20_001)
    above, wrong = scene.share * norm.sf(line - effect), (1 - scene.share) * norm.sf(line)
    precision = np.trapezoid(above / (above + wrong) * norm.pdf(line - effect), line)
    exact = {name: float(COUNT_SCORES[name](counts)) for name in ("mcc", "accuracy")}
    return exact | {"auroc": float(norm.cdf(effect / 2**0.5)), "auprc": float(precision)}


def coverage(scene: Scene, draws: int, seed: int = 0) -> dict[str, float]:
    """Return the share of intervals that hold the truth: by metric, and of the paired difference of two MCCs.

    Of ``draws`` test sets; such without two rows of each class are drawn again.
    """
    rng = np.random.default_rng(seed)
    effects = scene.effect, _SECOND * scene.effect
    true, other = (truth(scene, effect) for effect in effects)
    hits: dict[str, list[bool]] = {name: [] for name in (*METRICS, "mcc, difference")}
    while len(hits["mcc"]) < draws:
        labels = (rng.random(scene.num_rows) < scene.share).astype(int)
        if not 2 <= labels.sum() <= scene.num_rows - 2:
            continue
        first, second = (_scores(labels, rng, scene.share, effect) for effect in effects)
        for name in METRICS:
            hits[name].append(_holds(first[name].interval(), true[name]))
        hits["mcc, difference"].append(_holds(difference(first["mcc"], second["mcc"]), true["mcc"] - other["mcc"]))
    return {name: float(np.mean(of_metric)) for name, of_metric in hits.items()}


def _scores(labels: np.ndarray, rng: np.random.Generator, share: float, effect: float) -> dict[str, Score]:
    values = rng.normal(size=len(labels)) + effect * labels
    predicted = (values > _cut(share, effect)).astype(int)
    counted = {name: score_rows(name, labels, [predicted], 2) for name in ("mcc", "accuracy")}
    return counted | {name: score_ranks(name, labels == 1, values) for name in ("auroc", "auprc")}


def _cut(share: float, effect: float) -> float:
    """Return the score above which the positive class is the likelier one."""
    return float(effect / 2 + np.log((1 - share) / share) / effect)


def _holds(interval: Interval, value: float) -> bool:
    return interval.low <= value <= interval.high


def main(arguments: Sequence[str] | None = None, report: Callable[[str], None] = print) -> None:
    """Simulate every scene and append a row for each metric."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=ROWS)
    options = parser.parse_args(arguments)
    about = stamp()
    for scene in SCENES:
        for metric, share in coverage(scene, options.draws).items():
            row = {"rows": scene.num_rows, "share_positive": scene.share, "effect": scene.effect, "metric": metric}
            row |= {"coverage": round(share, 4), "draws": options.draws}
            append(options.out, row | about)
            report(f"{scene} {metric}: {share:.3f}")


if __name__ == "__main__":
    main()
