"""In-silico mutagenesis of a region as a sequence logo and a heat map."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dnar2mae.plots.figure import new_figure, save_figure

_COLOURS = {"A": "#2e8b57", "C": "#1f5fbf", "G": "#d98c00", "T": "#c0392b"}


def plot_mutagenesis(scores: Float[np.ndarray, "L 4"], title: str, start: int, path: Path) -> None:
    """Draw a model's probabilities at each position of a region, and its score of every substitution.

    The logo's letters are the model's probabilities at the masked position, ``softmax(scores)``, times their
    information content in bits: a tall letter is one that the context determines. The heat map shows the scores.

    Parameters
    ----------
    scores
        Log-likelihood ratio of A, C, G, T against the reference base, in nats, as
        :func:`dnar2mae.variants.mutagenesis` returns them; a row of NaN is an unknown base.
    title
        Title of the figure.
    start
        0-based coordinate of the first position.
    path
        PNG, SVG or PDF to write.
    """
    length = len(scores)
    figure = new_figure(min(max(length * 0.16, 6.0), 60.0), 4.0)
    logo, heat = figure.subplots(2, 1, sharex=True, height_ratios=(1.3, 1))
    heights = letter_heights(scores)
    for i, row in enumerate(heights.tolist()):
        bottom = 0.0
        # the tallest letter on top
        for base in np.argsort(row):
            _letter(logo, "ACGT"[base], start + i, bottom, row[base])
            bottom += row[base]
    logo.set(ylim=(0, max(float(heights.sum(1).max(initial=0)) * 1.05, 0.1)), ylabel="bits", title=title)
    limit = max(float(np.nanmax(np.abs(scores), initial=0)), 1e-6)
    extent = (start - 0.5, start + length - 0.5, 3.5, -0.5)
    image = heat.imshow(scores.T, aspect="auto", cmap="RdBu", vmin=-limit, vmax=limit, extent=extent)
    reference = np.flatnonzero(~np.isnan(scores[:, 0]))
    # the reference base is the one whose ratio against itself is 0
    heat.plot(start + reference, np.abs(scores[reference]).argmin(1), ".", color="0.3", ms=3)
    heat.set(yticks=range(4), yticklabels=list("ACGT"), xlabel="position (0-based)", ylabel="instead")
    figure.colorbar(image, ax=heat, label="log-likelihood ratio (nats)", fraction=0.03, pad=0.01)
    save_figure(figure, path)


def letter_heights(scores: Float[np.ndarray, "L 4"]) -> Float[np.ndarray, "L 4"]:
    """Return probabilities at the masked positions times their information, ``2 - entropy`` bits; 0 for NaN."""
    weights = np.exp(np.nan_to_num(scores) - np.nan_to_num(scores).max(1, keepdims=True))
    probabilities = weights / weights.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.nansum(probabilities * np.log2(probabilities), axis=1, keepdims=True)
    return probabilities * np.maximum(2 - entropy, 0)


def _letter(axes: Any, letter: str, x: float, bottom: float, height: float) -> None:
    """Draw a letter stretched to a box of width 0.9 and this height."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    outline = TextPath((0, 0), letter, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold"))
    box = outline.get_extents()
    move = Affine2D().translate(-box.x0, -box.y0).scale(0.9 / box.width, height / box.height)
    shape = move.translate(x - 0.45, bottom).transform_path(outline)
    axes.add_patch(PathPatch(shape, facecolor=_COLOURS[letter], linewidth=0))
