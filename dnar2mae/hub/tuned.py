"""A fine-tuned Transformer as a stock ModernBERT with a head for labels.

A run on samples becomes a ``ModernBertForSequenceClassification``, one on bases a ``ModernBertForTokenClassification``.
Their logits are what predictions follow from: those of classes and labels are divided by the temperature, numbers are
in the unit of the labels, and of counts it is the logarithm.
"""

import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from dnar2mae.errors import RunError
from dnar2mae.finetuning.problem import outputs_of
from dnar2mae.finetuning.samples import context_bp, of_letters
from dnar2mae.finetuning.saved import TunedModel, load
from dnar2mae.finetuning.targets import Classes, Counts, Numbers, Target
from dnar2mae.hub.folder import Contents, write_folder
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.models.modernbert import to_classifier, to_classifier_config, to_config
from dnar2mae.tokenizers import KmerTokenizer

_PROBLEMS = {
    "classes": "single_label_classification",
    "labels": "multi_label_classification",
    "numbers": "regression",
    "counts": "regression",
}
_MEANING = {
    "classes": "The softmax of the logits is the probability of each class",
    "labels": "The sigmoid of a logit is the probability of its label",
    "numbers": "A logit is the predicted number",
    "counts": "The exponential of a logit is the expected count",
}
_CARD = """---
license: {license}
library_name: transformers
pipeline_tag: {task}
tags: [dna, genomics, biology, modernbert, dnar2mae]
---

# {name}

A model of DNA, fine-tuned on {kind} of each {per}. The architecture is `{architecture}`; no remote code
is needed.

```python
import torch
from transformers import AutoModelFor{head}, AutoTokenizer

model = AutoModelFor{head}.from_pretrained("path/to/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
with torch.inference_mode():
    logits = model(**tokenizer(["ACGTTGCA"], return_tensors="pt")).logits
```

{meaning}: {labels}. {notes}

Keep the weights in float32 or bfloat16: the linear head is written in the form of ModernBERT's, whose dense layer then
has numbers that float16 cannot hold. To train it further, start from the run instead.

## Scores on test

{scores}
## Limits

The model knows sequences like those that it was trained on, of at most {window_bp} bp. It is a research tool, not a
medical device.
"""
_BOTH = "`dnar2mae predict` averages predictions over both strands; here, run the reverse complement, too. "
_UNKNOWN = "`dnar2mae predict` leaves tokens with an N out of the mean; here they count."


def export_tuned(source: str | Path, to: Path, *, license: str, overwrite: bool) -> Path:
    """Write a fine-tuned run as :func:`dnar2mae.hub.export` does, and return the folder.

    Raises
    ------
    RunError
        If the run cannot be read, its backbone is no Transformer or its samples no DNA by single bases or k-mers, it
        has more outputs than ModernBERT's head can have, or ``to`` is in use or cannot be written.
    ConfigError
        If ``to`` is the source or holds it.
    """
    tuned = load(source, device="cpu")
    tokenizer, config = _tokenizer(tuned), tuned.trained.config.model
    if config.backbone != "transformer":
        raise RunError(
            f"{source}: transformers has labels for a Transformer only, got --model.backbone {config.backbone}"
        )
    if tuned.network.reading == "parts":
        raise RunError(
            f"{source}: ModernBERT's head reads the mean over tokens, this one the parts of a sequence; tune it with "
            "--pooling vector"
        )
    if tuned.target.num_outputs >= config.width:
        raise RunError(
            f"{source}: a ModernBERT of width {config.width} has room for {config.width - 1} outputs, got "
            f"{tuned.target.num_outputs}"
        )
    scale, shift = logits_of(tuned.target)
    max_tokens = tokenizer.num_tokens(context_bp(tuned.trained))
    weights = to_classifier(
        tuned.trained.model.state_dict(),
        tuned.head.weight.detach() * scale[:, None],
        tuned.head.bias.detach() * scale + shift,
    )
    content = to_classifier_config(
        to_config(config, tokenizer, max_tokens),
        _outputs(tuned.target),
        _PROBLEMS[tuned.target.kind],
        per_token=tuned.target.per == "base",
    )
    card = _card(tuned, Path(source), content["architectures"][0], license, to.absolute().name)
    contents = Contents(weights=weights, config=content, tokenizer=tokenizer, max_tokens=max_tokens, card=card)
    return write_folder(contents, to, source=source, overwrite=overwrite)


def logits_of(target: Target) -> tuple[Float[torch.Tensor, " K"], Float[torch.Tensor, " K"]]:
    """Return by what outputs are multiplied, and what is then added, so that they are logits as they are exported."""
    ones, zeros = torch.ones(target.num_outputs), torch.zeros(target.num_outputs)
    if isinstance(target, Numbers):
        return torch.tensor(target.sd), torch.tensor(target.mean)
    if isinstance(target, Counts):
        return ones, torch.tensor(target.mean).log()
    return ones / target.temperature, zeros


def tuned_logits(tuned: TunedModel, texts: list[str]) -> Float[np.ndarray, "S *T K"]:
    """Return the logits of sequences on the strand that is given; NaN at unknown bases and past the ends."""
    outputs = outputs_of(tuned.network, of_letters(tuned.trained, texts), np.arange(len(texts)))
    scale, shift = (part.numpy() for part in logits_of(tuned.target))
    return outputs * scale + shift


def _tokenizer(tuned: TunedModel) -> KmerTokenizer:
    modality = tuned.trained.modality
    tokenizer = modality.tokenizer if isinstance(modality, DnaModality) else None
    if not isinstance(tokenizer, KmerTokenizer):
        raise RunError(f"{tuned.source}: export needs a model of DNA by single bases or k-mers")
    return tokenizer


def _outputs(target: Target) -> tuple[str, ...]:
    return target.classes if isinstance(target, Classes) else target.columns


def _card(tuned: TunedModel, run: Path, architecture: str, license: str, name: str) -> str:
    target, per_base = tuned.target, tuned.target.per == "base"
    return _CARD.format(
        license=license,
        name=name,
        task="token-classification" if per_base else "text-classification",
        kind=target.kind,
        per="base" if per_base else "sequence",
        architecture=architecture,
        head="TokenClassification" if per_base else "SequenceClassification",
        meaning=_MEANING[target.kind],
        labels=", ".join(_outputs(target)),
        notes=_BOTH * tuned.config.both_strands + ("" if per_base else _UNKNOWN),
        scores=_scores(run / "summary.json"),
        window_bp=context_bp(tuned.trained),
    )


def _scores(summary: Path) -> str:
    if not summary.is_file():
        return "Not recorded: unfinished run.\n"
    rows = [
        [name, *("" if found[part] is None else f"{found[part]:.4f}" for part in ("value", "low", "high"))]
        for name, found in json.loads(summary.read_text())["scores"].items()
    ]
    return "| score | value | 95 % from | to |\n|---|---|---|---|\n" + "".join(f"| {' | '.join(r)} |\n" for r in rows)
