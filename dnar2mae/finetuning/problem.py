"""Labelled samples as a network learns from them and is judged on them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from dnar2mae.finetuning.network import Reading, VectorsOnly
from dnar2mae.finetuning.samples import Samples
from dnar2mae.finetuning.targets import Target
from dnar2mae.models import MaskedModel
from dnar2mae.scoring.intervals import Interval

_STRANDS = 0x57AD  # keeps the strands apart from all else that a seed draws
Ids = Int[np.ndarray, " S"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Answers and labels of samples, or of the labelled bases of samples."""

    outputs: tuple[Float[np.ndarray, "M K"], ...]
    """Outputs of the network, on one strand or both."""
    wanted: Float[np.ndarray, "M C"]
    """Labels."""
    ids: Int[np.ndarray, " M"]
    """Number of the sample."""
    positions: Int[np.ndarray, " M"]
    """Which base of the sample, on its strand; 0 where the answer is of the whole sample."""

    @property
    def groups(self) -> Int[np.ndarray, " M"]:
        """Number of the sample among those that have a row: rows of one belong together."""
        return np.unique(self.ids, return_inverse=True)[1]

    def predicted(self, target: Target) -> Float[np.ndarray, "M P"]:
        """Return predictions, averaged over strands."""
        return np.mean([target.predicted(outputs) for outputs in self.outputs], axis=0)

    def loss(self, target: Target) -> float:
        """Return the mean loss over rows and strands."""
        wanted = torch.from_numpy(target.scaled(self.wanted).astype(np.float32))
        return float(
            np.mean([target.losses(torch.from_numpy(outputs), wanted).double().mean() for outputs in self.outputs])
        )

    def scores(self, target: Target) -> dict[str, Interval]:
        """Return the scores of the predictions."""
        return target.scores(self.predicted(target), self.wanted, self.groups)


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleProblem:
    """Labelled samples in three parts; a :class:`.tuner.Problem`.

    Values per base have NaN where none is known, and after the end of a sample.
    """

    samples: Samples
    wanted: Float[np.ndarray, "N *L C"]
    """Labels of all samples, or of their bases on the strand of the sample."""
    parts: Shaped[np.ndarray, " N"]
    """``train``, ``dev``, ``test``, or empty."""
    target: Target
    seed: int
    both_strands: bool
    select: str
    """``loss`` or ``score``: what decides on dev."""

    def ids(self, part: str) -> Ids:
        """Return the numbers of a part's samples."""
        return np.flatnonzero(self.parts == part)

    @property
    def num_rows(self) -> int:
        """Training samples."""
        return int((self.parts == "train").sum())

    def losses(self, network: nn.Module, rows: Int[np.ndarray, " B"], step: int) -> tuple[Tensor, Tensor]:
        """Return the summed loss of training samples or their labelled bases, and the number of these."""
        ids = self.ids("train")[rows]
        flipped = np.zeros(len(ids), bool)
        if self.both_strands:
            # a draw of the step, but in the order of the samples: ranks that share a batch need not agree
            flipped = np.random.default_rng((_STRANDS, self.seed, step)).random(len(self.parts))[ids] < 0.5
        device = next(network.parameters()).device
        batch = self.samples.batch(ids, flipped).to(device)
        outputs = network(batch).float()
        wanted = self._labels_of(ids, flipped).to(device)
        if self.target.per == "base":
            wanted = wanted[:, : outputs.shape[1]]
            known = ~wanted.isnan().any(-1) & batch.maskable
            outputs, wanted = outputs[known], wanted[known]
        losses = self.target.losses(outputs, wanted)
        return losses.sum(), losses.new_tensor(float(len(losses)))

    def _labels_of(self, ids: Ids, flipped: Bool[np.ndarray, " S"]) -> Float[Tensor, "S *L C"]:
        wanted = self.target.scaled(self.wanted[ids]).astype(np.float32)
        if self.target.per == "base":
            lengths = self.samples.lengths[ids]
            for row in np.flatnonzero(flipped):
                wanted[row, : lengths[row]] = wanted[row, : lengths[row]][::-1]
        return torch.from_numpy(wanted)

    def rows(self, network: nn.Module, ids: Ids, check: Callable[[], object] = lambda: None) -> Rows:
        """Return the answers for samples, with their labels; ``check`` is called before every batch."""
        strands = (False, True) if self.both_strands else (False,)
        answers = [outputs_of(network, self.samples, ids, flipped=flipped, check=check) for flipped in strands]
        wanted = self.wanted[ids]
        if self.target.per == "sample":
            return Rows(outputs=tuple(answers), wanted=wanted, ids=ids, positions=np.zeros(len(ids), np.int64))
        width = answers[0].shape[1]
        known = ~np.isnan(wanted[:, :width]).any(-1) & ~np.isnan(answers[0]).any(-1)
        outputs = tuple(answer[known] for answer in answers)
        row, position = np.nonzero(known)
        return Rows(outputs=outputs, wanted=wanted[:, :width][known], ids=ids[row], positions=position)

    def held_out(self, network: nn.Module, check: Callable[[], object]) -> dict[str, Any]:
        """Return the loss and the main score on dev."""
        rows = self.rows(network, self.ids("dev"), check)
        loss, score = rows.loss(self.target), rows.scores(self.target)[self.target.main].value
        return {"held_out": loss if self.select == "loss" else -score, "loss": loss, self.target.main: score}


