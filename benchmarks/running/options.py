"""Options of a run over a suite; importing them is quick."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from tyro.conf import arg

from dnar2mae.errors import ConfigError, require, require_ranges

Method = Literal["probe", "knn", "cnn-head", "finetune", "lora"]
METHODS: tuple[Method, ...] = get_args(Method)
VectorKind = Literal["vector", "last", "middle", "all", "units", "bins", "bins8", "early_bins", "early_bins8", "centre"]
"""vector: what ``embed`` gives; the others are mean and maximum over tokens, of layers, of the hidden units of their
feed-forward blocks, or of the last or an early layer in parts of the input; centre: the last layer's tokens in the
middle of a sequence."""
Baseline = Literal["random", "raw", "combined", "cnn"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
INNER_FOLDS = 3
"""Folds among the labelled rows in which few-labels chooses scaling and penalty."""


LEAST_FOLDS = 3
"""Folds of a suite: one is tested, one is dev, and one at least is learned from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedModels:
    """Models to judge."""

    model: tuple[str, ...] = ()
    """Runs, checkpoints, exported or local Hugging Face folders, each as PATH or NAME=PATH; several of one NAME are
    runs of one recipe."""
    trust_remote_code: bool = False
    """Run Python code that a Hugging Face folder brings with it."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteOptions:
    """Methods, seeds and controls of a run over a suite."""

    methods: Annotated[tuple[Method, ...], arg(name="method")] = ("probe",)
    """probe: logistic regression on frozen vectors; knn: nearest neighbours; cnn-head: a small convolution over frozen
    vectors of tokens; finetune: all weights; lora."""
    num_seeds: Annotated[int | None, arg(name="seeds")] = None
    """How many seeds, for what depends on one; by default the protocol's. Beyond them they count on. Each of several
    runs of a recipe has one."""
    baselines: tuple[Baseline, ...] | None = None
    """Controls, by default the protocol's. random: random weights of each model; raw: what a classifier would take
    without a network (k-mer counts, pixels, expression, n-grams); combined: raw and each model's vectors side by side;
    cnn: the small CNN (DNA only)."""
    both_strands: bool = False
    """Average over a sequence and its reverse complement."""
    folds: int | None = None
    """Test every row, in this many folds (5 suits small suites), by probe or knn: by the mean of the classifiers that
    have each of the other folds as dev. Rows with the same text in the column group share a fold (a build writes one),
    else equal ones. By default the test split."""
    allow_truncation: bool = False
    """Let a model with a limited context see the beginning only of longer sequences."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 runs the encoders' matrix products in bfloat16: faster where the hardware has it, rounded to 3 digits."""
    num_workers: Annotated[int, arg(name="workers")] = 1
    """Cells in parallel, each in a process with a share of the cores."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.num_workers >= 1, "workers", "at least 1", self.num_workers)
        require(self.folds is None or self.folds >= LEAST_FOLDS, "folds", f"at least {LEAST_FOLDS}", self.folds)


@dataclass(frozen=True, kw_only=True, slots=True)
class FewLabels:
    """How many labels, and how often they are drawn."""

    labels_per_class: tuple[int, ...] = (10, 50)
    """Labelled rows of each class, or as many as it has; all labels are compared in addition."""
    draws: int = 10
    """Draws of the labelled rows; of small data (--folds), divisions into folds."""
    folds: int | None = None
    """Test every row once, in this many folds; by default the test split of the suite is what is tested."""
    vectors: VectorKind = "vector"
    """Of all models. vector: what embed gives; mean and maximum over tokens of the last, middle or all layers, of
    hidden units, or of the last or an early layer in parts of the input."""
    num_random: int = 3
    """Random models beside the trained ones."""
    draw_seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if min(self.labels_per_class, default=INNER_FOLDS) < INNER_FOLDS:
            raise ConfigError(f"--labels-per-class must be at least {INNER_FOLDS}, got {min(self.labels_per_class)}")
        require_ranges(self, {"at least 1": ["draws", "num_random"], "at least 2": ["folds"]})
