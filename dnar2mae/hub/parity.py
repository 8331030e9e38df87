"""An exported folder as ``transformers`` computes it, against the model that it came from."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from dnar2mae.errors import RunError, needing
from dnar2mae.genome.store import Genome
from dnar2mae.inference.model import Model

_WINDOWS = 16


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
