"""A fine-tuned run on disk, and the model that it has.

``RUN/config.yaml`` has the settings of the fine-tuning and ``RUN/backbone/`` those of the pretrained run with the files
of its modality, as a run directory has them. ``RUN/target.json`` says what the outputs mean. Tensors of
``RUN/checkpoints/*/model.safetensors`` are ``backbone.NAME`` for each weight of the
:class:`dnar2mae.models.MaskedModel`, ``head.weight`` and ``head.bias`` of the linear head, and ``shift`` and ``scale``
of the standardised vectors that it reads; LoRA's updates lie beside the weights that they update, under peft's names.
:func:`load` returns plain weights: updates added, shift and scale folded into the head.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import RunError, raising
from dnar2mae.finetuning.network import TunedNetwork, merged, reading_of
from dnar2mae.finetuning.options import FinetuneConfig
from dnar2mae.finetuning.problem import outputs_of
from dnar2mae.finetuning.samples import Samples, of_letters
from dnar2mae.finetuning.targets import Target, target_of
from dnar2mae.inference.loading import TrainedModel
from dnar2mae.modalities.registry import build_modality
from dnar2mae.models import MaskedModel
from dnar2mae.run.checkpoint import checkpoints
from dnar2mae.run.config_file import read_config, read_whole, write_config, write_settings
from dnar2mae.run.directory import RunDirectory
from dnar2mae.run.exported import labels_class
from dnar2mae.storage.safe_files import find_damage, folder_written_whole, write_whole
from dnar2mae.training.device import choose_device

_BACKBONE, _TARGET = "backbone", "target.json"
_MAY_CHANGE = {"device", "checkpoint_every", "keep_checkpoints", "max_hours", "tensorboard", "baselines"}
_PATHS = {"model", "data", "genome", "track", "label_table"}  # files may move: their content is compared


class TunedDirectory(RunDirectory):
    """The files of one fine-tuning."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.backbone_folder = path / _BACKBONE
        self.target_file = path / _TARGET
        self.calibration_file = path / "calibration.png"
        self.predictions_file = path / "test_predictions.csv"

    def read(self) -> FinetuneConfig:
        """Return the settings of the run that is there; raises as for a pretraining."""
        return read_whole(self.config_file, FinetuneConfig)

    def write(self, config: FinetuneConfig) -> None:
        """Write the settings of a run."""
        write_settings(config, self.config_file)

    def flat(self, config: FinetuneConfig) -> dict[str, object]:
        """Return settings by the name of their flag."""
        return asdict(config)

    def inputs(self, config: FinetuneConfig) -> tuple[str, ...]:
        """Return the files that a run reads."""
        return tuple(filter(None, (getattr(config, name) for name in sorted(_PATHS))))

    def may_change(self, config: FinetuneConfig) -> set[str]:
        """Return the settings in which a resumed run may differ."""
        return _MAY_CHANGE | _PATHS

    def written(self) -> tuple[str, ...]:
        """Return patterns of the files that overwriting removes."""
        return (*super().written(), _BACKBONE, _TARGET, "calibration.png", "test_predictions.csv")

    def save_backbone(self, trained: TrainedModel) -> None:
        """Write the settings of the pretrained model and the files that its modality needs."""
        with folder_written_whole(self.backbone_folder) as partial:
            write_config(trained.config, partial / "config.yaml")
            trained.modality.save(partial)

    def read_backbone(self, device: torch.device) -> TrainedModel:
        """Return the pretrained model of the run with random weights.

        Raises
        ------
        RunError, ConfigError
            If the files of the run cannot be read.
        """
        folder = self.backbone_folder
        config: PretrainConfig = read_config(folder / "config.yaml", whole=True)
        modality = build_modality(config, folder)
        model = MaskedModel(config.model, modality.embedder(), modality.head(), modality.layout)
        return TrainedModel(config, modality, model.to(device).eval(), str(self.path))

    def save_target(self, target: Target) -> None:
        """Write what the outputs mean."""
        write_whole(self.target_file, json.dumps(target.to_dict(), indent=1))

    def read_target(self) -> Target:
        """Return what the outputs mean.

        Raises
        ------
        RunError
            If the file is missing or damaged: without it the run has no head.
        """
        path = self.target_file
        with raising(RunError, f"{path}: cannot be read as a target", OSError, ValueError, KeyError, TypeError):
            return target_of(json.loads(path.read_text()))


