"""A trained model as a folder that ``transformers`` opens: a stock ModernBERT if it is one."""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file

from dnar2mae.errors import RunError, raising
from dnar2mae.hub.card import model_card
from dnar2mae.inference.model import Model
from dnar2mae.run.exported import to_config, to_weights
from dnar2mae.storage.safe_files import folder_written_whole
from dnar2mae.tokenizers.kmer_json import write_tokenizer


def export(source: str | Path, to: str | Path, *, license: str = "unknown", overwrite: bool = False) -> Path:
    """Write a model as ``transformers`` reads it without remote code; the folder is complete or absent.

    A Transformer becomes a stock ``ModernBertForMaskedLM``; any other backbone a ``Dnar2maeForMaskedLM``, which
    ``import dnar2mae.hub`` makes known to ``transformers``.

    Parameters
    ----------
    source
        A run, a checkpoint or an exported folder, as for :meth:`Model.from_pretrained`.
    to
        Folder for ``config.json``, ``model.safetensors``, the tokenizer's files and ``README.md``, the model card.
    license
        Licence of the weights for the card: an identifier such as ``apache-2.0`` or ``cc-by-4.0``.
    overwrite
        Replace an earlier export in ``to``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    RunError
        If the source cannot be read, its objective is ``mae``, or ``to`` is in use or cannot be written.
    """
    model, to = Model.from_pretrained(source, device="cpu"), Path(to)
    if model.module.decoder is not None:
        raise RunError(f"{source}: a model of objective mae has a decoder, which ModernBERT lacks; export needs mlm")
    if to.exists() and not (to.is_dir() and not any(to.iterdir())):
        if not overwrite:
            raise RunError(f"{to}: not empty; replace it with --overwrite or choose another --to")
        if not (to / "config.json").is_file():
            raise RunError(f"{to}: not an exported model, so --overwrite will not remove it")
    max_tokens = model.tokenizer.num_tokens(model.window_bp)
    with raising(RunError, f"{to}: cannot write the model", OSError, SafetensorError):
        with folder_written_whole(to) as partial:
            weights = to_weights(model.config, model.module.state_dict())
            save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
            config = to_config(model.config, model.tokenizer, max_tokens)
            (partial / "config.json").write_text(json.dumps(config, indent=1))
            write_tokenizer(model.tokenizer, partial, max_tokens)
            (partial / "README.md").write_text(model_card(model, run_of(source), license, name=to.absolute().name))
    return to


def run_of(source: str | Path) -> Path | None:
    """Return the run directory that a path or a checkpoint belongs to, if any."""
    source = Path(source).absolute()
    return next((p for p in (source, source.parent.parent) if (p / "config.yaml").is_file()), None)
