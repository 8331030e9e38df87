"""Which runs make a comparison: mask laws as they are typed, with their controls, and the settings of each run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Suppress, arg

from dnar2mae.config import MaskConfig, PretrainConfig
from dnar2mae.errors import ConfigError, raising
from dnar2mae.laboratory.labelled import Labelled
from dnar2mae.mask_laws import Intervals, parse_law

_MODIFIERS = "/sample or /stratified, /spans:MEAN, /spans:MEAN,LONGEST, /pmi:LENGTH or /suffix, /token or /bound"
_PER = ("sample", "stratified")
_WEIGHTINGS = ("token", "bound")


@dataclass(frozen=True, slots=True)
class Law:
    """A ratio law with its placement and weighting."""

    name: str
    """As :func:`parse_mask` reads it, numbers in their shortest form."""
    mask: MaskConfig

    @property
    def mean(self) -> float:
        """Return the mask ratio on average over the law and the run."""
        return self.mask.ratio_law().mean

    @property
    def control(self) -> "Law":
        """Return the law itself if its ratio is fixed; else the fixed ratio at its mean, placed and weighted alike."""
        law = self.mask.ratio_law()
        if law.control is law:
            return self
        _, *modifiers = self.name.split("/")
        # a fixed ratio has no density: the bound's weights are those of the batch there
        name = "/".join([law.control.name, *(m for m in modifiers if m not in (*_PER, "bound"))])
        weighting = "batch" if self.mask.weighting == "bound" else self.mask.weighting
        mask = replace(self.mask, weighting=weighting)
        return Law(name, replace(mask.with_law(law.control), per="batch"))


def parse_mask(text: str, base: MaskConfig | None = None) -> Law:
    """Read a law from its name, as ``uniform:0.05,0.5/sample`` or ``fixed:0.15/spans:3/token``.

    ``base`` has the settings that a name leaves open (how masked tokens are replaced).

    Raises
    ------
    ConfigError
        If it cannot be read or a number breaks its rule: ratios are in (0, 1), so no law can mask everything.
    """
    head, *modifiers = text.split("/")
    with raising(ConfigError, "--laws", ConfigError):
        law = parse_law(head)
    values: dict[str, object] = {"per": "batch", "placement": "independent", "weighting": "batch"}
    name = [law.name]
    # One order of modifiers, so that a law has one name: finished runs are recognised by it.
    for modifier in sorted(modifiers, key=lambda m: (m in _WEIGHTINGS, m not in _PER)):
        of_modifier, written = _modifier(modifier, text)
        name.append(written)
        values |= of_modifier
    kinds = ["per" if m in _PER else "weighting" if m in _WEIGHTINGS else "placement" for m in name[1:]]
    if len(set(kinds)) < len(kinds):
        raise ConfigError(f"--laws {text}: a law has one placement, and each modifier once")
    with raising(ConfigError, f"--laws {text}", ConfigError):
        return Law("/".join(name), replace((base or MaskConfig()).with_law(law), **values))  # type: ignore[arg-type]


def with_controls(laws: Sequence[Law]) -> tuple[list[Law], list[Law]]:
    """Add the fixed ratio at the mean of every law whose ratio varies.

    Return all laws, the given ones first, and those that were added.

    Raises
    ------
    ConfigError
        If a law is given twice, or two laws mask alike under different names.
    """
    names = [law.name for law in laws]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"--laws must differ, got {twice[0]} twice")
    controls = {law.control.name: law.control for law in laws}
    added = [control for name, control in controls.items() if name not in names]
    seen: dict[object, str] = {}
    for law in (*laws, *added):
        if (other := seen.setdefault(_masks_of(law), law.name)) != law.name:
            raise ConfigError(f"--laws must differ, and {other} and {law.name} mask alike")
    return [*laws, *added], added


def _masks_of(law: Law) -> object:
    """Return what decides the masks of a law, equal for laws that differ in name alone."""
    mask, ratio = law.mask, law.mask.ratio_law()
    # a schedule differs in one of three steps
    intervals = tuple(_distinct(ratio.intervals(step, 3)) for step in range(3))
    is_random = any(len(drawn) > 1 or drawn[0][0][1] > 0 for drawn in intervals)
    unused = mask.ignored()
    numbers = [getattr(mask, name) for name in ("span_mean", "span_max", "pmi_length") if name not in unused]
    return intervals, mask.per if is_random else "", mask.placement, *numbers, mask.weighting


def _distinct(intervals: Intervals) -> tuple[tuple[tuple[int, int], int], ...]:
    """Return different intervals (low, span) in one order, and how often each is drawn, in the lowest terms."""
    counts = Counter(intervals)
    common = gcd(*counts.values())
    return tuple(sorted((drawn, count // common) for drawn, count in counts.items()))


def _modifier(text: str, law: str) -> tuple[dict[str, object], str]:
    """Return the settings that a modifier changes, and its name with numbers in their shortest form."""
    refused = ConfigError(f"--laws {law}: after the ratio law may come {_MODIFIERS}, got /{text}")
    name, _, rest = text.partition(":")
    try:
        numbers = tuple(float(value) for value in rest.split(",")) if rest else ()
    except ValueError:
        raise refused from None
    written = ":".join([name, *([",".join(f"{number:g}" for number in numbers)] if numbers else [])])
    match name, len(numbers):
        case "sample" | "stratified", 0:
            return {"per": name}, written
        case "token" | "bound", 0:
            return {"weighting": name}, written
        case "suffix", 0:
            return {"placement": "suffix"}, written
        case "spans", 1 | 2:
            longest = {"span_max": int(numbers[1])} if len(numbers) == 2 else {}
            return {"placement": "spans", "span_mean": numbers[0], **longest}, written
        case "pmi", 1:
            return {"placement": "pmi", "pmi_length": int(numbers[0])}, written
    raise refused


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareOptions:
    """Seeds, budget and evaluation of a comparison."""

    # not a flag: the command line also takes a number of seeds
    seeds: Suppress[tuple[int, ...]] = (0, 1, 2, 3, 4)
    """Seeds of the runs, all different."""
    budget_tokens: int | None = None
    """Tokens that every run trains on; by default --steps decides."""
    equal: Literal["steps", "encoder-tokens"] = "steps"
    """steps: as many steps for all. encoder-tokens, under --model.objective mae: as many tokens through the encoder,
    so that laws that mask less take fewer steps."""
    num_workers: Annotated[int, arg(name="workers")] = 1
    """Runs at the same time, each with a share of the cores."""
    suite: Path | None = None
    """Also probe every run on this benchmark suite (see dnar2mae benchmark build)."""
    variants: Path | None = None
    """Also score these variants (VCF, needs --variants-genome) and tell apart 1 and 0 of --variants-field."""
    variants_genome: Path | None = None
    """Sequence file that --variants refers to."""
    variants_field: str = "CLASS"
    """INFO field of --variants: 1 for variants expected to score low, 0 for the others."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"--seeds must be one or more, all different, got {' '.join(map(str, self.seeds))}")
        if self.num_workers < 1:
            raise ConfigError(f"--workers must be at least 1, got {self.num_workers}")
        if self.variants and self.variants_genome is None:
            raise ConfigError("--variants needs --variants-genome, the sequence file that it refers to")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """A run of the comparison: a law and a seed."""

    law: Law
    seed: int
    config: PretrainConfig
    path: Path
    """Its run directory."""
    setting: str = ""
    """Name of its setting in a grid."""
    rate: float = 1.0
    """Learning rate as a multiple of the setting's."""
    labelled: Labelled | None = None
    """Samples with classes to judge it by."""
    extras: bool = True
    """As in :func:`dnar2mae.training.pretrain.pretrain`."""
    sample_tokens: int
    """Tokens of a sample."""
    anchor_stride: int
    """Distance of tokens that do not overlap."""
    is_trial: bool = False
    """Whether it only helps to choose a learning rate, for which the area is enough."""

    @property
    def name(self) -> str:
        """Return setting, law, seed and, in a trial, the learning rate, as messages show them."""
        parts = [self.setting, self.law.name, f"{self.rate:g} times the rate" if self.is_trial else ""]
        return ", ".join([part for part in parts if part] + [f"seed {self.seed}"])

    @property
    def place(self) -> tuple[str, str]:
        """Names of its setting and its law."""
        return self.setting, self.law.name

    @property
    def log(self) -> Path:
        """File of its output."""
        return self.path.with_name(f"{self.path.name}.log")

    @property
    def columns_file(self) -> Path:
        """File of what was measured of it."""
        return self.path.with_name(f"{self.path.name}.json")


