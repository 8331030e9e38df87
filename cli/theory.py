"""``dnar2mae theory``: mask ratios in ridgeless regression."""

import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from tyro.conf import OmitArgPrefixes

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse_subcommand
from dnar2mae.errors import ConfigError, require
from dnar2mae.storage.progress import progress_bar
from dnar2mae.theory.options import FeatureModel, Grid, Masking, Regime, Sampling

if TYPE_CHECKING:
    from dnar2mae.mask_laws import MaskLaw


@dataclass(frozen=True, kw_only=True)
class Files:
    """Folder and names of the results."""

    out: Path
    """Folder for the plots and the CSV file; made if missing."""
    overwrite: bool = False
    """Write into a folder that is not empty."""
    plots: tuple[str, ...] = ("plot.png",)
    """Names of the plots in it; the extension (.png, .svg, .pdf) sets the format."""
    json: bool = False
    """Print the rows of the CSV file as JSON, and all else on stderr."""

    def prepare(self) -> None:
        """Make the folder, or refuse it."""
        from dnar2mae.theory.report import check_plot_names

        check_plot_names(self.plots)
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())) and not self.overwrite:
            raise ConfigError(f"--out {self.out} is not empty; give --overwrite to write into it")
        self.out.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, rows: list[dict[str, Any]], figure: Any) -> list[dict[str, Any]]:
        """Write the table and the plots, print their names; return the rows."""
        from dnar2mae.theory.report import save, write_table

        for path in (write_table(self.out / name, rows), *save(figure, self.out, self.plots)):
            print(f"wrote {path}")
        return rows


@dataclass(frozen=True, kw_only=True)
class RiskCommand:
    """Plot risk against mask ratio at several aspect ratios: theory as lines, simulation as points.

    Example: dnar2mae theory risk --covariance ar1:0.9 --aspects 0.5 0.8 2 --noise 0.5 --out runs/risk

    The minimum of a line is the best fixed ratio. With --width 0.4 a dashed line shows the random ratio
    Uniform(p - 0.2, p + 0.2). With --form self-supervised every feature is predicted from the others with
    the loss on masked entries, and a second panel shows how badly a linear probe of the learned code
    recovers the leading principal components (simulated only).
    """

    files: OmitArgPrefixes[Files]
    features: OmitArgPrefixes[FeatureModel] = field(default_factory=FeatureModel)
    form: Literal["supervised", "self-supervised"] = "supervised"
    """A target outside the features, or the features themselves (then give --loss masked)."""
    aspects: tuple[float, ...] = (0.25, 0.5, 0.8, 1.25, 2.0, 4.0)
    """Aspect ratios d/n; n counts samples, not masked rows."""
    noise: float = 0.5
    """Variance of the target's noise, where its signal has variance 1 (supervised form)."""
    width: float = 0.0
    """Also draw Uniform(p - width/2, p + width/2), in [0, 0.8]."""
    masking: OmitArgPrefixes[Masking] = field(default_factory=Masking)
    sampling: OmitArgPrefixes[Sampling] = field(default_factory=Sampling)
    rank: int = 6
    """Size of the probed code (self-supervised form)."""

    def run(self) -> list[dict[str, Any]]:
        """Compute, print and write; return the rows."""
        from dnar2mae.theory.curves import trace
        from dnar2mae.theory.report import describe_lines, draw_risk

        supervised = self.form == "supervised"
        source = self.features.task(self.noise) if supervised else self.features.matrix()
        settings = [(aspect, width) for aspect in self.aspects for width in sorted({0.0, self.width})]
        self.files.prepare()
        lines, seed = [], self.features.seed
        with progress_bar("risk", len(settings), at_once=True) as bar:
            for aspect, width in settings:
                lines.append(trace(source, aspect, width, self.masking, self.sampling, rank=self.rank, seed=seed))
                bar(len(lines))
        print(*describe_lines(lines), sep="\n")
        figure = draw_risk(
            lines, "excess test risk" if supervised else "reconstruction error", _title(self.features, self.masking)
        )
        return self.files.write("risk.csv", [row for line in lines for row in line.rows()], figure)


