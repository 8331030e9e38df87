"""A trained model as a folder that ``transformers`` opens, a stock ModernBERT if it is one; its card."""

import json
from pathlib import Path
from typing import Any

from dnar2mae.config import OptimizerConfig, PretrainConfig
from dnar2mae.errors import RunError
from dnar2mae.finetuning.saved import is_tuned
from dnar2mae.hub.folder import Contents, write_folder
from dnar2mae.hub.tuned import export_tuned
from dnar2mae.inference.model import Model
from dnar2mae.models.modernbert import has_form
from dnar2mae.run.config_file import read_config
from dnar2mae.run.exported import to_config, to_weights
from dnar2mae.run.result import copies_lines, unique_lines, verdicts

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
    ``import dnar2mae.hub`` makes known to ``transformers``. A fine-tuned run: see :mod:`dnar2mae.hub.tuned`.

    Parameters
    ----------
    source
        A run, a checkpoint or an exported folder, as for :meth:`Model.from_pretrained`; or a fine-tuned run.
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
        If the source cannot be read, its objective is ``mae``, or ``to`` is in use or cannot be written; of a
        fine-tuned run, if it has no counterpart in ``transformers``.
    ConfigError
        If ``to`` is the source or holds it.
    """
    if is_tuned(source):
        return export_tuned(source, Path(to), license=license, overwrite=overwrite)
    model, to = Model.from_pretrained(source, device="cpu"), Path(to)
    if model.module.decoder is not None:
        raise RunError(f"{source}: a model of objective mae has a decoder, which ModernBERT lacks; export needs mlm")
    max_tokens = model.tokenizer.num_tokens(model.window_bp)
    contents = Contents(
        weights=to_weights(model.config, model.module.state_dict()),
        config=to_config(model.config, model.tokenizer, max_tokens),
        tokenizer=model.tokenizer,
        max_tokens=max_tokens,
        card=model_card(model, run_of(source), license, name=to.absolute().name),
    )
    return write_folder(contents, to, source=source, overwrite=overwrite)


def run_of(source: str | Path) -> Path | None:
    """Return the run directory that a path or a checkpoint belongs to, if any."""
    source = Path(source).absolute()
    return next((p for p in (source, source.parent.parent) if (p / "config.yaml").is_file()), None)


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
        **({"drawn by annotated class": data.mixture.replace(",", ", ")} if data.mixture else {}),
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
    classes = summary.get("classes", {}).items()  # runs of earlier versions have none
    rows += [(f"this model, middle {name}", own["value"]) for name, own in classes if own["value"] is not None]
    rows += [("untrained model, mask ratio 0.15", summary["untrained"]), *summary["yardstick"].items()]
    table = f"| model | {summary['unit']} |\n|---|---|\n" + "".join(f"| {n} | {v:.4f} |\n" for n, v in rows)
    lines = [
        *verdicts(summary["unit"], summary.get("margin", {})),
        *unique_lines(summary["unit"], summary.get("unique", {})),
        *copies_lines(summary["held_out"], summary["unit"], summary.get("copies", {}), summary.get("bound", {})),
    ]
    return table + ("\nAt mask ratio 0.15: " + " ".join(lines) + "\n" if lines else "")
