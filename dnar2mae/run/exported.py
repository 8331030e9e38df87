"""Folders of ``config.json``, ``model.safetensors`` and a tokenizer, which ``export`` and ``save_pretrained`` write.

A model that has the form of a ModernBERT is written as one; every other under ``model_type`` "dnar2mae", whose
``config.json`` has the settings of ``--model.*`` and the vocabulary, and whose tensors have this package's names.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dnar2mae.config import ModelConfig
from dnar2mae.errors import ConfigError, RunError, raising
from dnar2mae.models import modernbert
from dnar2mae.run.config_file import structured
from dnar2mae.tokenizers import KmerTokenizer, Vocabulary
from dnar2mae.tokenizers.kmer_json import read_tokenizer

MODEL_TYPE = "dnar2mae"
_PREFIX = "network."  # the network's name inside the classes of dnar2mae.hub.auto
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def to_config(config: ModelConfig, tokenizer: KmerTokenizer, max_tokens: int) -> dict[str, Any]:
    """Return the ``config.json`` of a model."""
    if modernbert.has_form(config):
        return modernbert.to_config(config, tokenizer, max_tokens)
    return {
        "architectures": ["Dnar2maeForMaskedLM"],
        "model_type": MODEL_TYPE,
        "model": asdict(config),
        "vocabulary": asdict(tokenizer.vocabulary),
        "max_position_embeddings": max_tokens,
        "pad_token_id": tokenizer.vocabulary.pad_id,
        "dtype": "float32",
    }


def to_weights(config: ModelConfig, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a :class:`dnar2mae.models.MaskedModel` by their names in the file."""
    if modernbert.has_form(config):
        return modernbert.to_modernbert(weights)
    return {_PREFIX + name: tensor for name, tensor in weights.items()}


def from_config(content: Mapping[str, Any], where: str) -> tuple[ModelConfig, Vocabulary]:
    """Read the settings and the vocabulary in a ``config.json`` of ``model_type`` "dnar2mae"; ``where`` is its name.

    Raises
    ------
    ConfigError
        If a setting is missing, unknown or out of its range; every fault is named.
    """
    model = structured(content.get("model"), ModelConfig, f"{where}: model")
    return model, structured(content.get("vocabulary"), Vocabulary, f"{where}: vocabulary")


def is_exported(folder: Path) -> bool:
    """Return whether a folder looks like an export of this package."""
    file = folder / "config.json"
    text = file.read_text() if file.is_file() else ""
    return '"ModernBertForMaskedLM"' in text or f'"model_type": "{MODEL_TYPE}"' in text


def labels_class(folder: Path) -> str | None:
    """Return the class of transformers that a folder names in ``config.json``, if it is one that predicts labels."""
    file = folder / "config.json"
    classes = _read_json(file).get("architectures") if file.is_file() else None
    first = str(classes[0]) if isinstance(classes, list) and classes else ""
    return first if first.endswith("Classification") else None


def read_exported(folder: Path) -> tuple[ModelConfig, KmerTokenizer, dict[str, Tensor], int]:
    """Read a folder that ``export`` or ``save_pretrained`` wrote.

    Returns
    -------
    model, tokenizer, weights, max_tokens
        Sizes of the encoder; what turns bases into ids; fp32 weights by name in :class:`dnar2mae.models.MaskedModel`;
        tokens of the longest window that the model was trained on.

    Raises
    ------
    RunError
        If a file is missing, damaged or a pickle, files do not fit each other, or the architecture is another.
    """
    file = folder / "config.json"
    content = _read_json(file)
    kind = content.get("model_type")
    if (name := labels_class(folder)) is not None:
        raise RunError(f"{file}: a {name} predicts labels, not masked tokens; give the run that it is an export of")
    if kind == "modernbert":
        config, vocabulary = modernbert.from_config(content, str(file)), None
        weights = modernbert.from_modernbert(_read_safetensors(folder), config.depth)
    elif kind == MODEL_TYPE:
        with raising(RunError, f"{folder}: cannot be read", ConfigError):
            config, vocabulary = from_config(content, file.name)
        weights = {name.removeprefix(_PREFIX): tensor for name, tensor in _read_safetensors(folder).items()}
    else:
        raise RunError(f"{file}: expected model_type modernbert or {MODEL_TYPE}, got {kind}")
    tokenizer = read_tokenizer(folder)
    if vocabulary not in (None, tokenizer.vocabulary):
        raise RunError(f"{file}: the vocabulary is not that of tokenizer.json")
    max_tokens = content.get("max_position_embeddings", 512)
    if type(max_tokens) is not int or max_tokens < 1:
        raise RunError(f"{file}: max_position_embeddings must be a number of tokens, got {max_tokens}")
    return config, tokenizer, weights, max_tokens


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        _refuse_pickles(file.parent)
        raise RunError(
            f"{file.parent}: neither a run, nor a checkpoint of one, nor an exported folder with {file.name}"
        )
    with raising(RunError, f"{file}: not readable JSON", OSError, ValueError):
        content = json.loads(file.read_text())
    if not isinstance(content, dict):
        raise RunError(f"{file}: expected a mapping of settings to values, got a {type(content).__name__}")
    return content


def _read_safetensors(folder: Path) -> dict[str, Tensor]:
    """Read all tensors of the weights, one file or several, in fp32."""
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        _refuse_pickles(folder)
        raise RunError(f"{folder}: no model.safetensors in this folder")
    with raising(RunError, f"{folder}: the weights cannot be read", OSError, SafetensorError):
        return {name: tensor.float() for file in files for name, tensor in load_file(file).items()}


def _refuse_pickles(path: Path) -> None:
    """Raise a RunError that explains why pickles are not read, if a folder or file is of these."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    pickles = [file.name for file in files if file.is_file() and file.suffix in _PICKLES]
    if pickles:
        raise RunError(
            f"{path}: {', '.join(pickles)} may hold a pickle, which can run code when it is read; "
            "only safetensors are read (save the model again with save_pretrained)"
        )
