"""All settings of a run, as frozen dataclasses; no torch here, so that ``--help`` stays quick.

The docstring under a field is its help text on the command line and states its unit and range.
"""

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

from dnar2mae.errors import ConfigError, require, require_choices, require_ranges
from dnar2mae.mask_laws import LAWS, MaskLaw, training_laws

try:
    from tyro.conf import Positional
# only the command line needs tyro: kernels and models run without
except ImportError:

    class Positional:  # type: ignore[no-redef]
        """Stand-in that leaves a type unchanged."""

        def __class_getitem__(cls, item: Any) -> Any:
            return item


Data = TypeVar("Data")

_LOCAL = ("local_tokens", "local_rope_theta")
_ATTENTION = ("heads", "global_every", "global_rope_theta", *_LOCAL)


class BackboneSpec(NamedTuple):
    """What is known of an encoder before a run starts."""

    encoder: str
    """``module:Class`` of the :class:`dnar2mae.models.backbone.Backbone`, imported when a model is made."""
    settings: tuple[str, ...]
    """Settings among ``--model.*`` that it uses beside ``width`` and ``depth``, which all do."""


BACKBONES = {
    "transformer": BackboneSpec("dnar2mae.models.transformer:Transformer", (*_ATTENTION, "mlp_width")),
    "hybrid": BackboneSpec(
        "dnar2mae.models.hybrid:Hybrid",
        ("heads", "global_every", "global_rope_theta", "mlp_width", "conv_kernel", "conv_groups"),
    ),
    "cnn": BackboneSpec("dnar2mae.models.cnn:ConvNet", ("mlp_width", "conv_kernel", "conv_groups", "strand_symmetric")),
    "mlp": BackboneSpec("dnar2mae.models.mlp:Mlp", ("mlp_channels",)),
}

if TYPE_CHECKING:
    LawName = str
    BackboneName = str
# what is added to a table is a choice of the command line and of files at once
else:
    LawName = Literal[training_laws()]
    BackboneName = Literal[tuple(BACKBONES)]