@dataclass(frozen=True, kw_only=True)
class PhaseCommand:
    """Map the best fixed mask ratio, and the best uniform law, over aspect ratio and signal-to-noise ratio.

    Example: dnar2mae theory phase --covariance ar1:0.9 --resolution 200 --out runs/phase

    phase.csv has one line a setting: the best fixed ratio and its excess risk, and the best Uniform(low,
    high) of at least width 0.1 and its excess risk.
    """

    files: OmitArgPrefixes[Files]
    features: OmitArgPrefixes[FeatureModel] = field(default_factory=FeatureModel)
    grid: OmitArgPrefixes[Grid] = field(default_factory=Grid)
    masking: OmitArgPrefixes[Masking] = field(default_factory=Masking)

    def run(self) -> list[dict[str, Any]]:
        """Compute, print and write; return the rows."""
        from dnar2mae.theory.phase import search
        from dnar2mae.theory.regimes import centred_table
        from dnar2mae.theory.report import describe_phase, draw_optimum

        aspects, snrs = self.grid.axes()
        self.files.prepare()
        phase_map = search(centred_table(self.features.task(1.0), self.masking), aspects, snrs, None, "phase")
        print(*describe_phase(phase_map), sep="\n")
        figure = draw_optimum(aspects, snrs, phase_map.best_ratio, _title(self.features, self.masking))
        return self.files.write("phase.csv", phase_map.rows(), figure)


@dataclass(frozen=True, kw_only=True)
class CompareCommand:
    """Map the settings where a random ratio beats the best fixed one, regime by regime, with their share.

    Example: dnar2mae theory compare --covariance spiked:0.05,50 --alignment 1 --out runs/compare

    In each setting the best of 400 fixed ratios is compared with the best of 702 uniform laws at least 0.1 wide (or the
    one law of --law). Only a risk lower by more than 0.1 % is a win.
    """

    files: OmitArgPrefixes[Files]
    features: OmitArgPrefixes[FeatureModel] = field(default_factory=FeatureModel)
    grid: OmitArgPrefixes[Grid] = field(default_factory=Grid)
    regimes: tuple[Regime, ...] = get_args(Regime)
    """rows: one mask a sample, loss on all rows. masked: one mask, loss on masked entries. uncentred: inputs
    with a mean, an intercept, targets with positive coefficients (--alignment is not used), very many masks.
    -inv: the same with visible inputs divided by 1 - p. share: the better of the plain predictor and of one
    that also sees the visible share, very many masks. bits: a predictor that sees which inputs are masked,
    very many masks. -ridge: the same with the best ridge penalty, by its true risk."""
    test_ratios: str = "0"
    """Ratios at which test inputs are masked, with commas, or a law of them; the risk compared is the mean."""
    regret: tuple[str, ...] = ()
    """Also print how much worse than the best these laws are, over settings and test ratios; standard: eight
    common laws."""
    law: str | None = None
    """Compare this law only: uniform:LOW,HIGH, choice:P,P,... or beta:A,B,LOW,HIGH."""
    mean: float = 2.0
    """Mean of every input in the uncentred regimes, in standard deviations."""

    def run(self) -> list[dict[str, Any]]:
        """Compute, print and write; return the rows."""
        from dnar2mae.mask_laws import parse_law
        from dnar2mae.theory.phase import WIN_MARGIN, PhaseMap, search
        from dnar2mae.theory.regimes import parse_test_ratios, regime_table
        from dnar2mae.theory.regret import parse_laws
        from dnar2mae.theory.report import describe_rescaling, draw_regions

        require(math.isfinite(self.mean), "mean", "finite", self.mean)
        law = None if self.law is None else parse_law(self.law)
        test, judged = parse_test_ratios(self.test_ratios), parse_laws(self.regret)
        aspects, snrs = self.grid.axes()
        self.files.prepare()
        maps: dict[Regime, PhaseMap] = {}
        for regime in dict.fromkeys(self.regimes):
            table = regime_table(self.features, regime, self.mean, test)
            phase_map = maps[regime] = search(table, aspects, snrs, law, regime)
            print(f"{regime:14}{phase_map.summary()}", flush=True)
        for line in describe_rescaling(maps):
            print(line)
        if judged:
            self._regrets(test, judged)
        panels = [
            (f"{regime}: wins {100 * phase_map.wins.mean():.1f} %", phase_map.gain)
            for regime, phase_map in maps.items()
        ]
        title = f"{self.features.covariance}, test ratios {self.test_ratios}: "
        title += f"{self.law or 'best uniform law'} against the best fixed ratio"
        rows = [{"regime": regime} | row for regime, phase_map in maps.items() for row in phase_map.rows()]
        return self.files.write("compare.csv", rows, draw_regions(panels, aspects, snrs, WIN_MARGIN, title))

    def _regrets(self, test: "MaskLaw", laws: "list[MaskLaw]") -> None:
        """Print the regrets of laws, regime by regime, and write them to regret.csv."""
        from dnar2mae.theory.regimes import regime_table
        from dnar2mae.theory.regret import regrets
        from dnar2mae.theory.report import describe_regrets, write_table

        aspects, snrs = self.grid.axes()
        rows = []
        for regime in dict.fromkeys(self.regimes):
            table = partial(regime_table, self.features, regime, self.mean)
            rows += [{"regime": regime} | row for row in regrets(table, test, aspects, 1 / snrs, laws)]
        print(*describe_regrets(rows), sep="\n")
        print(f"wrote {write_table(self.files.out / 'regret.csv', rows)}")


