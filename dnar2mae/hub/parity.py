"""An exported folder beside its source: the same sequence through ``transformers`` and through this package."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dnar2mae.errors import RunError, SequenceError, needing
from dnar2mae.finetuning.saved import TunedModel, is_tuned, load
from dnar2mae.genome.store import Genome
from dnar2mae.hub.tuned import tuned_logits
from dnar2mae.inference.model import Model

_WINDOWS = 16


class Parity(NamedTuple):
    """The result of a comparison."""

    windows: int
    tokens: int
    largest: float
    """Largest difference of a logit, of a real token or of a label, fp32."""
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
        If the genome cannot be read, or, of a model of labels of sequences, no window is free of unknown bases.
    """
    with needing("--check", "transformers", "dnar2mae[hf]", RunError):
        from transformers import AutoTokenizer, logging
    logging.disable_progress_bar()
    tuned = load(source, device="cpu") if is_tuned(source) else None
    ours = Model.of(tuned.trained) if tuned else Model.from_pretrained(source, device="cpu")
    texts = _windows(genome, ours.window_bp)
    batch = AutoTokenizer.from_pretrained(folder)(texts, return_tensors="pt", padding=True)
    valid = batch["attention_mask"].bool()
    expected = np.concatenate([ours.tokenizer.encode_text(text) for text in texts])
    if not np.array_equal(batch["input_ids"][valid].numpy(), expected):
        raise RunError(f"{folder}: the tokenizer has other ids in transformers than in this package")
    if tuned:
        mine, reference = _labels(tuned, folder, texts, batch)
    else:
        mine, reference = _masked_tokens(ours, folder, batch["input_ids"].clone(), valid)
    largest, scale = float((mine - reference).abs().max()), float(reference.abs().max())
    return Parity(len(texts), int(valid.sum()), largest, scale)


def _windows(genome: str | Path, window_bp: int) -> list[str]:
    """Return sequences of unequal lengths, which make padding, so that attention masks are compared as well."""
    opened = Genome.open(genome)
    longest = int(np.argmax(opened.lengths))
    name, total = opened.names[longest], int(opened.lengths[longest])
    length = min(window_bp, total)
    starts = np.unique(np.linspace(0, total - length, _WINDOWS).astype(int)).tolist()
    ends = [start + max(length - 7 * i, length // 2) for i, start in enumerate(starts)]
    return [opened.fetch(name, start, end) for start, end in zip(starts, ends, strict=True)]


def _masked_tokens(
    ours: Model, folder: str | Path, shown: Int[Tensor, "B T"], valid: Bool[Tensor, "B T"]
) -> tuple[Float[Tensor, "M V"], Float[Tensor, "M V"]]:
    """Return the logits of real tokens where every seventh token is masked, so that [MASK] is compared as well."""
    from transformers import AutoModelForMaskedLM

    shown[:, ::7] = torch.where(valid[:, ::7], ours.tokenizer.vocabulary.mask_id, shown[:, ::7])
    real = ours.tokenizer.vocabulary.real
    with torch.inference_mode():
        mine = ours.module.logits(ours.module(shown, valid))[valid][:, real]
        theirs = AutoModelForMaskedLM.from_pretrained(folder).eval()
        return mine, theirs(input_ids=shown, attention_mask=valid.long()).logits[valid][:, real]


def _labels(
    tuned: TunedModel, folder: str | Path, texts: list[str], batch: Any
) -> tuple[Float[Tensor, "M K"], Float[Tensor, "M K"]]:
    """Return the logits of labels: of each base that is known, or of each sequence all of whose bases are."""
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    per_base = tuned.target.per == "base"
    kind = AutoModelForTokenClassification if per_base else AutoModelForSequenceClassification
    mine = torch.from_numpy(tuned_logits(tuned, texts))
    with torch.inference_mode():
        theirs = kind.from_pretrained(folder).eval()(**batch).logits
    if per_base:
        compared = ~mine.isnan().any(-1)
    else:
        is_known = tuned.trained.modality.vocabulary.is_real(batch["input_ids"]) | ~batch["attention_mask"].bool()
        compared = is_known.all(1)
    if not compared.any():
        raise SequenceError("--check: every window has an unknown base; give other sequences")
    return mine[compared], theirs[compared]
