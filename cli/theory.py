"""``dnar2mae theory``: what ridgeless regression says about mask ratios."""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

    from dnar2mae.theory import Task
    from dnar2mae.theory.phase import PhaseMap

Regime = Literal["rows", "rows-inv", "masked", "masked-inv", "uncentred", "uncentred-inv"]


@dataclass(frozen=True, kw_only=True)
class _Features:
    covariance: str = "ar1:0.8"
    """Covariance of the features: isotropic, ar1:CORRELATION, power:EXPONENT (of the eigenvalues),
    spiked:SHARE,RATIO (a share of the directions has RATIO times the variance),
    levels:VALUExSHARE,VALUExSHARE,... (any flat steps), latent:FACTORS,STRENGTH (a factor model), or the
    path of an .npy file with your own matrix."""
    num_features: int = 200
    """Number of features d (a file brings its own). Curves hardly depend on it; simulations approach them as
    1/d."""
    keep_variances: bool = False
    """Keep unequal variances; by default every feature is scaled to variance 1."""
    alignment: float = 0.0
    """The target's energy along an eigenvector goes as its eigenvalue to this power: 0 all alike, 1 leading
    ones."""
    seed: int = 0
    """Seed of random eigenvectors, targets and simulations."""

    def matrix(self) -> "np.ndarray":
        """Covariance as asked for."""
        from dnar2mae.theory.covariance import correlation, parse_covariance

        matrix = parse_covariance(self.covariance, self.num_features, self.seed)
        return matrix if self.keep_variances else correlation(matrix)

    def task(self, noise: float) -> "Task":
        """Regression of aligned targets with signal variance 1."""
        from dnar2mae.theory.task import aligned_targets, linear_task

        matrix = self.matrix()
        return linear_task(matrix, aligned_targets(matrix, self.alignment, seed=self.seed), noise)


@dataclass(frozen=True, kw_only=True)
class _Files:
    out: Path
    """Folder for the plots and the CSV file; made if missing."""
    overwrite: bool = False
    """Write into a folder that is not empty."""
    plots: tuple[str, ...] = ("plot.png",)
    """Names of the plots in it; the extension (.png, .svg, .pdf) sets the format."""

    def prepare(self) -> None:
        """Make the folder, or refuse it."""
        from dnar2mae.errors import ConfigError
        from dnar2mae.theory.plots import check_plot_names

        check_plot_names(self.plots)
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())) and not self.overwrite:
            raise ConfigError(f"--out {self.out} is not empty; give --overwrite to write into it")
        self.out.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True, kw_only=True)
class _Grid:
    resolution: int = 60
    """Aspect ratios and signal-to-noise ratios on each side of the map."""
    aspect_range: tuple[float, float] = (0.1, 10.0)
    """Smallest and largest aspect ratio d/n."""
    snr_range: tuple[float, float] = (0.1, 100.0)
    """Smallest and largest signal-to-noise ratio beta'S beta / sigma^2."""

    def axes(self) -> tuple["np.ndarray", "np.ndarray"]:
        """Aspect ratios and signal-to-noise ratios, evenly spaced in the logarithm."""
        import numpy as np

        from dnar2mae.errors import ConfigError

        for name, (low, high) in (("aspect-range", self.aspect_range), ("snr-range", self.snr_range)):
            if not 0 < low < high:
                raise ConfigError(f"--{name} must be two increasing numbers > 0, got {low:g} {high:g}")
        if self.resolution < 2:
            raise ConfigError(f"--resolution must be at least 2, got {self.resolution}")
        return (
            np.geomspace(*self.aspect_range, self.resolution),
            np.geomspace(*self.snr_range, self.resolution),
        )


