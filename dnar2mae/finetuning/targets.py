"""Kinds of target: loss, meaning of the outputs, scores. A new kind is one class in :data:`KINDS`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dnar2mae.finetuning.scores import class_scores, count_scores, label_scores, number_scores
from dnar2mae.scoring.intervals import Interval

Per = Literal["sample", "base"]
Wanted = Float[np.ndarray, "M C"]
"""Labels of rows as numbers: the class, or a value a column."""


@dataclass(frozen=True, kw_only=True)
class Target(ABC):
    """What is predicted. The fields are what a saved model needs."""

    kind: ClassVar[str]
    of_sample: ClassVar[str]
    """The score by which models are compared; of bases see :attr:`main`."""
    is_probability: ClassVar[bool] = False
    """Whether predictions are probabilities, which a temperature can calibrate."""

    columns: tuple[str, ...]
    """Names of the labels."""
    per: Per = "sample"
    """One prediction a sample, or one a base."""
    temperature: float = 1.0
    """Divisor of the outputs, chosen on dev."""

    @classmethod
    def learned(
        cls, columns: tuple[str, ...], per: Per, wanted: Wanted, *, classes: tuple[str, ...], weigh: bool
    ) -> "Target":
        """Return the target with what it takes from the labels of the training rows.

        Parameters
        ----------
        columns, per
            As for the class.
        wanted
            Labels of the training rows, all known.
        classes
            Names of the classes, if there are any.
        weigh
            Let rare classes weigh as much as common ones.
        """
        return cls(columns=columns, per=per)

    @property
    def main(self) -> str:
        """The score by which models are compared, the first of :meth:`scores`."""
        return self.of_sample

    @property
    def num_outputs(self) -> int:
        """Outputs of the network for each row."""
        return len(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of :meth:`predicted`."""
        return ("predicted",) if len(self.columns) == 1 else tuple(f"predicted_{name}" for name in self.columns)

    def scaled(self, wanted: Float[np.ndarray, "*M C"]) -> Float[np.ndarray, "*M C"]:
        """Return labels in the unit of the loss, of float64: near 1e8 differences of 1 are lost in fp32."""
        return wanted.astype(np.float64)

    @abstractmethod
    def losses(self, outputs: Float[Tensor, "M K"], wanted: Float[Tensor, "M C"]) -> Float[Tensor, " M"]:
        """Return the loss of each row by its labels as :meth:`scaled` returns them."""

    @abstractmethod
    def predicted(self, outputs: Float[np.ndarray, "*M K"]) -> Float[np.ndarray, "*M P"]:
        """Return what outputs mean: probabilities, or values in the unit of the labels."""

    @abstractmethod
    def scores(
        self, predicted: Float[np.ndarray, "M P"], wanted: Wanted, groups: Int[np.ndarray, " M"]
    ) -> dict[str, Interval]:
        """Return scores with intervals, the main one first; rows of one group belong together."""

    def frame(self, predicted: Float[np.ndarray, "M P"]) -> pd.DataFrame:
        """Return predictions as the columns of a table."""
        return pd.DataFrame(predicted, columns=list(self.names))

    def label_frame(self, wanted: Wanted) -> pd.DataFrame:
        """Return labels as the columns of a table, beside those of :meth:`frame`."""
        names = ["true"] if len(self.columns) == 1 else [f"true_{name}" for name in self.columns]
        return pd.DataFrame(wanted, columns=names)

    def labels_in(self, table: pd.DataFrame) -> Wanted:
        """Return the labels of a table of texts that has the columns of :meth:`label_frame`."""
        return table[list(self.label_frame(np.empty((0, len(self.columns)))))].to_numpy(np.float64)

    def of_truth(self, truth: Wanted) -> Float[np.ndarray, "M P"]:
        """Return the predictions of the true expectation, where a table has it: the noise ceiling."""
        return truth

    def at(self, temperature: float) -> "Target":
        """Return the target whose probabilities are those of outputs divided by a temperature."""
        return replace(self, temperature=temperature)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, from which :func:`target_of` makes the target again."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Classes(Target):
    """One of several classes, by cross-entropy; outputs are logits."""

    kind: ClassVar[str] = "classes"
    of_sample: ClassVar[str] = "mcc"
    is_probability: ClassVar[bool] = True

    classes: tuple[str, ...]
    """Names of the classes, in the order of their numbers."""
    weights: tuple[float, ...] = ()
    """Weight of each class in the loss; empty for 1."""

    @classmethod
    def learned(
        cls, columns: tuple[str, ...], per: Per, wanted: Wanted, *, classes: tuple[str, ...], weigh: bool
    ) -> "Classes":
        """Return the target; see :meth:`Target.learned`."""
        counts = np.bincount(wanted[:, 0].astype(np.int64), minlength=len(classes))
        weights = len(wanted) / (len(classes) * np.maximum(counts, 1))
        return cls(columns=columns, per=per, classes=classes, weights=tuple(weights.tolist()) if weigh else ())

    @property
    def main(self) -> str:
        """MCC, of bases AUPRC: most lie in no feature, and how many a threshold finds depends on that alone."""
        return "auprc" if self.per == "base" else self.of_sample

    @property
    def num_outputs(self) -> int:
        """One a class."""
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The probability of each class."""
        return tuple(f"p_{name}" for name in self.classes)

    def losses(self, outputs: Float[Tensor, "M K"], wanted: Float[Tensor, "M C"]) -> Float[Tensor, " M"]:
        """Return cross-entropies in nats, weighted."""
        weights = outputs.new_tensor(self.weights) if self.weights else None
        return F.cross_entropy(outputs, wanted[:, 0].long(), weight=weights, reduction="none")

    def predicted(self, outputs: Float[np.ndarray, "*M K"]) -> Float[np.ndarray, "*M P"]:
        """Return the probability of each class."""
        return torch.from_numpy(outputs / self.temperature).double().softmax(-1).numpy()

    def scores(
        self, predicted: Float[np.ndarray, "M P"], wanted: Wanted, groups: Int[np.ndarray, " M"]
    ) -> dict[str, Interval]:
        """Return MCC, AUROC, AUPRC, accuracy and macro F1."""
        scores = class_scores(wanted[:, 0].astype(np.int64), predicted, groups)
        return {self.main: scores.pop(self.main), **scores}

    def frame(self, predicted: Float[np.ndarray, "M P"]) -> pd.DataFrame:
        """Return the class of highest probability, None where nothing is known, and the probability of each."""
        best = np.array(self.classes, object)[predicted.argmax(1)]
        best[np.isnan(predicted).any(1)] = None
        return super().frame(predicted).assign(predicted=best)[["predicted", *self.names]]

    def label_frame(self, wanted: Wanted) -> pd.DataFrame:
        """Return the names of the true classes."""
        return pd.DataFrame({"true": np.array(self.classes, object)[wanted[:, 0].astype(np.int64)]})

    def labels_in(self, table: pd.DataFrame) -> Wanted:
        """Return the numbers of the true classes."""
        ids = {name: number for number, name in enumerate(self.classes)}
        return table["true"].map(ids.__getitem__).to_numpy(np.float64)[:, None]

    def of_truth(self, truth: Wanted) -> Float[np.ndarray, "M P"]:
        """Return both probabilities, of which the truth is that of the second class."""
        return np.concatenate([1 - truth, truth], axis=1)


@dataclass(frozen=True, kw_only=True)
class BinaryLabels(Target):
    """Several columns of 0 and 1, each by binary cross-entropy; outputs are logits."""

    kind: ClassVar[str] = "labels"
    of_sample: ClassVar[str] = "auroc"
    is_probability: ClassVar[bool] = True

    weights: tuple[float, ...] = ()
    """Weight of a 1 in each column's loss; empty for 1."""

    @classmethod
    def learned(
        cls, columns: tuple[str, ...], per: Per, wanted: Wanted, *, classes: tuple[str, ...], weigh: bool
    ) -> "BinaryLabels":
        """Return the target; see :meth:`Target.learned`."""
        share = wanted.mean(0).clip(1e-6, 1 - 1e-6)
        return cls(columns=columns, per=per, weights=tuple(((1 - share) / share).tolist()) if weigh else ())

    @property
    def names(self) -> tuple[str, ...]:
        """The probability of each label."""
        return tuple(f"p_{name}" for name in self.columns)

    def losses(self, outputs: Float[Tensor, "M K"], wanted: Float[Tensor, "M C"]) -> Float[Tensor, " M"]:
        """Return the mean over labels of the cross-entropy in nats."""
        weights = outputs.new_tensor(self.weights) if self.weights else None
        return F.binary_cross_entropy_with_logits(outputs, wanted, pos_weight=weights, reduction="none").mean(1)

    def predicted(self, outputs: Float[np.ndarray, "*M K"]) -> Float[np.ndarray, "*M P"]:
        """Return the probability of each label."""
        return torch.from_numpy(outputs / self.temperature).double().sigmoid().numpy()

    def scores(
        self, predicted: Float[np.ndarray, "M P"], wanted: Wanted, groups: Int[np.ndarray, " M"]
    ) -> dict[str, Interval]:
        """Return AUROC, AUPRC, MCC and accuracy, each the mean over labels, then the first two of each label."""
        return label_scores(wanted, predicted, groups, self.columns)


