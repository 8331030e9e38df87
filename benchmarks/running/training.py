"""Fine-tuning, LoRA, heads on frozen vectors and training from scratch: classifiers for the loop of fine-tuning."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dnar2mae.benchmarks.models.cnn import TokenVectors
from dnar2mae.benchmarks.models.encoder import Encoder, Tokens, autocast, mean_pool
from dnar2mae.benchmarks.running.frozen import Predicted, selection_value
from dnar2mae.benchmarks.running.protocol import FitSettings
from dnar2mae.finetuning.network import add_lora
from dnar2mae.finetuning.tuner import MemoryTuner, Rate

_EVALUATION_ROWS = 64


class TokenizedRows(NamedTuple):
    """Tokenized rows of a split, or their encoded tokens."""

    tokens: Sequence[Tokens] | Sequence[TokenVectors]
    labels: Int[np.ndarray, " N"]
    reverse: Sequence[Tokens] | Sequence[TokenVectors] | None = None
    """Their reverse complements, where predictions are averaged over both strands."""


class TrainingTask(NamedTuple):
    """The splits on which a classifier is trained and judged; a :class:`dnar2mae.finetuning.tuner.Problem`."""

    train: TokenizedRows
    dev: TokenizedRows
    test: TokenizedRows
    num_classes: int
    collate: Callable[[Sequence[Any]], tuple[Tensor, ...]]
    """Makes of rows the tensors that the classifier takes."""
    select: str
    """``mcc`` or ``loss``."""

    @property
    def num_rows(self) -> int:
        """Training rows."""
        return len(self.train.labels)

    def losses(self, network: nn.Module, rows: Int[np.ndarray, " B"], step: int) -> tuple[Tensor, Tensor]:
        """Return the summed cross-entropy of training rows, and their number."""
        batch = self.collate([self.train.tokens[i] for i in rows])
        labels = torch.from_numpy(self.train.labels[rows]).to(batch[0].device)
        loss = F.cross_entropy(network(*batch).float(), labels, reduction="sum")
        return loss, loss.new_tensor(float(len(rows)))

    def held_out(self, network: nn.Module, check: Callable[[], object]) -> dict[str, Any]:
        """Return minus the selection value on dev."""
        probabilities = predict(network, self, self.dev)
        return {"held_out": -selection_value(self.select, self.dev.labels, probabilities)}


class PooledClassifier(nn.Module):
    """An encoder ``(ids, valid) -> [B, T, width]`` with a linear head on the mean over tokens, which is in fp32.

    ``precision`` is the encoder's, as in :class:`dnar2mae.benchmarks.models.encoder.Encoder`.
    """

    def __init__(self, encoder: nn.Module, width: int, num_classes: int, precision: str = "fp32") -> None:
        super().__init__()
        self.encoder, self.precision = encoder, precision
        self.head = nn.Linear(width, num_classes)

    def forward(
        self, ids: Int[Tensor, "B T"], valid: Bool[Tensor, "B T"], pooled: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B C"]:
        """Return class logits."""
        with autocast(self.precision, ids.device):
            hidden = self.encoder(ids, valid)
        return self.head(mean_pool(hidden.float(), pooled))


def tunable(encoder: Encoder, num_classes: int, settings: FitSettings, *, lora: bool, seed: int) -> PooledClassifier:
    """Copy an encoder and put a fresh head on it; all weights learn, or the head and LoRA updates only.

    Parameters
    ----------
    encoder
        Is not changed.
    settings
        Rank, scale, dropout and targets of LoRA.
    lora
        Freeze the encoder and learn low-rank updates of its linear layers (needs peft).
    seed
        Of the head and the updates.

    Raises
    ------
    ConfigError
        peft is not installed.
    """
    module = copy.deepcopy(encoder.module).requires_grad_(not lora)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if lora:
            add_lora(module, settings)
        return PooledClassifier(module, encoder.width, num_classes, encoder.precision).to(encoder.device)


def fit(
    make: Callable[[int], nn.Module], problem: TrainingTask, settings: FitSettings, seed: int, lr: float
) -> Predicted:
    """Train a classifier, keep its best state on dev, predict the test rows once.

    ``make`` builds the classifier ``(*collated) -> logits`` of a seed. The seed is that of fresh weights, order of rows
    and dropout, ``lr`` the peak learning rate.
    """
    classifier = make(seed)
    lowest = MemoryTuner(classifier, problem, settings, Rate(lr, seed)).run()
    best = -lowest if math.isfinite(lowest) else -math.inf
    return Predicted(predict(classifier, problem, problem.test), {"lr": lr}, best)


def predict(classifier: nn.Module, problem: TrainingTask, rows: TokenizedRows) -> Float[np.ndarray, "N C"]:
    """Return class probabilities in evaluation mode, averaged over both strands where ``rows`` has them."""
    if rows.reverse is not None:
        strands = (rows.tokens, rows.reverse)
        return np.mean([predict(classifier, problem, TokenizedRows(tokens, rows.labels)) for tokens in strands], axis=0)
    order = np.argsort([len(t.pooled) for t in rows.tokens], kind="stable")  # like lengths together: little padding
    out = np.empty((len(order), problem.num_classes))
    classifier.eval()
    with torch.inference_mode():
        for start in range(0, len(order), _EVALUATION_ROWS):
            chosen = order[start : start + _EVALUATION_ROWS]
            logits = classifier(*problem.collate([rows.tokens[i] for i in chosen]))
            out[chosen] = logits.double().softmax(1).cpu().numpy()
    return out
