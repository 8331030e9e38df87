"""Embeddings in two dimensions."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from dnar2mae.errors import ConfigError, needing, raising
from dnar2mae.plots.figure import new_figure, save_figure

if TYPE_CHECKING:
    import pandas as pd

# as many as the colours of matplotlib's default cycle
_MAX_GROUPS = 10


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
    points, names = (_pca if method == "pca" else _umap)(np.asarray(vectors[known], np.float32))
    figure = new_figure(6.0, 5.0)
    axes = figure.subplots()
    # the more points, the smaller
    size = float(np.clip(2000 / len(points), 2, 20))
    if labels is None:
        axes.scatter(*points.T, s=size, lw=0, alpha=0.7)
    else:
        of_row = labels[known].reset_index(drop=True)
        if of_row.nunique() > _MAX_GROUPS and of_row.dtype.kind in "if":
            shown = axes.scatter(*points.T, c=of_row, s=size, lw=0, alpha=0.7)
            figure.colorbar(shown, ax=axes, label=labels.name)
        else:
            groups = of_row.astype(str)
            common = groups.value_counts().index[: _MAX_GROUPS - 1 if groups.nunique() > _MAX_GROUPS else _MAX_GROUPS]
            groups = groups.where(groups.isin(common), "other")
            for group in sorted(groups.unique()):
                axes.scatter(*points[groups == group].T, s=size, lw=0, alpha=0.7, label=group)
            axes.legend(title=labels.name, fontsize=8, markerscale=2, frameon=False)
    axes.set(xlabel=names[0], ylabel=names[1])
    save_figure(figure, path)


def _pca(vectors: np.ndarray) -> tuple[np.ndarray, list[str]]:
    centred = vectors - vectors.mean(0)
    # eigenvectors of D x D numbers: quicker than a singular value decomposition of N x D
    values, axes = np.linalg.eigh(centred.T @ centred)
    order = np.argsort(values)[::-1][:2]
    # all vectors may be equal
    shares = values[order] / max(values.sum(), 1e-30)
    return centred @ axes[:, order], [f"component {i + 1} ({share:.0%} of variance)" for i, share in enumerate(shares)]


def _umap(vectors: np.ndarray) -> tuple[np.ndarray, list[str]]:
    with needing("--method umap", "umap-learn", "umap-learn"):
        import umap
    return umap.UMAP(random_state=0).fit_transform(vectors), ["UMAP 1", "UMAP 2"]
