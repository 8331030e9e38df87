"""Reading a trained model of any modality."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from dnar2mae.batch import FiniteSource
from dnar2mae.config import DataConfig, PretrainConfig, TokenizerConfig
from dnar2mae.errors import RunError
from dnar2mae.modalities.contract import Modality
from dnar2mae.modalities.options import EmbedOptions
from dnar2mae.modalities.registry import build_modality
from dnar2mae.models import MaskedModel
from dnar2mae.run.checkpoint import find_checkpoint, load_checkpoint, load_weights
from dnar2mae.run.config_file import read_config
from dnar2mae.run.exported import is_exported, read_exported
from dnar2mae.training.device import choose_device


class FrozenModel(MaskedModel):
    """A network whose weights do not learn, and that says so where a loop trains it."""

    def train(self, mode: bool = True) -> "FrozenModel":
        """Set training mode as every module does.

        Warns
        -----
        UserWarning
            If it is to be trained, and none of its parameters is trainable.
        """
        if mode and not any(parameter.requires_grad for parameter in self.parameters()):
            warnings.warn(
                "the pretrained network is frozen, so only what is put on it learns; "
                "Model.from_pretrained(path, trainable=True) lets all of it learn",
                stacklevel=2,
            )
        return super().train(mode)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """A trained model with its configuration and its modality."""

    config: PretrainConfig
    """Settings of the run; of an exported folder, those that it records."""
    modality: Modality
    """Its modality, without the training data."""
    model: MaskedModel
    """The network, in evaluation mode, on its device, in fp32."""
    source: str
    """The path it was read from, or another description."""

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device

    def random_like(self, seed: int) -> "TrainedModel":
        """Return the same architecture with the initial weights of this seed: the control for what training adds."""
        model = _network(self.config, self.modality, type(self.model))
        model.reset_parameters(torch.Generator().manual_seed(seed))
        return replace(self, model=_ready(model, self.device), source=f"random weights of seed {seed}")

    def embed(self, source: FiniteSource, options: EmbedOptions | None = None) -> Float[np.ndarray, "N W"]:
        """Return the vectors of samples that the modality has read, in their order; NaN for a sample without a token.

        Parameters
        ----------
        source
            Samples as ``modality.read`` returns them.
        options
            Of the class ``modality.embed_options``; by default its defaults.

        Raises
        ------
        Dnar2maeError
            If a sample or an option does not fit the model.
        """
        return np.concatenate(list(self.modality.embeddings(self.model, source, options).blocks))


def load(path: str | Path, *, device: str = "auto", seed: int | None = None, trainable: bool = True) -> TrainedModel:
    """Read a run of any modality, one of its checkpoints, or a folder as ``export`` writes it.

    Only safetensors, JSON and YAML are ever read.

    Parameters
    ----------
    path
        A run directory (its last checkpoint is read), a checkpoint such as ``RUN/checkpoints/best``, or a folder with
        ``config.json``, ``model.safetensors`` and ``tokenizer.json``.
    device
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes the first GPU, else the CPU.
    seed
        Return the same architecture with the initial weights of this seed instead.
    trainable
        Without, parameters have no gradients, and the network warns where it is put into training mode.

    Raises
    ------
    RunError
        If the path is none of these, a file is damaged or does not fit, or the weights are a pickle.
    ConfigError
        If the device does not exist.
    """
    if (Path(path) / "target.json").is_file():
        raise RunError(f"{path}: expected a pretrained model, got a fine-tuned run, which dnar2mae predict applies")
    target, _ = choose_device(PretrainConfig(device=device))
    located, kind = find_checkpoint(Path(path)), MaskedModel if trainable else FrozenModel
    trained = _from_export(Path(path), target, kind) if located is None else _from_run(*located, target, kind)
    return trained if seed is None else trained.random_like(seed)


def is_trained_model(path: Path) -> bool:
    """Return whether a folder is a run, a checkpoint or an export of this package, which :func:`load` reads."""
    return (path / "config.yaml").is_file() or (path / "state.json").is_file() or is_exported(path)


def _from_run(run: Path, checkpoint: Path, device: torch.device, kind: type[MaskedModel]) -> TrainedModel:
    config = read_config(run / "config.yaml", whole=True)
    modality = build_modality(config, run)
    model = _network(config, modality, kind)
    load_checkpoint(checkpoint, model)
    return TrainedModel(config, modality, _ready(model, device), str(checkpoint))


def _from_export(folder: Path, device: torch.device, kind: type[MaskedModel]) -> TrainedModel:
    sizes, tokenizer, weights, max_tokens = read_exported(folder)
    config = PretrainConfig(
        data=DataConfig(window_bp=(max_tokens - 1) * tokenizer.stride + tokenizer.k),
        tokenizer=TokenizerConfig(k=tokenizer.k, stride=tokenizer.stride),
        model=sizes,
    )
    modality = build_modality(config)
    model = _network(config, modality, kind)
    load_weights(model, weights, folder)
    return TrainedModel(config, modality, _ready(model, device), str(folder))


def _network(config: PretrainConfig, modality: Modality, kind: type[MaskedModel]) -> MaskedModel:
    """Build the network with the default backends: those of the training machine may not exist here."""
    return kind(config.model, modality.embedder(), modality.head(), modality.layout)


def _ready(model: MaskedModel, device: torch.device) -> MaskedModel:
    return model.to(device).eval().requires_grad_(not isinstance(model, FrozenModel))