@dataclass(frozen=True, kw_only=True)
class CheckCommand:
    """Compare theory with simulation, and print the median and the largest error by kind of row.

    Example: dnar2mae theory check --out runs/check

    Four covariances, four aspect ratios and four laws; with one mask a sample the loss on all rows and on masked
    entries, each with rescaled inputs as well (-inv); under every mask the predictors that see the visible share
    (share) or the mask (bits), with and without a ridge, clean and over test ratios.
    """

    out: Path
    """Folder for check.csv; made if missing."""
    num_features: int = 200
    """Number of features d; the error falls as 1/d."""
    repetitions: int = 12
    """Random samples behind each setting, at least 2."""
    json: bool = False
    """Print the rows of check.csv as JSON, and all else on stderr."""

    def run(self) -> list[dict[str, Any]]:
        """Simulate, print and write; return the rows."""
        from dnar2mae.theory.error import check_settings
        from dnar2mae.theory.report import describe_errors, write_table

        if self.repetitions < 2 or self.num_features < 20:
            numbers = f"{self.repetitions} and {self.num_features}"
            raise ConfigError(f"--repetitions must be at least 2 and --num-features at least 20, got {numbers}")
        self.out.mkdir(parents=True, exist_ok=True)
        with progress_bar("settings", None, at_once=True):
            rows = list(check_settings(self.num_features, range(self.repetitions)))
        print(*describe_errors(rows), sep="\n")
        print(f"wrote {write_table(self.out / 'check.csv', rows)}")
        return rows


