"""Fine-tuning, LoRA, heads on frozen vectors and training from scratch: one loop for every classifier."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
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
from dnar2mae.errors import needing

_SHUFFLE = 0xD1CE  # keeps the order of rows apart from all else that a seed draws
_EVALUATION_ROWS = 64


class TokenizedRows(NamedTuple):
    """Tokenized rows of a split, or their encoded tokens."""

    tokens: Sequence[Tokens] | Sequence[TokenVectors]
    labels: Int[np.ndarray, " N"]
    reverse: Sequence[Tokens] | Sequence[TokenVectors] | None = None
    """Their reverse complements, where predictions are averaged over both strands."""


class TrainingTask(NamedTuple):
    """The splits on which a classifier is trained and judged."""

    train: TokenizedRows
    dev: TokenizedRows
    test: TokenizedRows
    num_classes: int
    collate: Callable[[Sequence[Any]], tuple[Tensor, ...]]
    """Makes of rows the tensors that the classifier takes."""
    select: str
    """``mcc`` or ``loss``."""


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
            _add_lora(module, settings)
        return PooledClassifier(module, encoder.width, num_classes, encoder.precision).to(encoder.device)


def fit(
    make: Callable[[int], nn.Module], problem: TrainingTask, settings: FitSettings, seed: int, lr: float
) -> Predicted:
    """Train a classifier, keep its best state on dev, predict the test rows once.

    ``make`` builds the classifier ``(*collated) -> logits`` of a seed. The seed is that of fresh weights, order of rows
    and dropout, ``lr`` the peak learning rate.
    """
    classifier = make(seed)
    num_batches = math.ceil(len(problem.train.labels) / settings.batch_size)
    num_steps = settings.max_steps or settings.epochs * num_batches
    every = settings.evaluate_every or num_batches
    optimizer = _adamw(classifier, settings, lr)
    warmup = settings.warmup_steps or round(settings.warmup_share * num_steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _factor(settings.schedule, warmup, num_steps))
    # patience counts evaluations, and the last step is always one.
    best, best_state, since = -math.inf, None, 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for step, rows in enumerate(_order(len(problem.train.labels), settings.batch_size, seed, num_steps), 1):
            _step(classifier, optimizer, problem, rows, settings.clip)
            schedule.step()
            if step % every and step != num_steps:
                continue
            probabilities = predict(classifier, problem, problem.dev)
            value = selection_value(problem.select, problem.dev.labels, probabilities)
            since += 1
            if value > best:
                best, since = value, 0
                best_state = {k: v.detach().clone() for k, v in classifier.state_dict().items()}
            if settings.patience is not None and since >= settings.patience:
                break
    if best_state is not None:
        classifier.load_state_dict(best_state)
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


def _step(
    classifier: nn.Module, optimizer: torch.optim.Optimizer, problem: TrainingTask, rows: np.ndarray, clip: float | None
) -> None:
    classifier.train()
    batch = problem.collate([problem.train.tokens[i] for i in rows])
    labels = torch.from_numpy(problem.train.labels[rows]).to(batch[0].device)
    loss = F.cross_entropy(classifier(*batch).float(), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(classifier.parameters(), clip)
    optimizer.step()


def _order(num_rows: int, batch_size: int, seed: int, num_steps: int) -> Iterator[np.ndarray]:
    """Yield the rows of each step; every epoch is a fresh permutation, a function of seed and epoch."""
    for step in range(num_steps):
        epoch, batch = divmod(step, math.ceil(num_rows / batch_size))
        if batch == 0:
            order = np.random.default_rng((_SHUFFLE, seed, epoch)).permutation(num_rows)
        yield order[batch * batch_size : (batch + 1) * batch_size]


def _adamw(classifier: nn.Module, settings: FitSettings, lr: float) -> torch.optim.AdamW:
    learned = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr)


def _factor(schedule: str, warmup: int, num_steps: int) -> Callable[[int], float]:
    def factor(step: int) -> float:
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        left = max(0.0, (num_steps - step) / max(num_steps - warmup, 1))
        return rise * min(1.0, left) if schedule == "linear" else rise

    return factor


def _add_lora(module: nn.Module, settings: FitSettings) -> None:
    with needing("method lora", "peft", "dnar2mae[hf]"):
        from peft import LoraConfig, inject_adapter_in_model
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    wanted = [name for name in linear if name.rpartition(".")[2] in settings.lora_targets]
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=wanted or linear,
    )
    inject_adapter_in_model(config, module)
