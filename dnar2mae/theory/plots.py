"""Figures of the theory, sized for a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError

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
    "svg.hashsalt": "dnar2mae",
}


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a risk figure with its simulated points."""

    aspect: float
    x: Float[np.ndarray, " L"]
    """Mask ratio, or the mean of the law."""
    y: Float[np.ndarray, " L"] | None
    """Theory; None draws points only."""
    points: tuple[Float[np.ndarray, " J"], Float[np.ndarray, " J"], Float[np.ndarray, " J"]] | None = None
    """x, mean and standard error of simulations."""
    dashed: bool = False
    """A random law instead of a fixed ratio."""


def draw_risk(panels: Sequence[tuple[str, Sequence[Curve]]], xlabel: str, title: str) -> "Figure":
    """Risk against mask ratio: lines are theory, points simulation with two standard errors.

    Parameters
    ----------
    panels
        Label of the vertical axis and curves of each panel.
    xlabel
        Label of the horizontal axis.
    title
        What was simulated.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.4 * len(panels), 3.3), layout="constrained")
        for i, (ylabel, curves) in enumerate(panels):
            axis = figure.add_subplot(1, len(panels), i + 1)
            aspects = sorted({curve.aspect for curve in curves})
            colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.88, len(aspects)))
            for curve in curves:
                colour = colours[aspects.index(curve.aspect)]
                if curve.y is not None:
                    label = None if curve.dashed else f"d/n = {curve.aspect:g}"
                    axis.plot(curve.x, curve.y, "--" if curve.dashed else "-", color=colour, label=label)
                if curve.points is not None:
                    x, mean, error = curve.points
                    marker, label = ("s" if curve.dashed else "o"), None
                    if curve.y is None:
                        label = f"d/n = {curve.aspect:g}"
                    axis.errorbar(x, mean, 2 * error, fmt=marker, ms=3, lw=0.8, color=colour, label=label)
            axis.set(xlabel=xlabel, ylabel=ylabel, yscale="log", ylim=_visible_range(curves))
            axis.legend(loc="upper left")
        figure.suptitle(title, fontsize=8)
        return figure


def draw_optimum(
    aspects: Float[np.ndarray, " G"],
    snrs: Float[np.ndarray, " N"],
    best: Float[np.ndarray, "G N"],
    title: str,
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
    """Where a random ratio wins: risk of the best random law over that of the best fixed one, panel by panel.

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
    """Refuse file names whose extension is not that of a format we write.

    Raises
    ------
    ConfigError
        If an extension is not .png, .svg or .pdf, or a name has a folder.
    """
    for name in names:
        if Path(name).suffix not in FORMATS or Path(name).name != name:
            raise ConfigError(f"--plots must be file names that end in {', '.join(FORMATS)}, got {name}")


def save(figure: "Figure", folder: Path, names: Sequence[str]) -> list[Path]:
    """Write a figure in the formats that the names' extensions say; returns the paths."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        for name in names:
            metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(Path(name).suffix, {})
            figure.savefig(folder / name, dpi=160, metadata=metadata)
    return [folder / name for name in names]


def _visible_range(curves: Sequence[Curve]) -> tuple[float, float]:
    """Limits that show every curve and cut its peaks off."""
    parts = [curve.y for curve in curves if curve.y is not None]
    parts += [curve.points[1] for curve in curves if curve.points is not None]
    values = np.concatenate(parts)
    values = values[np.isfinite(values) & (values > 0)]
    return float(values.min()) / 1.3, 1.3 * float(np.quantile(values, 0.97))