@dataclass(frozen=True, kw_only=True)
class Numbers(Target):
    """One or several numbers, by the squared error of standardised values."""

    kind: ClassVar[str] = "numbers"
    of_sample: ClassVar[str] = "pearson"

    mean: tuple[float, ...]
    sd: tuple[float, ...]
    """Of each column among the training rows."""

    @classmethod
    def learned(
        cls, columns: tuple[str, ...], per: Per, wanted: Wanted, *, classes: tuple[str, ...], weigh: bool
    ) -> "Numbers":
        """Return the target; see :meth:`Target.learned`."""
        sd = wanted.std(0, dtype=np.float64)
        return cls(
            columns=columns,
            per=per,
            mean=tuple(wanted.mean(0, dtype=np.float64).tolist()),
            sd=tuple(np.where(sd > 0, sd, 1.0).tolist()),
        )

    def scaled(self, wanted: Float[np.ndarray, "*M C"]) -> Float[np.ndarray, "*M C"]:
        """Return standardised values."""
        return (super().scaled(wanted) - self.mean) / self.sd

    def losses(self, outputs: Float[Tensor, "M K"], wanted: Float[Tensor, "M C"]) -> Float[Tensor, " M"]:
        """Return the mean over columns of the squared error, in variances of the training rows."""
        return (outputs - wanted).square().mean(1)

    def predicted(self, outputs: Float[np.ndarray, "*M K"]) -> Float[np.ndarray, "*M P"]:
        """Return values in the labels' unit."""
        return outputs.astype(np.float64) * self.sd + self.mean

    def scores(
        self, predicted: Float[np.ndarray, "M P"], wanted: Wanted, groups: Int[np.ndarray, " M"]
    ) -> dict[str, Interval]:
        """Return Pearson's and Spearman's correlation and R2, each the mean over columns."""
        return number_scores(wanted, predicted, groups, self.columns)


