"""A trained model as a folder that ``transformers`` opens, a stock ModernBERT if it is one; its card and its check."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from dnar2mae.config import OptimizerConfig, PretrainConfig
from dnar2mae.errors import RunError, needing, raising
from dnar2mae.genome.store import Genome
from dnar2mae.inference.model import Model
from dnar2mae.models.modernbert import has_form
from dnar2mae.run.config_file import read_config
from dnar2mae.run.exported import to_config, to_weights
from dnar2mae.run.result import verdicts
from dnar2mae.storage.safe_files import folder_written_whole, refuse_inputs
from dnar2mae.tokenizers.kmer_json import write_tokenizer

_WINDOWS = 16
_CARD = """---
license: {license}
library_name: transformers
pipeline_tag: fill-mask
tags: [{tags}]
---

# {name}

A masked language model of DNA: {parameters:.2f} M parameters, {depth} layers of width {width}, {tokens}, trained on
windows of {window_bp} bp. {architecture}

```python
{imports}from transformers import pipeline

pipeline("fill-mask", "path/to/this/folder")("{example}")
```

Lower case is read as upper case and U as T; a token with any other letter becomes [UNK]. There is no [CLS] token:
for an embedding, average the last hidden states over the tokens.

## Training

{training}
## Held-out loss of the last step

{results}
## Limits

The model knows the genomes above and no others. Scores of sequences from elsewhere, or longer than {window_bp} bp, are
extrapolations. It is a research tool, not a medical device.
"""

_MODERNBERT = "The architecture is `ModernBertForMaskedLM`; no remote code is needed."
_OWN = """The architecture is `Dnar2maeForMaskedLM` with the backbone `{backbone}`: `pip install 'dnar2mae[hf]'`, and
`import dnar2mae.hub` makes it known to transformers; no remote code is needed."""


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
    ConfigError
        If ``to`` is the source or holds it.
    """
    model, to = Model.from_pretrained(source, device="cpu"), Path(to)
    if model.module.decoder is not None:
        raise RunError(f"{source}: a model of objective mae has a decoder, which ModernBERT lacks; export needs mlm")
    if to.exists() and not (to.is_dir() and not any(to.iterdir())):
        if not overwrite:
            raise RunError(f"{to}: not empty; replace it with --overwrite or choose another --to")
        if not (to / "config.json").is_file():
            raise RunError(f"{to}: not an exported model, so --overwrite will not remove it")
    refuse_inputs(to, (source,), "--to")
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


class Parity(NamedTuple):
    """The result of a comparison."""

    windows: int
    tokens: int
    largest: float
    """Largest difference of a real token's logit, fp32."""
    scale: float
    """Largest magnitude of such a logit."""


