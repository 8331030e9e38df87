"""The results of ``dnar2mae theory``, in words, tables and figures."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError
from dnar2mae.mask_laws import MaskLaw
from dnar2mae.theory.curves import Line
from dnar2mae.theory.equivalents import risk_equivalent
from dnar2mae.theory.options import Masking, Regime
from dnar2mae.theory.phase import PhaseMap
from dnar2mae.theory.rows import effective_ratio
from dnar2mae.theory.task import Task

_COLUMNS = {
    "rows": Masking(),
    "masked": Masking(loss="masked"),
    "masked-mean": Masking(loss="masked-mean"),
    "rows-inv": Masking(scale="inv"),
}
if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
_STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "lines.linewidth": 1.2,
    "svg.fonttype": "none",
    # ids in an SVG are random without: the same figure would be another file each time
    "svg.hashsalt": "dnar2mae",
}


def describe_lines(lines: Sequence[Line]) -> list[str]:
    """Return the minimum of every line, and how far theory and simulation are apart."""
    text = [f"d/n = {line.aspect:<5g} lowest {line.theory.min():.4f} at {line.laws[line.best].name}" for line in lines]
    gaps = 100 * np.abs(np.concatenate([line.gaps for line in lines]))
    if len(gaps):
        extremes = f"median {np.median(gaps):.1f} %, largest {gaps.max():.1f} %"
        text.append(f"theory against simulation at {len(gaps)} points: {extremes}")
    return text


def describe_phase(phase: PhaseMap) -> list[str]:
    """Return the range of the best fixed ratio, and how uniform laws compare."""
    best = phase.best_ratio
    return [
        f"best fixed ratio: {best.min():.3f} to {best.max():.3f} (searched up to 0.98)",
        f"no masking is best in {100 * (best < 0.001).mean():.1f} % of {best.size} settings",
        f"uniform against fixed: {phase.summary()}",
    ]


def describe_rescaling(maps: dict[Regime, PhaseMap]) -> list[str]:
    """Return how often rescaled inputs at a fixed ratio beat a random ratio that wins, where both are known."""
    if not {"uncentred", "uncentred-inv"} <= maps.keys():
        return []
    beaten = maps["uncentred-inv"].fixed_risk < maps["uncentred"].random_risk
    wins = maps["uncentred"].wins
    share = 100 * beaten[wins].mean() if wins.any() else math.nan
    return [f"uncentred: a rescaled fixed ratio is better still in {share:.1f} % of the settings won"]


def describe_regrets(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return a table of regrets, mean and worst, a line a law and two columns a regime."""
    regimes = list(dict.fromkeys(row["regime"] for row in rows))
    cells: dict[str, str] = {}
    for row in rows:
        cells.setdefault(row["law"], f"{row['law']:20}")
        cells[row["law"]] += f"{row['mean_regret']:9.1f}{row['worst_regret']:9.1f}"
    heads = "".join(f"{regime:>18}" for regime in regimes)
    return [f"{'regret, %':20}{heads}", " " * 20 + f"{'mean':>9}{'worst':>9}" * len(regimes), *cells.values()]


