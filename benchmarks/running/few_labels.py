"""Frozen vectors against raw features, at few labels a class and at all of them.

The labelled rows of a draw are the same for all feature sets, so that differences are paired.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from dnar2mae.benchmarks.running.logistic import Setting, classify
from dnar2mae.benchmarks.running.options import FewLabels
from dnar2mae.errors import ConfigError
from dnar2mae.scoring.intervals import Interval, Score, difference, score_rows
from dnar2mae.scoring.scores import COUNT_SCORES


class FeatureSet(NamedTuple):
    """Vectors of all rows of a task."""

    name: str
    kind: str
    """raw, random or checkpoint."""
    runs: Sequence[Any]
    """``[N, F]``, dense or sparse, of each model; each draw is judged by one of them, in turn."""


class TaskRows(NamedTuple):
    """Rows of a task, all splits together."""

    labels: Int[np.ndarray, " N"]
    """Class ids."""
    is_test: Bool[np.ndarray, " N"]
    """Rows of the suite's test split."""
    groups: Int[np.ndarray, " N"]
    """Equal rows have equal numbers, and share a fold."""


class Answers(NamedTuple):
    """Predictions of a feature set, one row a draw, and the settings of all fits."""

    predicted: Int[np.ndarray, "S N"]
    settings: list[Setting]


def compare_few_labels(
    features: Sequence[FeatureSet], rows: TaskRows, metric: str, options: FewLabels
) -> list[dict[str, Any]]:
    """Score every feature set at every number of labels, a row each, beside the raw features that are best there.

    Intervals are over test rows, the same rows for both sides of a difference, of scores that are means over draws and
    models. The best raw features are those with the highest score on the test rows themselves, which favours them.

    Raises
    ------
    ConfigError
        If the metric is no function of the confusion counts.
    """
    if metric not in COUNT_SCORES:
        raise ConfigError(f"few labels are scored by {', '.join(COUNT_SCORES)}; the task's metric is {metric}")
    table = []
    tested = np.ones_like(rows.is_test) if options.folds else rows.is_test
    for number in (*options.labels_per_class, None):
        answers = [_answers(item, rows, number, options) for item in features]
        truth, classes = rows.labels[tested], int(rows.labels.max()) + 1
        scores = [score_rows(metric, truth, list(answer.predicted[:, tested]), classes) for answer in answers]
        raw = [i for i, item in enumerate(features) if item.kind == "raw"]
        best = max(raw, key=lambda i: scores[i].value)
        table += [
            _row(item, number, answer, score, None if i == best else difference(score, scores[best]))
            | {"vectors": options.vectors, "best_raw": features[best].name, "metric": metric}
            for i, (item, answer, score) in enumerate(zip(features, answers, scores, strict=True))
        ]
    return table


def _answers(item: FeatureSet, rows: TaskRows, number: int | None, options: FewLabels) -> Answers:
    predicted, settings = [], []
    divisions = list(_divisions(rows, number, options))
    # One model a draw, in turn, as far as draws go round: a fit for every model and draw would tell little more.
    for index in range(max(len(divisions), len(item.runs))):
        draw = index % len(divisions)
        vectors, answer = item.runs[index % len(item.runs)], np.full(len(rows.labels), -1)
        for test in divisions[draw]:
            labelled = _labelled(rows.labels, ~test, number, np.random.default_rng([options.draw_seed, draw]))
            answer[test], setting = classify(vectors, rows.labels[labelled], labelled, np.flatnonzero(test))
            settings.append(setting)
        predicted.append(answer)
    return Answers(np.stack(predicted), settings)


def _divisions(rows: TaskRows, number: int | None, options: FewLabels) -> Iterator[list[Bool[np.ndarray, " N"]]]:
    """Yield, for each draw, the rows that are tested together: the test split, or one fold after the other."""
    from sklearn.model_selection import StratifiedGroupKFold

    if options.folds is None:
        yield from [[rows.is_test]] * (1 if number is None else options.draws)  # of all labels there is one draw
        return
    for index in range(options.draws):
        division = StratifiedGroupKFold(options.folds, shuffle=True, random_state=index)
        parts = division.split(rows.labels, rows.labels, rows.groups)
        yield [np.isin(np.arange(len(rows.labels)), test) for _, test in parts]


def _labelled(
    labels: Int[np.ndarray, " N"], allowed: Bool[np.ndarray, " N"], number: int | None, rng: np.random.Generator
) -> Int[np.ndarray, " L"]:
    members = [np.flatnonzero(allowed & (labels == label)) for label in np.unique(labels[allowed])]
    return np.sort(np.concatenate([rng.permutation(of_class)[:number] for of_class in members]))


def _row(item: FeatureSet, number: int | None, answers: Answers, score: Score, gain: Interval | None) -> dict[str, Any]:
    bounds = score.interval()
    row = {
        "features": item.name,
        "kind": item.kind,
        "labels_per_class": "all" if number is None else number,
        "score": score.value,
        "low": bounds.low,
        "high": bounds.high,
        "sd_draws": float(np.std(score.parts)),
        "num_models": len(item.runs),
        "num_draws": len(answers.predicted),
        "c": float(np.median([setting.c for setting in answers.settings])),
        "scaled_by_column": float(np.mean([setting.scaling == "columns" for setting in answers.settings])),
        "at_edge": sum(setting.is_at_edge for setting in answers.settings),
        "not_converged": sum(not setting.converged for setting in answers.settings),
        "fits": len(answers.settings),
    }
    if gain is not None:
        row |= {"difference": gain.value, "difference_low": gain.low, "difference_high": gain.high}
    return row
