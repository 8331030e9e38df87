"""Maps: in-silico mutagenesis of a region as a sequence logo and a heat map, embeddings as points."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError, needing, raising
from dnar2mae.plots.figure import new_figure, save_figure

if TYPE_CHECKING:
    import pandas as pd

_COLOURS = {"A": "#2e8b57", "C": "#1f5fbf", "G": "#d98c00", "T": "#c0392b"}
# as many as the colours of matplotlib's default cycle
_MAX_GROUPS = 10


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
    draw_logo(logo, scores, start)
    logo.set_title(title)
    limit = max(float(np.nanmax(np.abs(scores), initial=0)), 1e-6)
    extent = (start - 0.5, start + length - 0.5, 3.5, -0.5)
    image = heat.imshow(scores.T, aspect="auto", cmap="RdBu", vmin=-limit, vmax=limit, extent=extent)
    reference = np.flatnonzero(~np.isnan(scores[:, 0]))
    # the reference base is the one whose ratio against itself is 0
    heat.plot(start + reference, np.abs(scores[reference]).argmin(1), ".", color="0.3", ms=3)
    heat.set(yticks=range(4), yticklabels=list("ACGT"), xlabel="position (0-based)", ylabel="instead")
    figure.colorbar(image, ax=heat, label="log-likelihood ratio (nats)", fraction=0.03, pad=0.01)
    save_figure(figure, path)


def draw_logo(axes: Any, scores: Float[np.ndarray, "L 4"], start: int) -> None:
    """Draw the letters of :func:`letter_heights` from position ``start`` on."""
    heights = letter_heights(scores)
    for i, row in enumerate(heights.tolist()):
        bottom = 0.0
        # the tallest letter on top
        for base in np.argsort(row):
            _letter(axes, "ACGT"[base], start + i, bottom, row[base])
            bottom += row[base]
    axes.set(ylim=(0, max(float(heights.sum(1).max(initial=0)) * 1.05, 0.1)), ylabel="bits")


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


def read_embedding(path: Path) -> tuple[Float[np.ndarray, "N D"], "pd.DataFrame"]:
    """Read vectors and their table, as ``dnar2mae embed`` wrote them.

    Raises
    ------
    ConfigError
        If the file cannot be read or is none of the files that ``embed`` writes.
    """
    import pandas as pd

    with raising(ConfigError, f"{path}: cannot be read as embeddings", OSError, ValueError, KeyError, ImportError):
        if path.suffix == ".npy":
            return np.load(path, mmap_mode="r"), pd.read_csv(path.with_suffix(".tsv"), sep="\t")
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            return np.stack(table["embedding"].to_list()), table.drop(columns="embedding")
        if path.suffix == ".h5ad":
            import anndata

            table = anndata.read_h5ad(path)
            return np.asarray(table.X), table.obs
    raise ConfigError(f"{path}: embeddings are .npy (with a .tsv beside it), .parquet or .h5ad files")


def plot_embedding(
    vectors: Float[np.ndarray, "N D"], labels: "pd.Series | None", path: Path, *, method: Literal["pca", "umap"] = "pca"
) -> None:
    """Draw embeddings by their first two principal components, or by UMAP, coloured by label.

    Parameters
    ----------
    vectors
        Rows of NaN are left out.
    labels
        A label for each row: up to ten different values or texts are groups, more numbers are a scale; the rarest
        texts beyond nine groups are drawn as "other".
    path
        PNG, SVG or PDF to write.
    method
        ``umap`` needs the package umap-learn.

    Raises
    ------
    ConfigError
        If fewer than three rows are known, or umap-learn is missing.
    """
    known = np.isfinite(vectors).all(1)
    if known.sum() < 3:
        raise ConfigError(f"a map needs at least 3 embeddings, got {known.sum()}")
    points, names = (pca if method == "pca" else _umap)(np.asarray(vectors[known], np.float32))
    figure = new_figure(6.0, 5.0)
    axes = figure.subplots()
    draw_points(axes, points, None if labels is None else labels[known].reset_index(drop=True))
    axes.set(xlabel=names[0], ylabel=names[1])
    save_figure(figure, path)


def draw_points(axes: Any, points: Float[np.ndarray, "N 2"], labels: "pd.Series | None") -> None:
    """Draw points of a map, coloured by label as :func:`plot_embedding` says."""
    # the more points, the smaller
    size = float(np.clip(6000 / len(points), 2, 20))
    if labels is None:
        axes.scatter(*points.T, s=size, lw=0, alpha=0.7)
    elif labels.nunique() > _MAX_GROUPS and labels.dtype.kind in "if":
        shown = axes.scatter(*points.T, c=labels, s=size, lw=0, alpha=0.7)
        axes.figure.colorbar(shown, ax=axes, label=labels.name)
    else:
        groups = labels.astype(str)
        common = groups.value_counts().index[: _MAX_GROUPS - 1 if groups.nunique() > _MAX_GROUPS else _MAX_GROUPS]
        groups = groups.where(groups.isin(common), "other")
        for group in sorted(groups.unique()):
            axes.scatter(*points[groups == group].T, s=size, lw=0, alpha=0.7, label=group)
        axes.legend(title=labels.name, fontsize=8, markerscale=2, frameon=False)


def pca(vectors: Float[np.ndarray, "N D"]) -> tuple[Float[np.ndarray, "N 2"], list[str]]:
    """Return the first two principal components of vectors, and the names of these axes."""
    centred = vectors - vectors.mean(0)
    # eigenvectors of D x D numbers: quicker than a singular value decomposition of N x D
    values, axes = np.linalg.eigh(centred.T @ centred)
    order = np.argsort(values)[::-1][:2]
    # all vectors may be equal
    parts = values[order] / max(values.sum(), 1e-30)
    return centred @ axes[:, order], [f"component {i + 1} ({share:.0%} of variance)" for i, share in enumerate(parts)]


def _umap(vectors: np.ndarray) -> tuple[np.ndarray, list[str]]:
    with needing("--method umap", "umap-learn", "umap-learn"):
        import umap
    return umap.UMAP(random_state=0).fit_transform(vectors), ["UMAP 1", "UMAP 2"]