@dataclass(frozen=True, kw_only=True)
class RiskCommand(_Features, _Files):
    """Risk against mask ratio at several aspect ratios: theory as lines, simulation as points.

    Example: dnar2mae theory risk --covariance ar1:0.9 --aspects 0.5 0.8 2 --noise 0.5 --out runs/risk

    The minimum of a line is the best fixed ratio. With --width 0.4 a dashed line shows the random ratio
    Uniform(p - 0.2, p + 0.2). With --form self-supervised every feature is predicted from the others with
    the loss on masked entries, and a second panel shows how badly a linear probe of the learned code
    recovers the leading principal components (simulated only).
    """

    form: Literal["supervised", "self-supervised"] = "supervised"
    """A target outside the features, or the features themselves (then give --loss masked)."""
    aspects: tuple[float, ...] = (0.25, 0.5, 0.8, 1.25, 2.0, 4.0)
    """Aspect ratios d/n; n counts samples, not masked rows."""
    noise: float = 0.5
    """Variance of the target's noise, where its signal has variance 1 (supervised form)."""
    width: float = 0.0
    """Also draw Uniform(p - width/2, p + width/2), in [0, 0.8]."""
    scale: Literal["none", "inv"] = "none"
    """Visible inputs as they are, or divided by 1 - p as in inverted dropout."""
    loss: Literal["rows", "masked", "masked-mean"] = "rows"
    """rows: every masked row counts. masked: only rows in which the target's own feature is masked."""
    num_masks: int | Literal["inf"] = 1
    """Mask draws per sample, 1 to 64, or inf."""
    ridge: float | None = None
    """Ridge penalty; by default none (minimum norm)."""
    num_ratios: int = 80
    """Ratios on each line."""
    num_points: int = 9
    """Simulated ratios on each line; 0 simulates none."""
    repetitions: int = 10
    """Random samples behind each point."""
    rank: int = 6
    """Size of the probed code (self-supervised form)."""

    def run(self) -> None:
        """Compute, print and write."""
        import numpy as np

        from dnar2mae.theory import plots
        from dnar2mae.theory.curves import Sampling, trace
        from dnar2mae.theory.rows import Masking

        masking = Masking(scale=self.scale, loss=self.loss, num_masks=self.num_masks, ridge=self.ridge)
        sampling = Sampling(
            num_ratios=self.num_ratios, num_points=self.num_points, repetitions=self.repetitions, seed=self.seed
        )
        supervised = self.form == "supervised"
        source = self.task(self.noise) if supervised else self.matrix()
        settings = [(aspect, width) for aspect in self.aspects for width in sorted({0.0, self.width})]
        self.prepare()
        with _progress("risk", len(settings)) as advance:
            lines = []
            for aspect, width in settings:
                lines.append(trace(source, aspect, width, masking, sampling, rank=self.rank))
                advance(1)
        for line in lines:
            print(f"d/n = {line.aspect:<5g} lowest {line.theory.min():.4f} at {line.laws[line.best].name}")
        gaps = 100 * np.abs(np.concatenate([line.gaps for line in lines]))
        if len(gaps):
            extremes = f"median {np.median(gaps):.1f} %, largest {gaps.max():.1f} %"
            print(f"theory against simulation at {len(gaps)} points: {extremes}")
        _write(self.out / "risk.csv", [row for line in lines for row in line.rows()])
        ylabel = "excess test risk" if supervised else "reconstruction error"
        title = f"{self.covariance}, {self.loss} loss, scale {self.scale}, masks {self.num_masks}"
        _tell(plots.save(plots.draw_risk(lines, ylabel, title), self.out, self.plots))


@dataclass(frozen=True, kw_only=True)
class PhaseCommand(_Features, _Grid, _Files):
    """The best fixed mask ratio, and the best uniform law, over aspect ratio and signal-to-noise ratio.

    Example: dnar2mae theory phase --covariance ar1:0.9 --resolution 200 --out runs/phase

    phase.csv has one line a setting: the best fixed ratio and its excess risk, and the best Uniform(low,
    high) of at least width 0.1 and its excess risk.
    """

    scale: Literal["none", "inv"] = "none"
    """Visible inputs as they are, or divided by 1 - p as in inverted dropout."""
    loss: Literal["rows", "masked", "masked-mean"] = "rows"
    """rows: every masked row counts. masked: only rows in which the target's own feature is masked."""
    num_masks: int | Literal["inf"] = 1
    """Mask draws per sample, 1 to 64, or inf."""

    def run(self) -> None:
        """Compute, print and write."""
        from dnar2mae.theory import plots
        from dnar2mae.theory.phase import centred_table
        from dnar2mae.theory.rows import Masking

        masking = Masking(scale=self.scale, loss=self.loss, num_masks=self.num_masks)
        aspects, snrs = self.axes()
        self.prepare()
        found = _map(centred_table(self.task(1.0), masking), aspects, snrs, "phase")
        best = found.best_ratio
        print(f"best fixed ratio: {best.min():.3f} to {best.max():.3f} (searched up to 0.98)")
        print(f"no masking is best in {100 * (best < 0.001).mean():.1f} % of {best.size} settings")
        print(f"uniform against fixed: {found.summary()}")
        _write(self.out / "phase.csv", found.rows())
        title = f"{self.covariance}, {self.loss} loss, scale {self.scale}, masks {self.num_masks}"
        _tell(plots.save(plots.draw_optimum(aspects, snrs, best, title), self.out, self.plots))


