"""Settings of fine-tuning. No torch here, so that ``--help`` stays quick."""

from dataclasses import dataclass, field
from typing import Literal

from tyro.conf import Positional

from dnar2mae.config import Settings
from dnar2mae.errors import ConfigError, require, require_choices, require_ranges

Method = Literal["full", "lora", "frozen"]
Pooling = Literal["auto", "parts", "vector"]
DEFAULT_LR = {"full": 3e-3, "lora": 1e-3, "frozen": 3e-3}
"""Peak learning rate by method, for models of about a million weights; larger ones take smaller rates."""
SPLIT_COLUMN = "split"


# without slots, as what follows has two bases with fields of their own
@dataclass(frozen=True, kw_only=True)
class TuningSettings:
    """Training on labels by AdamW."""

    weight_decay: float = 0.01
    """Decoupled weight decay of matrices (not of norms and biases)."""
    batch_size: int = 32
    """Rows in one step, on any hardware."""
    schedule: Literal["linear", "constant"] = "linear"
    """Learning rate after the warm-up: linear to 0 at the last step, or constant."""
    warmup_steps: int = 0
    """Steps of linear warm-up."""
    warmup_share: float = 0.0
    """Warm-up as a share of all steps, used where warmup_steps is 0."""
    epochs: int = 3
    """Passes over the training rows."""
    max_steps: int | None = None
    """Number of steps; overrides epochs."""
    evaluate_every: int | None = None
    """Steps between evaluations on dev; by default one evaluation an epoch."""
    patience: int | None = None
    """Stop after this many evaluations without a better one."""
    clip: float | None = 1.0
    """Largest gradient norm."""
    lora_rank: int = 8
    """LoRA: rank of the update."""
    lora_alpha: float = 16.0
    """LoRA: the update is scaled by alpha / rank."""
    lora_dropout: float = 0.0
    """LoRA: dropout before the update."""
    lora_targets: tuple[str, ...] = ()
    """LoRA: names of the linear layers to update; by default, or where a model has none of them, all."""


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """What is learned from what, and how it is divided."""

    model: Positional[str] = ""
    """Run, checkpoint or exported folder of the pretrained model."""
    data: str = ""
    """What is learned from. DNA: .csv, .tsv or .parquet with a column sequence, or chrom, start, end (and strand) with
    --genome; a BED file with --genome; with --track also a FASTA file. Other modalities: what embed reads."""
    genome: str | None = None
    """Sequence file that regions refer to."""
    track: str | None = None
    """A value or class for each base: bigWig, bedGraph, BED, GFF3, GTF or GenBank."""
    features: tuple[str, ...] = ()
    """Types of features of an annotation in --track that are classes, such as CDS; all other bases are another."""
    track_names: bool = False
    """The classes of a BED file in --track are the names in its fourth column."""
    label: tuple[str, ...] = ()
    """Column with the label, or several; by default label, of a BED file name."""
    label_table: str | None = None
    """Table with a row a sample that has the label columns, for data without columns, such as texts."""
    target: Literal["auto", "classes", "labels", "numbers", "counts"] = "auto"
    """classes: one of several; labels: several columns of 0 and 1; numbers; counts: whole numbers, by Poisson's law.
    auto: found from the values, and printed."""
    split: Literal["auto", "column", "chromosome", "random", "blocks", "homology"] = "auto"
    """How rows go to train, dev and test: by --split-column, by sequence of the genome, at random (equal samples
    together), by blocks of the genome, or by clusters of homologous sequences. auto: the column if there is one, else
    blocks for regions, homology for DNA sequences, and random for all else."""
    split_column: str = SPLIT_COLUMN
    """Column of train, dev (or valid, validation) and test."""
    dev_names: tuple[str, ...] = ()
    """Sequences of the genome for dev, with --split chromosome; by default they are chosen by their number of rows."""
    test_names: tuple[str, ...] = ()
    """Sequences of the genome for test, with --split chromosome."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(TuningSettings, LabelSettings, Settings):
    """All settings of a fine-tuning."""

    method: Method = "full"
    """full: all weights; lora: the head and low-rank updates of the linear layers (needs peft); frozen: the head."""
    lr: float | None = None
    """Peak learning rate; by default 3e-3 (full, frozen) or 1e-3 (lora); models of 100 M weights take 1e-4 or less."""
    layer_decay: float = 1.0
    """full: factor of the learning rate from one layer to the one below, in (0, 1]; the embedding is the lowest."""
    pooling: Pooling = "auto"
    """What the head reads of a sequence: mean and maximum of the whole and of its eight equal parts, or the vector that
    embed gives, the mean. auto: parts, but vector of a Transformer, which transformers can then open. Images and cells
    have their vector."""
    class_weights: bool = False
    """Let each class (or each label's ones and zeros) weigh the same in the loss, however rare it is."""
    both_strands: bool = False
    """DNA: train on either strand, drawn at random, and average predictions over both. Labels of bases turn along."""
    allow_truncation: bool = False
    """DNA: cut sequences that are longer than the windows of pretraining at their end, instead of refusing them."""
    window_bp: int | None = None
    """--track: bases of a window; by default those of pretraining."""
    baselines: bool = True
    """Train beside it, on the same rows, k-mer counts (or the modality's raw features) and random weights."""
    epochs: int = 20
    patience: int | None = 4
    warmup_share: float = 0.1
    select: Literal["loss", "score"] = "loss"
    """What decides on dev which state is kept: the lowest loss, or the best main score."""
    seed: int = 0
    """Every random choice follows from it."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """How many of these are kept."""
    max_hours: float | None = None
    """Save and end after this time; go on with --resume."""
    tensorboard: bool = False
    """Write event files for TensorBoard."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """bf16 runs matrix products in bfloat16 (autocast); auto does so where the hardware has it."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_choices(self)
        counts = ["batch_size", "epochs", "max_steps", "evaluate_every", "patience", "lora_rank", "window_bp"]
        ranges = {"at least 1": [*counts, "checkpoint_every", "keep_checkpoints"], "> 0": ["lr", "max_hours"]}
        ranges |= {"in (0, 1]": ["layer_decay"], "in [0, 1]": ["warmup_share"], "in [0, 1)": ["lora_dropout"]}
        require_ranges(self, ranges | {"at least 0": ["weight_decay", "warmup_steps", "clip"]})
        require(0 <= self.seed < 2**63, "seed", "in [0, 2**63)", self.seed)
        if (self.features or self.track_names) and not self.track:
            raise ConfigError("--features and --track-names are of --track, which is not given")
        if self.track and (self.label or self.label_table):
            raise ConfigError("--track has the labels: leave --label and --label-table out")
        if (self.dev_names or self.test_names) and self.split not in ("auto", "chromosome"):
            raise ConfigError(f"--dev-names and --test-names are of --split chromosome, got {self.split}")
        if self.split_column != SPLIT_COLUMN and self.split not in ("auto", "column"):
            raise ConfigError(f"--split-column is of --split column, got {self.split}")

    @property
    def peak_lr(self) -> float:
        """Peak learning rate."""
        return self.lr or DEFAULT_LR[self.method]


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictOptions:
    """How a fine-tuned model is applied to a file."""

    genome: str | None = None
    """Sequence file that a BED file or a table of regions refers to."""
    both_strands: bool | None = None
    """Average over both strands; by default as in training."""
    allow_truncation: bool = False
    """Cut sequences that are longer than the model's context at their end, instead of refusing them."""
    overlap_share: float = field(default=0.5)
    """Values per base: share of a window that it has in common with the next; the outer half of it is not used."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_ranges(self, {"in [0, 0.9]": ["overlap_share"]}, "")