@dataclass(frozen=True, slots=True, eq=False)
class TunedModel:
    """A fine-tuned model; made by :func:`load`."""

    trained: TrainedModel
    """The pretrained model's configuration and modality, with the weights after fine-tuning."""
    network: TunedNetwork
    """The model with its head, in evaluation mode; ``network.backbone`` is ``trained.model``."""
    target: Target
    """What the outputs mean."""
    config: FinetuneConfig
    """Settings of the fine-tuning."""
    source: str
    """The checkpoint it was read from."""

    @property
    def head(self) -> nn.Linear:
        """The linear head, which reads ``pooled`` vectors as they are, or those of tokens."""
        return self.network.head

    def predict(
        self, sequences: Sequence[str], *, both_strands: bool | None = None, allow_truncation: bool = False
    ) -> pd.DataFrame:
        """Return predictions for sequences of DNA, a row a sequence or, of values per base, a row a base.

        Parameters
        ----------
        sequences
            Letters, in either case.
        both_strands
            Average over both strands; by default as in training.
        allow_truncation
            Cut sequences that are longer than the windows of pretraining at their end, instead of refusing them.

        Returns
        -------
        DataFrame
            For classes ``predicted`` and ``p_CLASS``, for labels ``p_LABEL``, else ``predicted`` (of several
            ``predicted_COLUMN``); of bases ``sequence`` (its number) and ``position`` (0-based) come first.

        Raises
        ------
        Dnar2maeError
            If the model is of another modality, or a sequence cannot be used.
        """
        samples = of_letters(self.trained, sequences, allow_truncation=allow_truncation)
        predicted = self.predicted(samples, np.arange(len(samples)), both_strands=both_strands)
        if self.target.per == "sample":
            return self.target.frame(predicted)
        row, position = np.nonzero(np.arange(predicted.shape[1]) < samples.lengths[:, None])
        frame = self.target.frame(predicted[row, position])
        frame.insert(0, "sequence", row)
        frame.insert(1, "position", position)
        return frame

    def predicted(
        self, samples: Samples, ids: Int[np.ndarray, " S"], *, both_strands: bool | None = None
    ) -> Float[np.ndarray, "S *L P"]:
        """Return predictions for some samples, or for their bases in the order of the sample's strand.

        The last axis is that of ``target.names``; bases that are unknown or past a sample's end are NaN.
        """
        both = self.config.both_strands if both_strands is None else both_strands
        strands = (False, True) if both and samples.has_strands else (False,)
        answers = [
            self.target.predicted(outputs_of(self.network, samples, ids, flipped=flipped)) for flipped in strands
        ]
        return np.mean(answers, axis=0)


def is_tuned(path: str | Path) -> bool:
    """Return whether a folder is a fine-tuned run."""
    return (Path(path) / _TARGET).is_file() and (Path(path) / "config.yaml").is_file()


def load(path: str | Path, *, device: str = "auto") -> TunedModel:
    """Read a fine-tuned run, with the weights that were best on dev.

    Raises
    ------
    RunError
        If the path is no fine-tuned run (a pretrained one has no head), or a file is damaged.
    ConfigError
        If the device does not exist.
    """
    path = Path(path)
    if not is_tuned(path):
        if (name := labels_class(path)) is not None:
            raise RunError(
                f"{path}: an export, which transformers opens: {name}.from_pretrained({str(path)!r}); give the run "
                "that it is an export of"
            )
        raise RunError(f"{path}: no fine-tuned run here: a model has a head once dnar2mae finetune has trained one")
    target_device, _ = choose_device(PretrainConfig(device=device))
    run = TunedDirectory(path)
    config, target = run.read(), run.read_target()
    trained = run.read_backbone(torch.device("cpu"))
    checkpoint = _newest(path)
    weights = merged(_read_weights(checkpoint), config)
    with raising(RunError, f"{checkpoint}: does not fit the model", RuntimeError, KeyError):
        shift, scale = weights["shift"], weights["scale"]
        reading = reading_of(trained.model, target.per, config.pooling)
        network = TunedNetwork(trained.model, target.num_outputs, shift, scale, reading=reading)
        network.load_state_dict(weights)
    plain = network.plain_head()
    network = TunedNetwork(
        trained.model, target.num_outputs, torch.zeros_like(shift), torch.ones_like(scale), reading=reading
    )
    network.head = plain
    network.to(target_device).eval()
    return TunedModel(replace(trained, source=str(checkpoint)), network, target, config, str(checkpoint))


def _newest(run: Path) -> Path:
    best = run / "checkpoints" / "best"
    if best.is_dir():
        return best
    saved = checkpoints(run)
    if not saved:
        raise RunError(f"{run}: this run has no checkpoint yet")
    return saved[-1]


def _read_weights(checkpoint: Path) -> dict[str, Tensor]:
    with raising(RunError, f"{checkpoint}: not a readable checkpoint", OSError, SafetensorError, ValueError):
        if fault := find_damage(checkpoint, ("model.safetensors",)):
            raise RunError(f"{checkpoint}: damaged checkpoint: {fault}")
        return load_file(checkpoint / "model.safetensors")