class Settings:
    """A group of settings."""

    __slots__ = ()

    def ignored(self) -> dict[str, str]:
        """Return the settings that have no effect beside the others, each with the reason."""
        return {}


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig(Settings):
    """From genomes to windows."""

    genomes: Positional[tuple[str, ...]] = ()
    """FASTA (plain, gzip, bgzip, zstd), GenBank or .2bit files, also at an address (https://, s3://, gs://); regions of
    one as genome.fa:chr1:1001-2000,chr2:1-500."""
    weights: tuple[float, ...] = ()
    """Sampling weight of each genome, > 0; by default each weighs as much as it has eligible positions."""
    window_bp: int = 512
    """Length of one training window in base pairs."""
    include: str | None = None
    """BED file: draw windows only inside its regions (a region shorter than a window is widened to one)."""
    exclude: str | None = None
    """BED file: no window may touch its regions. Of both, regions of sequences that no genome has are left out."""
    assembly_report: str | None = None
    """NCBI's *_assembly_report.txt: other files may then name sequences by accession, as chr1 or as 1."""
    validation: tuple[str, ...] = ()
    """Sequences held out for validation, by name. By default the end of every sequence is (validation_share)."""
    test: tuple[str, ...] = ()
    """Sequences never used in this run, by name."""
    validation_share: float = 0.1
    """Share of each sequence held out at its end, behind a gap of one window, in (0, 0.5]."""
    validation_blocks: int = 1
    """Number of stretches that share is split into, evenly spaced along each sequence."""
    max_n_share: float = 0.1
    """Largest share of unknown bases (N and other IUPAC codes) in a window, in [0, 1)."""
    reverse_complement: bool = True
    """Show each window from either strand, drawn at random."""
    soft_mask_weight: float = 1.0
    """Loss weight of tokens with a lower-case (repeat) base, in [0, 1]; 0.1 is common."""
    mixture: str | None = None
    """Draw training windows by the annotated class of their middle base: coding=0.5,promoter=0.2,intergenic=0.3, shares
    that sum to 1; further classes are untranslated and genic. By default every window is as likely."""
    annotation: tuple[str, ...] = ()
    """GFF3, GTF, BED, GenBank or EMBL file of each genome, in their order, for --data.mixture."""

    def __post_init__(self) -> None:
        """Check ranges."""
        ranges = {"at least 8": ["window_bp"], "in (0, 0.5]": ["validation_share"], "at least 1": ["validation_blocks"]}
        ranges |= {"in [0, 1)": ["max_n_share"], "in [0, 1]": ["soft_mask_weight"]}
        require_ranges(self, ranges, "data.")
        require(all(w > 0 for w in self.weights), "data.weights", "all > 0", self.weights)
        if self.weights and len(self.weights) != len(self.genomes):
            raise ConfigError(
                f"--data.weights must have one weight a genome ({len(self.genomes)}), got {len(self.weights)}"
            )
        both = set(self.validation) & set(self.test)
        require(not both, "data.test", "disjoint from --data.validation", sorted(both))
        self._check_mixture()

    def _check_mixture(self) -> None:
        shares = self.mixture_shares()
        if not shares and not self.annotation:
            return
        if not (shares and self.annotation):
            given, missing = ("mixture", "annotation") if shares else ("annotation", "mixture")
            raise ConfigError(f"--data.{given} needs --data.{missing}")
        shares_ok = all(share > 0 for share in shares.values()) and abs(sum(shares.values()) - 1) < 1e-6
        require(shares_ok, "data.mixture", f"shares > 0 that sum to 1, not to {sum(shares.values()):g}", self.mixture)
        if len(self.annotation) != len(self.genomes):
            raise ConfigError(
                f"--data.annotation must have one file a genome ({len(self.genomes)}), got {len(self.annotation)}"
            )

    def mixture_shares(self) -> dict[str, float]:
        """Return the shares of ``mixture`` by class; empty where there is none.

        Raises
        ------
        ConfigError
            If the text is not ``CLASS=SHARE,...`` of different classes.
        """
        parts = [] if self.mixture is None else self.mixture.split(",")
        pairs = [(name.strip(), share) for name, _, share in (part.partition("=") for part in parts)]
        try:
            shares = {name: float(share) for name, share in pairs}
        except ValueError:
            shares = {}
        is_well_formed = len(shares) == len(parts) and all(name for name, _ in pairs)
        require(is_well_formed, "data.mixture", "CLASS=SHARE,CLASS=SHARE,... of different classes", self.mixture)
        return shares

    def ignored(self) -> dict[str, str]:
        """Return what named validation sequences leave without effect."""
        reason = "--data.validation names the sequences held out"
        return dict.fromkeys(("validation_share", "validation_blocks"), reason) if self.validation else {}


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerConfig(Settings):
    """Single bases (k = 1), k-mers, or a tokenizer file; of text bytes, or a tokenizer file."""

    k: int = 1
    """DNA: bases per token, in 1..8."""
    stride: int | None = None
    """DNA: bases from one token to the next, in 1..k; by default k (no overlap)."""
    file: str | None = None
    """A tokenizer.json (BPE, WordPiece, Unigram), for text or DNA: see dnar2mae tokenizer train."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require(1 <= self.k <= 8, "tokenizer.k", "in 1..8", self.k)
        stride_ok = self.stride is None or 1 <= self.stride <= self.k
        require(stride_ok, "tokenizer.stride", f"in 1..{self.k} (k)", self.stride)
        is_plain = self.k == 1 and self.stride is None
        if self.file is not None and not is_plain:
            raise ConfigError(
                "--tokenizer.k and --tokenizer.stride are for k-mers: leave them out with --tokenizer.file"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskConfig(Settings):
    """How much is masked and what the encoder sees instead."""

    law: LawName = "uniform"
    """Ratio law: uniform(low, high) is R2MAE; fixed(ratio); choice(ratios); linear or cosine from low to high;
    beta(a, b) and bell(centre, sd) between low and high. uniform from 0 to 1 trains a density, bits per base."""
    low: float = 0.05
    """Lowest ratio (uniform, beta, bell) or first one (linear, cosine), in [0, 1]."""
    high: float = 0.5
    """Highest ratio (uniform, beta, bell) or last one (linear, cosine), in [0, 1]."""
    a: float = 2.0
    """beta: exponent of the ratio's distance from --mask.low, plus 1; at least 1."""
    b: float = 2.0
    """beta: exponent of its distance from --mask.high, plus 1; at least 1."""
    centre: float = 0.275
    """bell: ratio at which the density is highest."""
    sd: float = 0.1
    """bell: standard deviation before it is cut at --mask.low and --mask.high; at least 0.02."""
    ratio: float = 0.15
    """Ratio of the fixed law, in (0, 1)."""
    ratios: tuple[float, ...] = (0.15, 0.3, 0.5)
    """Ratios of the choice law, each in (0, 1)."""
    per: Literal["batch", "sample", "stratified"] = "batch"
    """Draw one ratio for each batch (the paper) or for each sample; stratified: one for each sample too, but those of
    a batch spread evenly over the law, which makes a step's loss less noisy."""
    placement: Literal["independent", "spans", "pmi", "suffix"] = "independent"
    """Each token by itself; spans of geometric length (SpanBERT); words of high mutual information (GeneMask); the end
    of the sample (suffix), as a model sees it that reads from left to right."""
    span_mean: float = 3.0
    """spans: mean length in tokens, before it is cut at --mask.span-max; at least 1."""
    span_max: int = 10
    """spans: longest one, in tokens."""
    pmi_length: int = 6
    """pmi: bases (or tokens) of a word, two tokens or more."""
    weighting: Literal["batch", "token", "bound"] = "batch"
    """batch: a step's loss is its mean over masked tokens. token: its sum over the number that the law masks on
    average, so that every masked token of the run weighs the same. bound: the mean over each sample's masked tokens,
    divided by the law's density at its ratio: what is minimised is the bound on bits per base, whatever the law (or
    its part between --mask.low and --mask.high)."""
    replace: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of masked tokens shown as [MASK], as a random real token, as they are; they sum to 1."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_choices(self, "mask.")
        ranges = {"in [0, 1]": ["low", "high"], "in (0, 1)": ["ratio"], "at least 1": ["span_mean", "span_max"]}
        require_ranges(self, ranges | {"at least 2": ["pmi_length"]}, "mask.")
        ratios_ok = len(self.ratios) > 0 and all(0 < r < 1 for r in self.ratios)
        require(ratios_ok, "mask.ratios", "one or more numbers in (0, 1)", self.ratios)
        shares_ok = all(0 <= s <= 1 for s in self.replace) and abs(sum(self.replace) - 1) < 1e-6
        require(shares_ok, "mask.replace", "three shares that sum to 1", self.replace)
        try:
            law = self.ratio_law()
        except ConfigError as error:
            raise ConfigError(f"--mask.law {error}") from error
        if self.weighting == "bound" and not (law.has_density and self.placement == "independent"):
            raise ConfigError(
                "--mask.weighting bound needs --mask.placement independent and a law with a density "
                f"(uniform, beta, bell), got {self.placement} and {law.name}"
            )

    def ratio_law(self) -> MaskLaw:
        """Return the law, with the numbers that it takes."""
        law = LAWS[self.law]
        return law(**{name: getattr(self, name) for name in law.settings()})

    @property
    def beyond_kernels(self) -> str:
        """The flag whose masks the fused kernels cannot draw; empty where they can draw all."""
        if self.placement != "independent":
            return f"--mask.placement {self.placement}"
        return "--mask.per stratified" if self.per == "stratified" and self.ratio_law().is_random else ""

    def with_law(self, law: MaskLaw) -> "MaskConfig":
        """Return the settings with another law; numbers that it does not take go back to their defaults."""
        numbers = {name: getattr(MaskConfig(), name) for name in _LAW_NUMBERS}
        numbers |= {name: getattr(law, name) for name in law.settings() if name in numbers}
        return replace(self, law=law.kind, **numbers)

    def ignored(self) -> dict[str, str]:
        """Return numbers of other laws, and settings of other placements."""
        law = self.ratio_law()
        own = law.settings()
        unused = {name: f"--mask.law {self.law} does not take it" for name in _LAW_NUMBERS if name not in own}
        if not law.is_random:
            unused["per"] = f"--mask.law {self.law} draws no ratio"
        for name, placement in (("span_mean", "spans"), ("span_max", "spans"), ("pmi_length", "pmi")):
            if self.placement != placement:
                unused[name] = f"it needs --mask.placement {placement}"
        return unused


