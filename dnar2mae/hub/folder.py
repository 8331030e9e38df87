"""Folders that ``transformers`` opens."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from dnar2mae.errors import RunError, raising
from dnar2mae.storage.safe_files import folder_written_whole, refuse_inputs
from dnar2mae.tokenizers import KmerTokenizer
from dnar2mae.tokenizers.kmer_json import write_tokenizer


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """What goes into a folder."""

    weights: dict[str, Tensor]
    """By their names in ``model.safetensors``."""
    config: dict[str, Any]
    """``config.json``."""
    tokenizer: KmerTokenizer
    """Its files."""
    max_tokens: int
    """Tokens of the longest window that the model was trained on."""
    card: str
    """``README.md``."""


def write_folder(contents: Contents, to: Path, *, source: str | Path, overwrite: bool) -> Path:
    """Write a folder, complete or not at all, and return it.

    Parameters
    ----------
    contents
        What goes into it.
    to
        The folder.
    source
        What the model was read from.
    overwrite
        Replace an earlier export in ``to``.

    Raises
    ------
    RunError
        If ``to`` is in use or cannot be written.
    ConfigError
        If ``to`` is the source or holds it.
    """
    if to.exists() and not (to.is_dir() and not any(to.iterdir())):
        if not overwrite:
            raise RunError(f"{to}: not empty; replace it with --overwrite or choose another --to")
        if not (to / "config.json").is_file():
            raise RunError(f"{to}: not an exported model, so --overwrite will not remove it")
    refuse_inputs(to, (source,), "--to")
    with raising(RunError, f"{to}: cannot write the model", OSError, SafetensorError):
        with folder_written_whole(to) as partial:
            save_file(contents.weights, partial / "model.safetensors", metadata={"format": "pt"})
            (partial / "config.json").write_text(json.dumps(contents.config, indent=1))
            write_tokenizer(contents.tokenizer, partial, contents.max_tokens)
            (partial / "README.md").write_text(contents.card)
    return to
