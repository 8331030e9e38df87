"""Scores of a whole test set; nothing is ever averaged over batches.

MCC, F1 and accuracy are functions of the confusion counts, so that what a row adds to them follows from its cell.

References
----------
.. [1] Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient",
   Computational Biology and Chemistry 28 (2004), 367-374: the MCC of several classes.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int, Shaped

Scores = Float[np.ndarray, "..."] | np.float64
"""One score for each confusion matrix."""


def confusion(
    truth: Int[np.ndarray, " N"], predicted: Int[np.ndarray, " N"], num_classes: int
) -> Int[np.ndarray, "C C"]:
    """Count rows by true class (first axis) and predicted class."""
    cells = np.asarray(truth, np.int64) * num_classes + np.asarray(predicted, np.int64)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def mcc(counts: Shaped[np.ndarray, "... C C"]) -> Scores:
    r"""Return the Matthews correlation of true and predicted class.

    .. math:: \frac{c s - \sum_k t_k p_k}{\sqrt{(s^2 - \sum_k t_k^2)(s^2 - \sum_k p_k^2)}}

    with ``c`` rows right, ``s`` rows, ``t_k`` of true and ``p_k`` of predicted class k; 0 where all rows are of
    one class or all are predicted as one.
    """
    counts = np.asarray(counts, np.float64)
    true, predicted = counts.sum(-1), counts.sum(-2)
    right, total = np.trace(counts, axis1=-2, axis2=-1), counts.sum((-2, -1))
    covariance = right * total - (true * predicted).sum(-1)
    variances = (total**2 - (true**2).sum(-1)) * (total**2 - (predicted**2).sum(-1))
    return np.divide(covariance, np.sqrt(variances), out=np.zeros_like(total), where=variances > 0)


def accuracy(counts: Shaped[np.ndarray, "... C C"]) -> Scores:
    """Return the share of rows predicted right."""
    return np.trace(counts, axis1=-2, axis2=-1) / np.sum(counts, axis=(-2, -1))


def macro_f1(counts: Shaped[np.ndarray, "... C C"]) -> Scores:
    """Return the mean F1 over the classes that occur, as true or as predicted ones."""
    per_class, support = _f1(counts)
    return per_class.sum(-1) / (support > 0).sum(-1)


def f1(counts: Shaped[np.ndarray, "... C C"]) -> Scores:
    """Return the F1 of the last class, the positive one of two."""
    return _f1(counts)[0][..., -1]


def auroc(truth: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N C"]) -> float:
    """Return the area under the ROC curve; the mean of one class against the rest where there are more than two.

    NaN where a class does not occur.
    """
    from sklearn.metrics import roc_auc_score

    return _one_against_rest(truth, probabilities, roc_auc_score)


def auprc(truth: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N C"]) -> float:
    """Return the average precision (area under the step-wise precision-recall curve), averaged as :func:`auroc` is."""
    from sklearn.metrics import average_precision_score

    return _one_against_rest(truth, probabilities, average_precision_score)


COUNT_SCORES = {"mcc": mcc, "macro_f1": macro_f1, "f1": f1, "accuracy": accuracy}
"""Scores that are functions of the confusion counts."""


def all_scores(truth: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N C"]) -> dict[str, float]:
    """Return every score of predicted class probabilities; of equally probable classes the first is predicted."""
    counts = confusion(truth, probabilities.argmax(1), probabilities.shape[1])
    scores = {name: float(score(counts)) for name, score in COUNT_SCORES.items()}
    return scores | {"auroc": auroc(truth, probabilities), "auprc": auprc(truth, probabilities)}


def _f1(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counts = np.asarray(counts, np.float64)
    support = counts.sum(-1) + counts.sum(-2)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    return np.divide(2 * right, support, out=np.zeros_like(support), where=support > 0), support


def _one_against_rest(
    truth: np.ndarray, probabilities: np.ndarray, score: Callable[[np.ndarray, np.ndarray], float]
) -> float:
    if len(np.unique(truth)) < probabilities.shape[1]:
        return float("nan")
    if probabilities.shape[1] == 2:
        return float(score(truth == 1, probabilities[:, 1]))
    return float(np.mean([score(truth == k, probabilities[:, k]) for k in range(probabilities.shape[1])]))