@dataclass(frozen=True, kw_only=True)
class CompareCommand(_Features, _Grid, _Files):
    """Where a random ratio beats the best fixed one, regime by regime, with the share of settings won.

    Example: dnar2mae theory compare --covariance spiked:0.05,50 --alignment 1 --out runs/compare

    In each setting the best of 400 fixed ratios meets the best of 702 uniform laws at least 0.1 wide (or the
    one law of --law). Only a risk lower by more than 0.1 % is a win.
    """

    regimes: tuple[Regime, ...] = ("rows", "masked", "uncentred", "rows-inv", "masked-inv", "uncentred-inv")
    """rows: one mask a sample, loss on all rows. masked: one mask, loss on masked entries. uncentred: inputs
    with a mean, an intercept, targets with positive coefficients (--alignment is not used), very many masks.
    -inv: the same with visible inputs divided by 1 - p."""
    law: str | None = None
    """Compare this law only: uniform:LOW,HIGH, choice:P,P,... or beta:A,B,LOW,HIGH."""
    mean: float = 2.0
    """Mean of every input in the uncentred regimes, in standard deviations."""

    def run(self) -> None:
        """Compute, print and write."""
        from dnar2mae.theory import parse_law, plots
        from dnar2mae.theory.phase import WIN_MARGIN

        random_laws = None if self.law is None else [parse_law(self.law)]
        aspects, snrs = self.axes()
        self.prepare()
        rows: list[dict[str, Any]] = []
        panels, maps = [], {}
        for regime in self.regimes:
            found = maps[regime] = _map(self.table(regime), aspects, snrs, regime, random_laws)
            rows += [{"regime": regime} | row for row in found.rows()]
            panels.append((f"{regime}: wins {100 * found.wins.mean():.1f} %", found.gain))
            print(f"{regime:14}{found.summary()}", flush=True)
        if {"uncentred", "uncentred-inv"} <= maps.keys():
            beaten = maps["uncentred-inv"].fixed_risk < maps["uncentred"].random_risk
            wins = maps["uncentred"].wins
            share = 100 * beaten[wins].mean() if wins.any() else float("nan")
            print(f"uncentred: a rescaled fixed ratio is better still in {share:.1f} % of the settings won")
        _write(self.out / "compare.csv", rows)
        title = f"{self.covariance}: {self.law or 'best uniform law'} against the best fixed ratio"
        figure = plots.draw_regions(panels, aspects, snrs, WIN_MARGIN, title)
        _tell(plots.save(figure, self.out, self.plots))

    def table(self, regime: Regime) -> Any:
        """Risks of a regime."""
        import numpy as np

        from dnar2mae.theory.phase import centred_table, uncentred_table
        from dnar2mae.theory.rows import Masking
        from dnar2mae.theory.uncentred import UncentredTask, positive_targets

        kind, _, inv = regime.partition("-")
        scale: Literal["none", "inv"] = "inv" if inv else "none"
        if kind != "uncentred":
            masking = Masking(scale=scale, loss="masked" if kind == "masked" else "rows")
            return centred_table(self.task(1.0), masking)
        matrix = self.matrix()
        target = positive_targets(matrix, 4, self.seed)
        return uncentred_table(UncentredTask(matrix, target, np.full(len(matrix), self.mean), 1.0), scale)


