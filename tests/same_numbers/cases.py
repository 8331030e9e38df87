"""What two commits are asked to compute: short runs of every kind, and the scores of variants.

Flags are those of ``dnar2mae pretrain``. Outputs go to the folder in which a side works, so their paths are relative.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from tests.modalities import kinds

Case = dict[str, Any]

_SIZES = """--steps 50 --batch-size 8 --seed 0 --validate-every 50 --validation-windows 8 --optimizer.warmup-steps 5
    --model.width 32 --model.depth 2 --model.heads 2 --model.mlp-width 32 --model.decoder-width 16
    --model.global-every 2 --model.local-tokens 16 --device cpu --precision fp32"""
_RECIPE = """--mask.per batch --mask.replace 0.8 0.1 0.1 --optimizer.lr 2e-3 --optimizer.schedule cosine
    --optimizer.final-lr-share 0.02 --optimizer.decay-share 0.2 --model.local-rope-theta 10000"""
"""What presets have changed since these cases were first run: stated, so that the same settings are compared."""
_DNA = "DATA/genome.fa --data.window-bp 96 --data.max-n-share 0.3"
_TEXT = "DATA/words.txt --modality text --data.split line"
_IMAGE = "DATA/gradients.npy --modality image --data.patch 2 --data.shift 1"
_CELL = "DATA/cells.h5ad --modality cell --mask.low 0.05 --mask.high 0.5 --data.validation-share 0.3"
_WHOLE = f"{_CELL} --data.encoding whole --data.block-cells 4 --data.buffer-cells 16"

TOKENIZERS = {
    "dna-bpe": "DATA/genome.fa --modality dna --vocabulary-size 32",
    "dna-unigram": "DATA/genome.fa --modality dna --vocabulary-size 32 --kind unigram",
    "text-bpe": "DATA/words.txt --vocabulary-size 280",
    "text-wordpiece": "DATA/words.txt --vocabulary-size 64 --kind wordpiece",
}

EVERY_MODEL = {
    "dna": _DNA,
    "dna, 6-mers, stride 1": f"{_DNA} --tokenizer.k 6 --tokenizer.stride 1",
    "dna, bpe": f"{_DNA} --tokenizer.file dna-bpe.json",
    "text": f"{_TEXT} --data.window-tokens 64",
    "text, bpe, one row a document": f"{_TEXT} --data.window-tokens 24 --data.no-pack --tokenizer.file text-bpe.json",
    "image": _IMAGE,
    "cell, genes": f"{_CELL} --data.num-tokens 16 --data.normalisation log1p_cp10k",
    "cell, whole": f"{_WHOLE} --data.normalisation counts",
}
"""Kinds of data that are trained with every backbone and every objective."""
BACKBONES, OBJECTIVES = ("transformer", "cnn", "mlp"), ("mlm", "mae")

ONE_MODEL = {
    "dna, 3-mers": f"{_DNA} --tokenizer.k 3",
    "dna, 4-mers, stride 2": f"{_DNA} --tokenizer.k 4 --tokenizer.stride 2",
    "dna, law fixed": f"{_DNA} --mask.law fixed --mask.ratio 0.3",
    "dna, law choice": f"{_DNA} --mask.law choice --mask.ratios 0.1 0.4 0.7",
    "dna, law linear": f"{_DNA} --mask.law linear",
    "dna, law cosine": f"{_DNA} --mask.law cosine",
    "dna, a ratio per sample": f"{_DNA} --mask.per sample",
    "dna, a choice per sample": f"{_DNA} --mask.per sample --mask.law choice",
    "dna, a ratio per sample, mae": f"{_DNA} --mask.per sample --model.objective mae",
    "dna, high ratios, mae": f"{_DNA} --mask.low 0.7 --mask.high 0.9 --model.objective mae --model.decoder-depth 2",
    "dna, spans": f"{_DNA} --mask.placement spans",
    "dna, spans of 6-mers": f"{_DNA} --mask.placement spans --tokenizer.k 6 --tokenizer.stride 1",
    "dna, pmi": f"{_DNA} --mask.placement pmi",
    "text, pmi": f"{_TEXT} --data.window-tokens 64 --mask.placement pmi --mask.pmi-length 2",
    "dna, weighting token": f"{_DNA} --mask.weighting token",
    "dna, weighting token, linear": f"{_DNA} --mask.weighting token --mask.law linear --mask.per sample",
    "dna, all shown as [MASK]": f"{_DNA} --mask.replace 1 0 0",
    "dna, soft-mask weight": f"{_DNA} --data.soft-mask-weight 0.1",
    "dna, soft-mask weight, 3-mers": f"{_DNA} --data.soft-mask-weight 0.1 --tokenizer.k 3 --mask.weighting token",
    "dna, one strand, named split": f"{_DNA} --data.no-reverse-complement --data.validation two",
    "dna, regions and blocks": f"{_DNA} --data.exclude DATA/exclude.bed --data.validation-blocks 3",
    "dna, two genomes": f"{_DNA} --data.weights 1 3".replace("genome.fa", "genome.fa DATA/other.fa"),
    "dna, unigram": f"{_DNA} --tokenizer.file dna-unigram.json",
    "dna, micro-batches, checkpointing": f"{_DNA} --micro-batch 2 --gradient-checkpointing",
    "dna, wsd, no clip": f"{_DNA} --optimizer.schedule wsd --optimizer.clip 0",
    "dna, constant rate, spikes": f"{_DNA} --optimizer.schedule constant --optimizer.spike 1.5",
    "dna, from the weights of a run": f"{_DNA} --init dna-transformer-mlm",
    "dna, wide convolution": f"{_DNA} --model.backbone cnn --model.conv-kernel 5 --mask.law fixed",
    "dna, seed 7": f"{_DNA} --seed 7",
    "text, wordpiece": f"{_TEXT} --data.window-tokens 24 --tokenizer.file text-wordpiece.json",
    "image, pixels, flip": f"{_IMAGE} --data.no-normalise-patches --data.flip --mask.per sample",
    "image, few channels": f"{_IMAGE} --model.backbone mlp --model.objective mlm --model.mlp-channels 2",
    "cell, genes, counts": f"{_CELL} --data.num-tokens 16 --data.normalisation counts --data.likelihood poisson",
    "cell, whole, values": f"{_WHOLE} --data.normalisation none --model.backbone mlp",
}

SCORED = {
    "dna, transformer, mlm": {"distance": True},
    "dna, cnn, mlm": {"both_strands": False},
    "dna, transformer, mae": {},
    "dna, 3-mers": {"distance": True},
    "dna, 4-mers, stride 2": {"window_bp": 64},
    "dna, 6-mers, stride 1, transformer, mlm": {"indel_flank_bp": 2},
    "dna, bpe, transformer, mlm": {},
}
"""Runs that score variants, and how."""


def make_cases(data: Path) -> list[Case]:
    """List all cases in the order in which they must be run, as JSON can hold them.

    Parameters
    ----------
    data
        Folder of :func:`write_data`.
    """
    trained = [
        *((name, f"tokenizer train {flags} --out {name}.json", f"{name}.json") for name, flags in TOKENIZERS.items()),
        *(
            _pretraining(
                f"{kind}, {backbone}, {objective}", f"{flags} --model.backbone {backbone} --model.objective {objective}"
            )
            for (kind, flags), backbone, objective in itertools.product(EVERY_MODEL.items(), BACKBONES, OBJECTIVES)
        ),
        *(_pretraining(name, flags) for name, flags in ONE_MODEL.items()),
    ]
    commands = [
        {"name": name, "command": command.replace("DATA", str(data)).split(), "out": out}
        for name, command, out in trained
    ]
    genome, variants = str(data / "genome.fa"), _variants(data / "genome.fa")
    scored = [
        {"name": f"variants by {run}", "run": _folder(run), "genome": genome, "variants": variants, "options": options}
        for run, options in SCORED.items()
    ]
    return commands + scored


def write_data(folder: Path) -> None:
    """Write small files of every kind: the genome has repeats in lower case and unknown bases."""
    rng = np.random.default_rng(0)
    for name in ("genome.fa", "other.fa"):
        bases = rng.choice(list("ACGT"), 9000, p=[0.4, 0.1, 0.1, 0.4])
        bases[1::5] = "G"  # something to learn
        bases[rng.integers(0, 9000, 30)] = "N"
        for start in range(0, 9000, 900):
            bases[start : start + 120] = np.char.lower(bases[start : start + 120])
        (folder / name).write_text(f">one\n{''.join(bases[:6000])}\n>two\n{''.join(bases[6000:])}\n")
    (folder / "exclude.bed").write_text("one\t1000\t1500\ntwo\t0\t300\n")
    kinds.text(folder)
    kinds.image(folder)
    kinds.write_cells(folder / "cells.h5ad", kinds.cell_counts()[0])


def _pretraining(name: str, flags: str) -> tuple[str, str, str]:
    return name, f"pretrain {_SIZES} {_RECIPE} {flags} --out {_folder(name)}", _folder(name)


def _folder(name: str) -> str:
    """Run directory of a case."""
    return name.replace(",", "").replace(" ", "-")


def _variants(genome: Path) -> list[tuple[str, int, str, str]]:
    """A hundred variants of the first sequence: 80 substitutions, 10 deletions, 10 insertions, some near its ends."""
    sequence = genome.read_text().split("\n")[1].upper()
    rng = np.random.default_rng(1)
    starts = [3, len(sequence) - 9, *rng.integers(3, len(sequence) - 9, 2000).tolist()]
    known = [start for start in starts if "N" not in sequence[start : start + 5]][:100]
    variants = []
    for i, start in enumerate(known):
        base = sequence[start]
        longer = sequence[start : start + 2 + i % 4]
        other = "ACGT".replace(base, "")[i % 3]
        ref, alt = [(base, other), (longer, base), (base, base + other * (1 + i % 3))][max(i % 10 - 7, 0)]
        variants.append(("one", start, ref, alt))
    return variants