_LAW_NUMBERS = tuple(dict.fromkeys(number for law in training_laws() for number in LAWS[law].settings()))


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig(Settings):
    """The encoder; the Transformer is pre-norm, arithmetically ModernBERT."""

    backbone: BackboneName = "transformer"
    """transformer; cnn: dilated residual convolutions; mlp: over the whole sample at once, 4 widths wide."""
    width: int = 128
    """Size of a token's vector."""
    depth: int = 4
    """Number of layers."""
    heads: int = 2
    """Attention heads; width / heads must be even."""
    mlp_width: int = 256
    """Inner size of the GeGLU feed-forward block."""
    global_every: int = 1
    """Every n-th layer attends to the whole window. transformer: the first included, the others attend locally; hybrid:
    the last of each n, the others are convolutions."""
    local_tokens: int = 128
    """Tokens a local layer sees, half on each side."""
    global_rope_theta: float = 10_000.0
    """Base of the rotary position angles in global layers."""
    local_rope_theta: float = 10_000.0
    """Base of the rotary position angles in local layers."""
    conv_kernel: int | None = None
    """cnn, hybrid: taps along each axis, odd; by default 9 on sequences and 3 on grids."""
    conv_groups: int = 1
    """cnn, hybrid: groups of channels within which convolutions mix; the feed-forward blocks mix all. Must divide
    width."""
    strand_symmetric: bool | None = False
    """cnn, of single bases: share the weights between the strands of DNA, so that of the reverse complement of a window
    the model predicts the reverse complement. None: where the model can."""
    mlp_channels: int | None = None
    """mlp: numbers that each token contributes to the sample's vector; by default about 2048 in all."""
    objective: Literal["mlm", "mae"] = "mlm"
    """mlm: the encoder sees [MASK] tokens; mae: it sees visible tokens only, and a light decoder restores the rest."""
    decoder_width: int = 64
    """mae: size of a token's vector in the decoder."""
    decoder_depth: int = 1
    """mae: layers of the decoder."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_choices(self, "model.")
        sizes = [
            "width",
            "depth",
            "heads",
            "mlp_width",
            "global_every",
            "local_tokens",
            "decoder_depth",
            "mlp_channels",
            "conv_groups",
        ]
        require_ranges(self, {"at least 1": sizes}, "model.")
        odd = self.conv_kernel is None or (self.conv_kernel >= 1 and self.conv_kernel % 2 == 1)
        require(odd, "model.conv-kernel", "odd", self.conv_kernel)
        width_ok = self.decoder_width >= 2 and self.decoder_width % (2 * self.decoder_heads) == 0
        require(width_ok, "model.decoder-width", "even, and above 64 a multiple of 128 or 64", self.decoder_width)
        fits = self.width % self.heads == 0 and (self.width // self.heads) % 2 == 0
        require(fits, "model.width", f"an even multiple of --model.heads ({self.heads})", self.width)
        parts = "conv_groups" not in BACKBONES[self.backbone].settings or self.width % self.conv_groups == 0
        require(parts, "model.conv-groups", f"a divisor of --model.width ({self.width})", self.conv_groups)
        require(self.local_tokens % 2 == 0, "model.local-tokens", "even", self.local_tokens)

    @property
    def decoder_heads(self) -> int:
        """Attention heads of the decoder, about 64 wide."""
        return max(self.decoder_width // 64, 1)

    @property
    def head_widths(self) -> tuple[int, ...]:
        """Widths of all attention heads; none without attention."""
        if "heads" not in BACKBONES[self.backbone].settings:
            return ()
        decoder = (self.decoder_width // self.decoder_heads,) if self.objective == "mae" else ()
        return (self.width // self.heads, *decoder)

    def ignored(self) -> dict[str, str]:
        """Return settings of other backbones and objectives, and of layers that there are not."""
        own = BACKBONES[self.backbone].settings
        of_others = [name for other in BACKBONES.values() for name in other.settings if name not in own]
        unused = dict.fromkeys(of_others, f"--model.backbone {self.backbone} does not use it")
        if "global_every" in own and self.global_every == 1:
            unused |= dict.fromkeys(_LOCAL, "--model.global-every 1 has no local layer")
        if self.strand_symmetric:
            unused.pop("strand_symmetric", None)  # it is refused, not ignored
        if self.objective == "mlm":
            unused |= dict.fromkeys(("decoder_width", "decoder_depth"), "it needs --model.objective mae")
        return unused


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig(Settings):
    """AdamW, or Muon beside it, with a warm-up and a decay."""

    lr: float = 2e-3
    """Peak learning rate."""
    muon_lr: float | None = None
    """Train the matrices of the layers by Muon, at this peak learning rate, and only the rest by AdamW."""
    schedule: Literal["cosine", "wsd", "constant"] = "cosine"
    """After the warm-up: cosine to the end, or stable then linear decay (wsd), or constant."""
    warmup_steps: int = 100
    """Steps of linear warm-up."""
    decay_share: float = 0.2
    """wsd: share of the run spent in the final decay."""
    final_lr_share: float = 0.02
    """Learning rate at the end as a share of the peak."""
    weight_decay: float = 0.01
    """Decoupled weight decay of matrices (not of norms, biases and embedding tables)."""
    beta1: float = 0.9
    """Decay of AdamW's first moment."""
    beta2: float = 0.98
    """Decay of AdamW's second moment."""
    clip: float = 1.0
    """Largest norm of the gradient of a step's mean loss; 0 turns clipping off."""
    spike: float | None = None
    """Skip a step whose gradient norm is this many times the running mean of the norms; by default none is. Steps
    whose gradient is not finite are always skipped."""
    ema: float | None = None
    """Decay of an exponential moving average of the weights, in (0, 1), kept as RUN/checkpoints/ema; by default none
    is. 0.999 averages over the last thousand steps or so."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_choices(self, "optimizer.")
        ranges = {"> 0": ["lr", "muon_lr"], "> 1": ["spike"], "at least 0": ["warmup_steps", "weight_decay", "clip"]}
        ranges |= {
            "in [0, 1]": ["decay_share", "final_lr_share"],
            "in [0, 1)": ["beta1", "beta2"],
            "in (0, 1)": ["ema"],
        }
        require_ranges(self, ranges, "optimizer.")

    def ignored(self) -> dict[str, str]:
        """Return settings of other schedules."""
        reason = f"--optimizer.schedule {self.schedule} does not use it"
        unused = {"cosine": ("decay_share",), "wsd": (), "constant": ("decay_share", "final_lr_share")}
        return dict.fromkeys(unused[self.schedule], reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig(Settings, Generic[Data]):
    """All settings of a run."""

    modality: str = "dna"
    """Kind of data: dna, text, image, cell, or one that an installed package registers."""
    data: Data = field(default_factory=DataConfig)  # type: ignore[assignment]
    """From files to samples, for this kind of data."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """From samples to tokens, where these are not given by the data."""
    mask: MaskConfig = field(default_factory=MaskConfig)
    """How much is masked and what the encoder sees instead."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The encoder."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """AdamW, warm-up and decay."""
    steps: int = 2000
    """Optimizer steps."""
    batch_size: int = 32
    """Samples in one step, over all micro-batches (and ranks)."""
    micro_batch: int | None = None
    """Samples in memory at once; by default the whole batch. Changes memory, not results."""
    seed: int = 0
    """Every random choice of the run follows from it."""
    init: str | None = None
    """Start from the weights of a run, a checkpoint or an exported folder, with its model and tokenizer settings."""
    num_workers: int = 0
    """Processes that prepare batches; 0 prepares them in the training process. Changes speed, not results."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 runs matrix products in bfloat16 (autocast); auto does so where the hardware has it."""
    attention: Literal["auto", "flash_attn", "varlen", "sdpa"] = "auto"
    """flash-attn package, torch's varlen attention (both CUDA, bf16) or SDPA; auto takes the first that runs."""
    kernels: Literal["auto", "reference", "triton"] = "auto"
    """Fused masking kernels: triton (CUDA) or their PyTorch definition; auto takes triton where it runs."""
    compile: bool = False
    """Compile the model with torch.compile (a minute at the start, faster steps)."""
    gradient_checkpointing: bool = False
    """Recompute layers in the backward pass: less memory, about a third more time."""
    validate_every: int = 200
    """Steps between validations at mask ratio 0.15."""
    validation_windows: int = 256
    """Held-out samples in a periodic validation; the final one takes twice as many, at every mask ratio."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """How many of the last checkpoints to keep, beside the best."""
    max_hours: float | None = None
    """Stop after this many hours with a checkpoint, as on SIGTERM; go on with --resume."""
    max_skipped: int = 10
    """Stop when this many steps in a row were skipped because their gradient was not finite or spiked."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Under torchrun: every rank holds the model (ddp), or a shard of it (fsdp). Changes memory, not results."""
    reduce: Literal["fp32", "bf16"] = "fp32"
    """Under torchrun: type in which gradients travel; bf16 halves the traffic."""
    timeout_s: float = 600.0
    """Under torchrun: seconds after which a rank that does not answer counts as hung, and the job ends."""
    tensorboard: bool = False
    """Also write TensorBoard event files (needs the tensorboard extra)."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_choices(self)
        counts = ["steps", "batch_size", "validate_every", "validation_windows", "checkpoint_every"]
        counts += ["keep_checkpoints", "max_skipped"]
        require_ranges(self, {"at least 1": counts, "at least 0": ["num_workers"], "> 0": ["max_hours", "timeout_s"]})
        require(0 <= self.seed < 2**63, "seed", "in [0, 2**63)", self.seed)
        if self.micro_batch is not None:
            fits = 1 <= self.micro_batch <= self.batch_size and self.batch_size % self.micro_batch == 0
            require(fits, "micro-batch", f"a divisor of --batch-size ({self.batch_size})", self.micro_batch)
        flag = self.mask.beyond_kernels
        if self.kernels == "triton" and flag:
            raise ConfigError(f"--kernels triton draws each token by itself; {flag} needs reference or auto")

    def ignored(self) -> dict[str, str]:
        """Return the settings of all groups that have no effect, by the name of their flag."""
        unused = {}
        if not self.model.head_widths:
            unused["attention"] = f"--model.backbone {self.model.backbone} does not use it"
        # torchrun sets it for every process that it starts
        if "WORLD_SIZE" not in os.environ:
            unused |= dict.fromkeys(("parallel", "reduce", "timeout_s"), "it is for several processes under torchrun")
        for group in ("data", "tokenizer", "mask", "model", "optimizer"):
            settings = getattr(self, group)
            # data of a modality from another package may be any object
            if isinstance(settings, Settings):
                unused |= {f"{group}.{name}": reason for name, reason in settings.ignored().items()}
        return unused
