"""Named recipes: who trains, and with which flags of ``dnar2mae pretrain`` (on top of the preset ``tiny``).

A recipe of our own is what ``dnar2mae pretrain GENOME FLAGS`` does. Of the others' the flags state what they share with
us: sizes, windows, batch, peak learning rate, warm-up; everything else is their default, or what they published. To
add one, add a line.
"""

import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import tyro

from dnar2mae.benchmarks.speed.learners import GpnLearner, Learner, ModernBertLearner, OurLearner
from dnar2mae.config import DataConfig, PretrainConfig
from dnar2mae.presets import PRESETS

# stated, so that these recipes stay what they are when the preset moves on
_SIZES = "--model.width 128 --model.depth 6 --model.mlp-width 192 --batch-size 8 --data.window-bp 512"
_ATTENTION = "--model.backbone transformer --model.heads 2 --model.global-every 3 --model.local-tokens 32"
_ATTENTION += " --model.local-rope-theta 10000"
_FULL = "--model.backbone cnn --model.conv-groups 1 --model.strand-symmetric False"
_BEFORE = "--mask.per batch --mask.replace 0.8 0.1 0.1 --optimizer.muon-lr None"
_BERT = f"{_SIZES} {_ATTENTION} --mask.law fixed --mask.ratio 0.15"

RECIPES: dict[str, tuple[type[Learner], str]] = {
    "tiny": (OurLearner, ""),
    "transformer": (OurLearner, "--model.backbone transformer"),
    "hybrid": (OurLearner, "--model.backbone hybrid --model.depth 8 --model.global-every 4"),
    "transformer-adamw": (OurLearner, f"{_SIZES} {_ATTENTION} {_BEFORE} --optimizer.lr 2e-3"),
    "cnn-adamw": (OurLearner, f"{_SIZES} {_FULL} {_BEFORE} --optimizer.lr 4e-3"),
    "modernbert-default": (ModernBertLearner, f"{_BERT} --optimizer.lr 5e-5 --optimizer.warmup-steps 0"),
    "modernbert-tuned": (ModernBertLearner, f"{_BERT} --optimizer.lr 2e-3 --optimizer.warmup-steps 100"),
    "gpn": (GpnLearner, f"{_SIZES} --optimizer.lr 1e-3 --optimizer.warmup-steps 100"),
}


def recipe_config(name: str, genome: Path, **settings: Any) -> PretrainConfig:
    """Return the configuration of a recipe on a genome, a FASTA or GenBank file.

    ``settings`` are fields of :class:`dnar2mae.config.PretrainConfig` to set besides, such as ``seed`` and ``steps``.
    """
    config = _parsed(RECIPES[name][1])
    return replace(config, data=replace(config.data, genomes=(str(genome),)), **settings)


@cache
def _parsed(flags: str) -> PretrainConfig:
    """Return the settings of ``dnar2mae pretrain --preset tiny`` with these flags."""
    return tyro.cli(PretrainConfig[DataConfig], default=PRESETS["tiny"](), args=shlex.split(flags))