class EncodedSamples(Samples):
    """Samples of a frozen model, which are encoded once, when the first is asked for, and are then vectors.

    Parameters
    ----------
    samples
        The samples.
    backbone
        The model, whose weights do not learn; they may still be loaded before the first sample is asked for.
    reading
        What the head reads.
    """

    def __init__(self, samples: Samples, backbone: MaskedModel, reading: Reading) -> None:
        super().__init__(samples.source, samples.table, samples.limit_bp)
        self._samples, self._network = samples, VectorsOnly(backbone, reading)
        self._encoded: dict[bool, Float[np.ndarray, "N W"]] = {}

    @property
    def lengths(self) -> Int[np.ndarray, " N"]:
        """A vector each."""
        return np.ones(len(self), np.int64)

    def batch(self, ids: Ids, flipped: Bool[np.ndarray, " S"] | None = None) -> Float[Tensor, "S W"]:  # type: ignore[override]
        """Return the vectors of these samples, of those that are ``flipped`` those of their other strand."""
        chosen = self._vectors(flipped=False)[ids]
        if flipped is not None and flipped.any():
            chosen[flipped] = self._vectors(flipped=True)[ids[flipped]]
        return torch.from_numpy(chosen)

    def _vectors(self, *, flipped: bool) -> Float[np.ndarray, "N W"]:
        if flipped not in self._encoded:
            self._network.eval()
            ids = np.arange(len(self))
            self._encoded[flipped] = outputs_of(self._network, self._samples, ids, flipped=flipped)
        return self._encoded[flipped]


@torch.no_grad()
def outputs_of(
    network: nn.Module,
    samples: Samples,
    ids: Ids,
    *,
    flipped: bool = False,
    check: Callable[[], object] = lambda: None,
) -> Float[np.ndarray, "S *T K"]:
    """Return the outputs for samples, or for each token of them in the order of the forward strand.

    Tokens that are padding or have an unknown base are NaN. ``check`` is called before every batch.
    """
    device = next(network.parameters()).device
    lengths = samples.lengths[ids]
    out: np.ndarray | None = None
    for chosen in _batches(samples, lengths, device):
        check()
        batch = samples.batch(ids[chosen], np.full(len(chosen), flipped)).to(device)
        outputs = network(batch).float()
        if outputs.ndim == 3:
            outputs = outputs.masked_fill(~batch.maskable[..., None], torch.nan)
        values = outputs.cpu().numpy()
        if out is None:
            per_token = (int(lengths.max()),) if values.ndim == 3 else ()
            out = np.full((len(ids), *per_token, values.shape[-1]), np.nan, np.float32)
        if values.ndim == 2:
            out[chosen] = values
            continue
        for row, length, value in zip(chosen, lengths[chosen], values, strict=True):
            out[row, :length] = value[:length][::-1] if flipped else value[:length]
    assert out is not None, "no samples"
    return out


def _batches(samples: Samples, lengths: Int[np.ndarray, " S"], device: torch.device) -> Iterator[Int[np.ndarray, " B"]]:
    """Yield samples of like length together, as many as suit the device."""
    tokens = 8192 if device.type == "cpu" else 65_536
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]]) or samples.batch(np.arange(1)).tokens.shape[1]
        size = max(tokens // longest, 1)
        yield order[start : start + size]
        start += size