@dataclass(frozen=True, kw_only=True)
class PeffCommand(_Features):
    """The fixed ratio that a law of the mask ratio amounts to.

    Example: dnar2mae theory peff --laws uniform:0.05,0.5 uniform:0,1 choice:0.15,0.5

    With very many masks per sample, or on the population, every predictor that is linear in the masked input
    has the same loss under the law as at this fixed ratio, for inputs as they are, by the loss (all rows,
    masked entries, the mean over a sample's masked entries), and for rescaled inputs. With one mask per
    sample the mean predictor is that of the fixed ratio in the last columns, which depend on the covariance
    and on d/n.
    """

    laws: tuple[str, ...]
    """fixed:P, uniform:LOW,HIGH, choice:P,P,... or beta:A,B,LOW,HIGH."""
    aspects: tuple[float, ...] = (0.2, 0.8, 1.25, 5.0)
    """Aspect ratios d/n of the columns for one mask per sample."""

    def run(self) -> None:
        """Compute and print."""
        from dnar2mae.theory import effective_ratio, parse_law, risk_equivalent
        from dnar2mae.theory.rows import Masking

        columns = [Masking(), Masking(loss="masked"), Masking(loss="masked-mean"), Masking(scale="inv")]
        names = ["mean", "rows", "masked", "masked-mean", "rows-inv"]
        task, laws = self.task(1.0), [parse_law(spec) for spec in self.laws]
        heads = [f"{name:>12}" for name in names] + [f"{f'd/n={aspect:g}':>12}" for aspect in self.aspects]
        print(f"{'law':24}" + "".join(heads))
        for law in laws:
            visible = law.high < 1
            values = [law.mean()]
            for masking in columns:
                refused = law.ratios.min() == 0 if masking.loss != "rows" else masking.scale == "inv" and not visible
                values.append(math.nan if refused else effective_ratio(law, masking))
            if visible:
                values += risk_equivalent(task, [law], self.aspects).effective_ratio[0].tolist()
            cells = [f"{v:12.4f}" if math.isfinite(v) else f"{'-':>12}" for v in values]
            print(f"{law.name:24}" + "".join(cells))


def run(argv: list[str]) -> int:
    """Parse ``dnar2mae theory ...`` and run it.

    Raises
    ------
    Dnar2maeError
        If a setting breaks its rule.
    """
    from typing import Annotated

    import tyro

    commands = (
        Annotated[RiskCommand, tyro.conf.subcommand("risk")]
        | Annotated[PhaseCommand, tyro.conf.subcommand("phase")]
        | Annotated[CompareCommand, tyro.conf.subcommand("compare")]
        | Annotated[PeffCommand, tyro.conf.subcommand("peff")]
    )
    parse: Any = tyro.cli
    parse(commands, args=argv, prog="dnar2mae theory", description=_DESCRIPTION).run()
    return 0


_DESCRIPTION = """What minimum-norm ("ridgeless") linear regression on masked inputs says about mask ratios.

A linear model, not a neural network: read docs/theory.md for what carries over."""


@contextmanager
def _progress(name: str, total: int) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(name, total=total)
        yield lambda count: bar.advance(task, count)


def _map(
    table: Any, aspects: "np.ndarray", snrs: "np.ndarray", name: str, random_laws: list[Any] | None = None
) -> "PhaseMap":
    from dnar2mae.theory import fixed
    from dnar2mae.theory.optimum import LOWEST_RATIO, range_grid, ratio_grid
    from dnar2mae.theory.phase import phase_map

    fixed_laws = [fixed(p) for p in ratio_grid(400, LOWEST_RATIO).tolist()]
    laws = random_laws or range_grid(0.025, LOWEST_RATIO)
    with _progress(name, len(fixed_laws) + len(laws)) as advance:
        return phase_map(table, aspects, 1 / snrs, fixed_laws, laws, advance=advance)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    import csv

    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    _tell([path])


def _tell(paths: Sequence[Path]) -> None:
    for path in paths:
        print(f"wrote {path}")