@dataclass(frozen=True, kw_only=True)
class Counts(Target):
    """Whole numbers from 0, by Poisson's law; outputs are log rates relative to the mean of the training rows."""

    kind: ClassVar[str] = "counts"
    of_sample: ClassVar[str] = "deviance_explained"

    mean: tuple[float, ...]
    """Of each column among the training rows."""

    @classmethod
    def learned(
        cls, columns: tuple[str, ...], per: Per, wanted: Wanted, *, classes: tuple[str, ...], weigh: bool
    ) -> "Counts":
        """Return the target; see :meth:`Target.learned`."""
        mean = wanted.mean(0, dtype=np.float64)
        return cls(columns=columns, per=per, mean=tuple(np.maximum(mean, 1e-6).tolist()))

    def scaled(self, wanted: Float[np.ndarray, "*M C"]) -> Float[np.ndarray, "*M C"]:
        """Return counts by their mean: a gradient is then of the same size for single reads and for thousands."""
        return super().scaled(wanted) / self.mean

    def losses(self, outputs: Float[Tensor, "M K"], wanted: Float[Tensor, "M C"]) -> Float[Tensor, " M"]:
        """Return the mean over columns of Poisson's negative log-likelihood, but for a constant, by the mean count."""
        return (outputs.exp() - wanted * outputs).mean(1)

    def predicted(self, outputs: Float[np.ndarray, "*M K"]) -> Float[np.ndarray, "*M P"]:
        """Return expected counts."""
        return np.exp(outputs.astype(np.float64)) * self.mean

    def scores(
        self, predicted: Float[np.ndarray, "M P"], wanted: Wanted, groups: Int[np.ndarray, " M"]
    ) -> dict[str, Interval]:
        """Return the share of the deviance explained, and the scores of numbers."""
        return count_scores(wanted, predicted, groups, self.columns)


KINDS: Mapping[str, type[Target]] = {kind.kind: kind for kind in (Classes, BinaryLabels, Numbers, Counts)}
"""By the name that ``--target`` takes."""


def target_of(content: Mapping[str, Any]) -> Target:
    """Return the target of the plain values that :meth:`Target.to_dict` returned."""
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
    return KINDS[fields.pop("kind")](**fields)