def compare(source: str | Path, folder: str | Path, genome: str | Path) -> Parity:
    """Run sequence through ``transformers`` and through us: tokenizer, padding, attention mask, logits.

    Parameters
    ----------
    source
        The source of the export.
    folder
        The exported folder.
    genome
        Sequence file. Up to 16 windows spread over its longest sequence are taken, each shorter than the one before
        by a few bases, so that all but the first are padded.

    Returns
    -------
    Parity
        Sizes and the largest difference.

    Raises
    ------
    RunError
        If transformers is missing or its tokenizer has other ids than ours.
    SequenceError
        If the genome cannot be read.
    """
    with needing("--check", "transformers", "dnar2mae[hf]", RunError):
        from transformers import AutoModelForMaskedLM, AutoTokenizer, logging
    logging.disable_progress_bar()
    ours, theirs = Model.from_pretrained(source, device="cpu"), AutoModelForMaskedLM.from_pretrained(folder).eval()
    tokenizer, opened = AutoTokenizer.from_pretrained(folder), Genome.open(genome)
    longest = int(np.argmax(opened.lengths))
    name, total = opened.names[longest], int(opened.lengths[longest])
    length = min(ours.window_bp, total)
    starts = np.unique(np.linspace(0, total - length, _WINDOWS).astype(int)).tolist()
    # Unequal lengths make padding, so that attention masks are compared as well.
    ends = [start + max(length - 7 * i, length // 2) for i, start in enumerate(starts)]
    texts = [opened.fetch(name, start, end) for start, end in zip(starts, ends, strict=True)]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    valid = batch["attention_mask"].bool()
    expected = np.concatenate([ours.tokenizer.encode_text(text) for text in texts])
    if not np.array_equal(batch["input_ids"][valid].numpy(), expected):
        raise RunError(f"{folder}: the tokenizer has other ids in transformers than in this package")
    shown = batch["input_ids"].clone()
    # Every seventh token is masked, so that [MASK] is compared as well.
    shown[:, ::7] = torch.where(valid[:, ::7], ours.tokenizer.vocabulary.mask_id, shown[:, ::7])
    real = ours.tokenizer.vocabulary.real
    with torch.inference_mode():
        mine = ours.module.logits(ours.module(shown, valid))[valid][:, real]
        reference = theirs(input_ids=shown, attention_mask=batch["attention_mask"]).logits[valid][:, real]
    largest, scale = float((mine - reference).abs().max()), float(reference.abs().max())
    return Parity(len(texts), int(valid.sum()), largest, scale)


def model_card(model: Model, run: Path | None, license: str, *, name: str) -> str:
    """Write the card in Markdown, with the metadata block that the Hugging Face hub reads.

    Parameters
    ----------
    model
        The model.
    run
        Its run directory, for data, law, steps and losses; None if they are not recorded.
    license
        Licence identifier.
    name
        Title.
    """
    k, stride = model.tokenizer.k, model.tokenizer.stride
    unknown = "Not recorded: this model was not exported from a run.\n"
    training = results = unknown
    if run is not None:
        training = _training(read_config(run / "config.yaml", whole=True), model.source)
        summary = run / "summary.json"
        results = _results(json.loads(summary.read_text())) if summary.is_file() else "Not recorded: unfinished run.\n"
    is_modernbert = has_form(model.config)
    return _CARD.format(
        license=license,
        tags=", ".join(["dna", "genomics", "biology", *["modernbert"] * is_modernbert, "dnar2mae"]),
        architecture=_MODERNBERT if is_modernbert else _OWN.format(backbone=model.config.backbone),
        imports="" if is_modernbert else "import dnar2mae.hub\n",
        name=name,
        parameters=sum(p.numel() for p in model.module.parameters()) / 1e6,
        depth=model.config.depth,
        width=model.config.width,
        tokens="one token a base" if k == 1 else f"tokens of {k} bases, one every {stride}",
        window_bp=model.window_bp,
        example=("ACGTTG"[:k] if k > 1 else "ACGTTG") + "[MASK]" + ("GATTACAC"[:k] if k > 1 else "ATTACA"),
        training=training,
        results=results,
    )


def _training(config: PretrainConfig, source: str) -> str:
    data = config.data
    rows = {
        "genomes": ", ".join(Path(path).name for path in data.genomes),
        "windows": f"{data.window_bp} bp, " + ("either strand" if data.reverse_complement else "forward strand"),
        "masking": config.mask.ratio_law().phrase(config.mask.per),
        "shown in place of masked tokens": "{:.0%} [MASK], {:.0%} a random token, {:.0%} itself".format(
            *config.mask.replace
        ),
        "steps": f"{config.steps} of {config.batch_size} windows; weights of {Path(source).name}",
        "optimizer": _optimizer(config.optimizer),
        "seed": str(config.seed),
    }
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows.items())


def _optimizer(config: OptimizerConfig) -> str:
    muon = f"Muon for the layers, peak rate {config.muon_lr}, and " if config.muon_lr is not None else ""
    return f"{muon}AdamW, peak rate {config.lr}, {config.schedule} schedule"


def _results(summary: dict[str, Any]) -> str:
    rows = [("this model, mask ratio 0.15", summary["held_out"])]
    rows += [(f"this model, mask ratio {r}", v) for r, v in summary["curve"].items() if r != "0.15"]
    rows += [("untrained model, mask ratio 0.15", summary["untrained"]), *summary["yardstick"].items()]
    table = f"| model | {summary['unit']} |\n|---|---|\n" + "".join(f"| {n} | {v:.4f} |\n" for n, v in rows)
    lines = verdicts(summary["unit"], summary.get("margin", {}))  # runs of earlier versions have none
    return table + ("\nAt mask ratio 0.15: " + " ".join(lines) + "\n" if lines else "")