def plan_cells(
    config: PretrainConfig,
    laws: Sequence[Law],
    folder: Path,
    options: CompareOptions,
    *,
    sample_tokens: int,
    anchor_stride: int = 1,
) -> list[PlannedRun]:
    """Plan the runs, seed by seed, so that an unfinished comparison is one with fewer seeds.

    Runs of one seed share windows, strands and initial weights; they differ in what is masked and in nothing else. Mask
    law and seed of ``config`` are replaced.

    Parameters
    ----------
    config, laws, options
        As in :func:`dnar2mae.laboratory.compare.compare`.
    folder
        Gets a folder for each law.
    sample_tokens
        Tokens of a sample.
    anchor_stride
        Distance of tokens that do not overlap.

    Raises
    ------
    ConfigError
        If the budget is below one step, or equal encoder tokens make no difference or are not known.
    """
    by_encoder = options.equal == "encoder-tokens"
    if by_encoder and (config.model.objective != "mae" or anchor_stride > 1):
        what = "overlapping tokens" if anchor_stride > 1 else "--model.objective mlm, whose encoder sees every token"
        raise ConfigError(f"--equal encoder-tokens needs --model.objective mae and tokens apart, got {what}")
    step_tokens = config.batch_size * sample_tokens
    # Share of the tokens that the budget counts: under mae the encoder sees the visible ones.
    shown = {law.name: 1 - law.mean if by_encoder else 1.0 for law in laws}
    budget = options.budget_tokens or config.steps * step_tokens * shown[laws[0].name]
    steps = {law.name: round(budget / (step_tokens * shown[law.name])) for law in laws}
    if min(steps.values()) < 1:
        raise ConfigError(f"--budget-tokens must be at least one step ({step_tokens} tokens), got {budget:,.0f}")
    return [
        PlannedRun(
            law=law,
            seed=seed,
            config=replace(
                config, mask=replace(law.mask, replace=config.mask.replace), seed=seed, steps=steps[law.name]
            ),
            path=folder / folder_name(law.name) / f"seed-{seed}",
            sample_tokens=sample_tokens,
            anchor_stride=anchor_stride,
        )
        for seed in options.seeds
        for law in laws
    ]


def folder_name(name: str) -> str:
    """Return the name of a law's folder."""
    return name.translate(str.maketrans(":,/", "-_+"))