def describe_errors(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the median and the extremes of theory over simulation less 1, by kind of row."""
    lines = [
        f"{'kind':12}{'settings':>9}{'median |error|':>16}{'95 %':>8}{'lowest':>9}{'highest':>9}{'median s.e.':>13}"
    ]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        error = 100 * np.array([row["error"] for row in own])
        deviation = 100 * np.median([row["standard_error"] / row["simulation"] for row in own])
        median, high = np.quantile(np.abs(error), [0.5, 0.95])
        numbers = f"{median:14.1f} %{high:6.1f} %{error.min():+7.1f} %{error.max():+7.1f} %{deviation:11.1f} %"
        lines.append(f"{kind:12}{len(own):9}{numbers}")
    return lines


def describe_effective_ratios(task: Task, laws: Sequence[MaskLaw], aspects: Sequence[float]) -> list[str]:
    """Return a table of effective ratios: a line a law, a column a loss, then one an aspect ratio (one mask)."""
    heads = ["mean", *_COLUMNS, *(f"d/n={aspect:g}" for aspect in aspects)]
    lines = [f"{'law':24}" + "".join(f"{head:>12}" for head in heads)]
    for law in laws:
        values = [law.mean, *(_effective_ratio(law, masking) for masking in _COLUMNS.values())]
        if law.largest < 1:
            values += risk_equivalent(task, [law], aspects).effective_ratio[0].tolist()
        cells = [f"{value:12.4f}" if math.isfinite(value) else f"{'-':>12}" for value in values]
        lines.append(f"{law.name:24}" + "".join(cells))
    return lines


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows of equal columns as CSV, numbers to six digits, and return the path."""
    import pandas as pd

    pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6g", lineterminator="\r\n")
    return path


def _effective_ratio(law: MaskLaw, masking: Masking) -> float:
    """Return the effective ratio; NaN where a loss or the rescaling does not allow the law."""
    never_masks = masking.loss != "rows" and law.nodes.min() == 0
    masks_all = masking.scale == "inv" and law.largest >= 1
    return math.nan if never_masks or masks_all else effective_ratio(law, masking)


def draw_risk(lines: Sequence[Line], ylabel: str, title: str) -> "Figure":
    """Draw risk against mask ratio: lines are theory, points simulation with two standard errors.

    Parameters
    ----------
    lines
        The curves; dashed where the law is random. Probe errors, if any, get a panel of their own.
    ylabel
        Label of the vertical axis.
    title
        What was simulated.
    """
    import matplotlib
    from matplotlib.figure import Figure

    probed = any(line.probe is not None for line in lines)
    random = any(line.random for line in lines)
    aspects = sorted({line.aspect for line in lines})
    with matplotlib.rc_context(_STYLE):
        colours = dict(zip(aspects, matplotlib.colormaps["viridis"](np.linspace(0, 0.88, len(aspects))), strict=True))
        figure = Figure(figsize=(4.4 * (1 + probed), 3.3), layout="constrained")
        axes = figure.subplots(1, 1 + probed, squeeze=False)[0]
        for line in lines:
            style = {"color": colours[line.aspect], "label": None if line.random else f"d/n = {line.aspect:g}"}
            axes[0].plot(line.means, line.theory, "--" if line.random else "-", **style)
            _points(axes[0], line, line.simulation, style | {"label": None})
            if line.probe is not None:
                _points(axes[1], line, line.probe, style)
        axes[0].set(ylabel=ylabel, yscale="log", ylim=_visible_range(lines))
        if probed:
            axes[1].set(ylabel="share of variance that the probe misses", yscale="log")
        for axis in axes:
            axis.set_xlabel("mean mask ratio (dashed: uniform law)" if random else "mask ratio")
            axis.legend()
        figure.suptitle(title, fontsize=8)
        return figure


def draw_optimum(
    aspects: Float[np.ndarray, " G"], snrs: Float[np.ndarray, " N"], best: Float[np.ndarray, "G N"], title: str
) -> "Figure":
    """Draw the best fixed ratio over aspect ratio and signal-to-noise ratio, as a map and as curves."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.4, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        image = left.pcolormesh(aspects, snrs, best.T, cmap="viridis", vmin=0, shading="nearest", rasterized=True)
        left.set(xscale="log", yscale="log", xlabel="aspect ratio d/n", ylabel="signal-to-noise ratio")
        figure.colorbar(image, ax=left, label="best fixed mask ratio")
        shown = np.unique(np.linspace(0, len(snrs) - 1, 5).round().astype(int))
        for i, colour in zip(shown, matplotlib.colormaps["plasma"](np.linspace(0, 0.85, len(shown))), strict=True):
            right.plot(aspects, best[:, i], color=colour, label=f"{snrs[i]:.2g}")
        right.set(xscale="log", xlabel="aspect ratio d/n", ylabel="best fixed mask ratio")
        right.legend(title="signal-to-noise", title_fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.suptitle(title, fontsize=8)
        return figure


def draw_regions(
    panels: Sequence[tuple[str, Float[np.ndarray, "G N"]]],
    aspects: Float[np.ndarray, " G"],
    snrs: Float[np.ndarray, " N"],
    margin: float,
    title: str,
) -> "Figure":
    """Draw where a random ratio wins: risk of the best random law over that of the best fixed one, panel by panel.

    Parameters
    ----------
    panels
        Title and gain (negative: the random law wins) of each panel.
    aspects, snrs
        The axes.
    margin
        Gains below minus this are wins; the black line is their border.
    title
        What was computed.
    """
    import matplotlib
    from matplotlib.colors import SymLogNorm
    from matplotlib.figure import Figure

    columns = min(len(panels), 3)
    lines = -(-len(panels) // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(2.3 * columns + 0.9, 2.2 * lines + 0.4), layout="constrained")
        axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        norm = SymLogNorm(linthresh=1, vmin=-100, vmax=100, base=10)
        for axis in axes.ravel()[len(panels) :]:
            axis.set_visible(False)
        for axis, (name, gain) in zip(axes.ravel(), panels, strict=False):
            image = axis.pcolormesh(
                aspects, snrs, 100 * gain.T, cmap="RdBu_r", norm=norm, shading="nearest", rasterized=True
            )
            if (gain < -margin).any():
                axis.contour(aspects, snrs, gain.T, levels=[-margin], colors="k", linestyles="-", linewidths=0.8)
            axis.set(xscale="log", yscale="log", title=name)
        figure.supxlabel("aspect ratio d/n", fontsize=8)
        figure.supylabel("signal-to-noise ratio", fontsize=8)
        ticks = [-100, -10, -1, 0, 1, 10, 100]
        bar = figure.colorbar(image, ax=axes, ticks=ticks, format="{x:g}")
        bar.set_label("change of the risk by a random ratio, %  (blue: it wins)")
        figure.suptitle(title, fontsize=8)
        return figure


def check_plot_names(names: Sequence[str]) -> None:
    """Raise an error for a file name whose extension is not that of a format we write.

    Raises
    ------
    ConfigError
        If an extension is not .png, .svg or .pdf, or a name has a folder.
    """
    for name in names:
        if Path(name).suffix not in FORMATS or Path(name).name != name:
            raise ConfigError(f"--plots must be file names that end in {', '.join(FORMATS)}, got {name}")


def save(figure: "Figure", folder: Path, names: Sequence[str]) -> list[Path]:
    """Write a figure in the formats that the names' extensions say, and return the paths."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        for name in names:
            # no date of writing: the same figure is the same file
            metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(Path(name).suffix, {})
            figure.savefig(folder / name, dpi=160, metadata=metadata)
    return [folder / name for name in names]


def _points(axis: Any, line: Line, measured: Float[np.ndarray, "2 J"], style: dict[str, Any]) -> None:
    mean, error = measured
    axis.errorbar(line.means[line.chosen], mean, 2 * error, fmt="s" if line.random else "o", ms=3, lw=0.8, **style)


def _visible_range(lines: Sequence[Line]) -> tuple[float, float]:
    """Return limits that show every line and cut its peaks off."""
    values = np.concatenate([v for line in lines for v in (line.theory, line.simulation[0])])
    values = values[np.isfinite(values) & (values > 0)]
    return float(values.min()) / 1.3, 1.3 * float(np.quantile(values, 0.97))