@dataclass(frozen=True, kw_only=True)
class FewMasksCommand:
    """Simulate the predictor that sees the visible share under few masks a sample, where there is no formula.

    Example: dnar2mae theory few-masks --num-masks 20

    Prints the lowest mean risk over fixed ratios and over uniform laws, for the plain predictor and the one that
    sees the share, ridgeless and with the best ridge: clean, and as the mean over test ratios. Laws are chosen on
    half of the repetitions, and their risks are those of the other half.
    """

    features: OmitArgPrefixes[FeatureModel] = field(
        default_factory=lambda: FeatureModel(covariance="ar1:0.9", num_features=60)
    )
    num_masks: int = 20
    """Masks a sample."""
    aspect: float = 1.0
    """Aspect ratio d/n."""
    noise: float = 0.5
    """Variance of the target's noise, where its signal has variance 1."""
    test_ratios: str = "0,0.3,0.6,0.9"
    """Ratios at test time, with commas, or a law of them."""
    repetitions: int = 16
    """Random samples, an even number of at least 4."""

    def run(self) -> None:
        """Simulate and print."""
        from dnar2mae.theory.few_masks import compare_few_masks
        from dnar2mae.theory.regimes import parse_test_ratios

        if self.repetitions < 4 or self.repetitions % 2 or self.num_masks < 1:
            numbers = f"{self.repetitions} and {self.num_masks}"
            raise ConfigError(f"--repetitions must be even and at least 4, --num-masks at least 1, got {numbers}")
        test, task = parse_test_ratios(self.test_ratios), self.features.task(self.noise)
        print(*compare_few_masks(task, self.aspect, self.num_masks, test, self.repetitions), sep="\n")


@dataclass(frozen=True, kw_only=True)
class PeffCommand:
    """Print the fixed ratio that is equivalent to a law of the mask ratio.

    Example: dnar2mae theory peff --laws uniform:0.05,0.5 uniform:0,1 choice:0.15,0.5

    With very many masks per sample, or on the population, every predictor that is linear in the masked input
    has the same loss under the law as at this fixed ratio, for inputs as they are, by the loss (all rows,
    masked entries, the mean over a sample's masked entries), and for rescaled inputs. With one mask per
    sample the mean predictor is that of the fixed ratio in the last columns, which depend on the covariance
    and on d/n.
    """

    laws: tuple[str, ...]
    """fixed:P, uniform:LOW,HIGH, choice:P,P,..., linear:FIRST,LAST, cosine:FIRST,LAST or beta:A,B,LOW,HIGH."""
    features: OmitArgPrefixes[FeatureModel] = field(default_factory=FeatureModel)
    aspects: tuple[float, ...] = (0.2, 0.8, 1.25, 5.0)
    """Aspect ratios d/n of the columns for one mask per sample."""

    def run(self) -> None:
        """Compute and print."""
        from dnar2mae.mask_laws import parse_law
        from dnar2mae.theory.report import describe_effective_ratios

        laws = [parse_law(text) for text in self.laws]
        print(*describe_effective_ratios(self.features.task(1.0), laws, self.aspects), sep="\n")


def run(argv: list[str]) -> int:
    """Parse ``dnar2mae theory ...`` and run it.

    Raises
    ------
    Dnar2maeError
        If a setting breaks its rule.
    """
    commands = {
        "risk": RiskCommand,
        "phase": PhaseCommand,
        "compare": CompareCommand,
        "peff": PeffCommand,
        "check": CheckCommand,
        "few-masks": FewMasksCommand,
    }
    command = parse_subcommand(commands, argv, prog="dnar2mae theory", description=_DESCRIPTION)
    if isinstance(command, PeffCommand | FewMasksCommand):  # tables for the eye
        command.run()
        return 0
    with json_at_end(command.json if isinstance(command, CheckCommand) else command.files.json) as hand_over:
        hand_over(command.run())
    return 0


_DESCRIPTION = """Mask ratios in minimum-norm ("ridgeless") linear regression on masked inputs.

Example: dnar2mae theory risk --covariance ar1:0.9 --aspects 0.5 0.8 2 --noise 0.5 --out runs/risk

A linear model, not a neural network: read docs/theory.md for what carries over."""


def _title(features: FeatureModel, masking: Masking) -> str:
    return f"{features.covariance}, {masking.loss} loss, scale {masking.scale}, masks {masking.num_masks}"
