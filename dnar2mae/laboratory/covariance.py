"""The covariance of your own data or of a file's array, and the linear model's predictions from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dnar2mae.batch import batches_of, evenly_spaced
from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, DataError, needing, raising
from dnar2mae.mask_laws import Fixed, Uniform
from dnar2mae.modalities.image.arrays import read_idx
from dnar2mae.modalities.registry import build_modality
from dnar2mae.plots.figure import new_figure, save_figure
from dnar2mae.storage.remote import local_path
from dnar2mae.theory.options import Masking
from dnar2mae.theory.phase import WIN_MARGIN, uniform_grid
from dnar2mae.theory.rows import effective_ratio
from dnar2mae.theory.self_supervised import reconstruction_equivalent

_GUESSING = 0.99  # of the error of guessing the mean: above it nothing is learned
_RATIOS = np.linspace(0.01, 0.95, 95)
_MAX_ONE_HOT = 64  # different tokens; a one-hot column each
_AT_ONCE = 256  # samples read together


@dataclass(frozen=True, eq=False)
class CovarianceEstimate:
    """A correlation matrix and how it was estimated."""

    matrix: Float[np.ndarray, "d d"]
    """Every feature has variance 1."""
    num_samples: int
    shrinkage: float
    """Weight of the identity, chosen by Ledoit and Wolf's formula."""
    num_constant: int
    """Features left out because they do not vary."""
    num_left_out: int
    """Further features left out because others vary more."""


def estimate(values: Float[np.ndarray, "N d"], most_features: int) -> CovarianceEstimate:
    r"""Estimate the correlation of the features, shrunk towards the identity.

    .. math:: \hat S = (1 - \lambda) R + \lambda I

    R is the sample correlation; lambda minimises the expected squared error (Ledoit and Wolf 2004).

    Raises
    ------
    ConfigError
        If fewer than two features vary.
    """
    from sklearn.covariance import ledoit_wolf

    sd = values.std(0)
    varies = np.flatnonzero(sd > 1e-9 * max(float(sd.max()), 1e-300))
    if len(varies) < 2:
        raise ConfigError(f"a covariance needs two features that vary, got {len(varies)} of {values.shape[1]}")
    kept = np.sort(varies[np.argsort(-sd[varies], kind="stable")][:most_features])
    scaled = (values[:, kept] - values[:, kept].mean(0)) / sd[kept]
    matrix, shrinkage = ledoit_wolf(scaled, assume_centered=True)
    np.fill_diagonal(matrix, 1.0)  # it is 1 but for rounding
    return CovarianceEstimate(
        matrix, len(values), float(shrinkage), values.shape[1] - len(varies), len(varies) - len(kept)
    )


@dataclass(frozen=True, eq=False)
class Opinion:
    """Predictions of the linear masked autoencoder of a covariance at one aspect ratio d/n."""

    aspect: float
    ratios: Float[np.ndarray, " L"]
    fixed_error: Float[np.ndarray, " L"]
    """Error on a masked feature at each fixed ratio; 1 is that of guessing the mean."""
    best_uniform: Uniform
    """At least 0.1 wide."""
    uniform_error: float

    @property
    def best_ratio(self) -> float:
        """Return the best fixed ratio."""
        return float(self.ratios[self.fixed_error.argmin()])

    @property
    def gain(self) -> float:
        """Return the best uniform law's error over the best fixed ratio's, less 1; negative where it wins."""
        return self.uniform_error / float(self.fixed_error.min()) - 1

    @property
    def law(self) -> str | None:
        """Return the law that it suggests: a fixed ratio unless a random one wins by more than 0.1 %.

        None where nothing is learned: the error is above 0.99 of that of guessing the mean.
        """
        if min(float(self.fixed_error.min()), self.uniform_error) > _GUESSING:
            return None
        return self.best_uniform.name if self.gain < -WIN_MARGIN else Fixed(self.best_ratio).name

    def rows(self) -> list[dict[str, Any]]:
        """Return the curve as a table."""
        about = {"aspect": self.aspect, "suggested": self.law or ""}
        return [
            about | {"ratio": ratio, "error": error}
            for ratio, error in zip(self.ratios.tolist(), self.fixed_error.tolist(), strict=True)
        ]


def opinions(
    matrix: Float[np.ndarray, "d d"], aspects: Sequence[float], masking: Masking | None = None
) -> list[Opinion]:
    """Ask the linear model, at each aspect ratio.

    Every feature is predicted from the others under the masked-entries loss, and the error counts with all others
    visible, averaged over twelve features.

    Raises
    ------
    ConfigError
        If the matrix is not a covariance, or an aspect ratio is not positive.
    """
    masking = masking or Masking(loss="masked")
    laws = uniform_grid(0.05, float(_RATIOS[0]))
    of_fixed = reconstruction_equivalent(matrix, [Fixed(p) for p in _RATIOS.tolist()], list(aspects), masking)
    of_uniform = reconstruction_equivalent(matrix, laws, list(aspects), masking)
    best = of_uniform.argmin(0)
    return [
        Opinion(aspect, _RATIOS, of_fixed[:, g], laws[best[g]], float(of_uniform[best[g], g]))
        for g, aspect in enumerate(aspects)
    ]


def describe(opinion: Opinion) -> str:
    """Describe an opinion in a line."""
    lowest, uniform = float(opinion.fixed_error.min()), opinion.best_uniform
    effective = effective_ratio(uniform, Masking(loss="masked"))
    suggests = f"suggests {opinion.law}" if opinion.law else "no better than guessing the mean: no suggestion"
    return (
        f"d/n = {opinion.aspect:<5.3g} best fixed ratio {opinion.best_ratio:.2f}, error {lowest:.4f}; best uniform law "
        f"{uniform.name}, {100 * opinion.gain:+.2f} %, p_eff {effective:.2f}; {suggests}"
    )


def draw(opinions: Sequence[Opinion], title: str, path: Path) -> None:
    """Plot error against fixed ratio, one line an aspect ratio, the best ratio marked."""
    figure = new_figure(5.0, 3.6)
    axis = figure.subplots()
    for number, opinion in enumerate(opinions):
        low = opinion.fixed_error.argmin()
        axis.plot(opinion.ratios, opinion.fixed_error, color=f"C{number}", label=f"d/n = {opinion.aspect:.3g}")
        axis.plot(opinion.ratios[low], opinion.fixed_error[low], "o", color=f"C{number}", ms=4)
        axis.hlines(
            opinion.uniform_error, opinion.best_uniform.low, opinion.best_uniform.high, color=f"C{number}", ls=":"
        )
    top = max(float(np.quantile(opinion.fixed_error, 0.9)) for opinion in opinions)
    # Errors diverge near a peak: a limit at the 90 % quantile keeps the minima visible.
    axis.set(xlabel="mask ratio (dotted: best uniform law, over its interval)", ylim=(None, min(1.3 * top, 2.5)))
    axis.set_ylabel("error on a masked feature")
    axis.set_title(title, fontsize=9)
    axis.legend(loc="upper left", fontsize=8, frameon=False)
    save_figure(figure, path)


def read_array(path: Path, most_rows: int) -> Float[np.ndarray, "N d"]:
    """Read samples by features: ``.npy``, ``.npz`` (sparse, or its one array), ``.h5ad`` or IDX (also gzip).

    Axes after the first are flattened; of more than ``most_rows`` samples evenly spaced ones are taken.

    Raises
    ------
    ConfigError
        If it cannot be read, is not one array of numbers, or these are not finite.
    """
    with (
        needing(f"--array {path}", "anndata", "dnar2mae[cells]"),
        raising(ConfigError, f"--array {path} cannot be read", OSError, ValueError, KeyError, EOFError, DataError),
    ):
        array = _load(local_path(path))
    if array.ndim < 2 or array.dtype.kind not in "iuf" or array.shape[0] < 2:
        raise ConfigError(f"--array {path} must be samples by features, got {array.dtype} of shape {array.shape}")
    rows = array[evenly_spaced(array.shape[0], most_rows)]
    values = np.asarray(rows.todense() if hasattr(rows, "todense") else rows, float).reshape(rows.shape[0], -1)
    if not np.isfinite(values).all():
        raise ConfigError(f"--array {path} must be finite, got {(~np.isfinite(values)).sum()} other numbers")
    return values


def sample_features(config: PretrainConfig, most_rows: int, most_features: int) -> Float[np.ndarray, "N d"]:
    """Return features of a run's first training samples, of any modality.

    A token is masked as a whole, so no feature of it may predict another one: each token is described by its
    principal components, which are uncorrelated. They are those of the values that it carries, the leading ones so
    that all tokens fit; else of its one-hot columns, all of them, for as many tokens from the sample's start as fit
    (a token that cannot be masked has none).

    Raises
    ------
    ConfigError
        If there are more than 64 different tokens.
    """
    modality = build_modality(config)
    vocabulary, parts = modality.vocabulary, []
    for batch in batches_of(modality.train, np.arange(most_rows), _AT_ONCE):
        if batch.values is not None:
            parts.append(batch.values[:, :most_features].double().numpy())
            continue
        num_tokens = vocabulary.num_real
        if num_tokens > _MAX_ONE_HOT:
            raise ConfigError(f"one-hot features need at most {_MAX_ONE_HOT} tokens, got {num_tokens}")
        # One-hot columns sum to 1, so a token has one component less than there are tokens.
        positions = max(most_features // (num_tokens - 1), 2)
        digit = (batch.tokens - vocabulary.first_real)[:, :positions, None].numpy()
        real = batch.maskable[:, :positions, None].numpy()
        parts.append(((digit == np.arange(num_tokens)) & real).astype(float))
    tokens = np.concatenate(parts)
    each = max(most_features // tokens.shape[1], 1)
    return np.concatenate([_components(tokens[:, position], each) for position in range(tokens.shape[1])], axis=1)


def _components(columns: Float[np.ndarray, "N P"], most: int) -> Float[np.ndarray, "N C"]:
    """Return the leading principal components, each of variance 1, without those that do not vary."""
    centred = columns - columns.mean(0)
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(columns))
    kept = np.flatnonzero(variances > 1e-6)[::-1][:most]  # eigh sorts ascending
    return centred @ vectors[:, kept] / np.sqrt(variances[kept])


def _load(path: Path) -> Any:  # an array, dense or sparse
    match path.suffix:
        case ".npy":
            return np.load(path, allow_pickle=False)
        case ".npz":
            from scipy.sparse import load_npz

            with np.load(path, allow_pickle=False) as file:
                if "format" in file:
                    return load_npz(path).tocsr()
                if len(file.files) != 1:
                    raise ValueError(f"expected one array, got {', '.join(file.files)}")
                return file[file.files[0]]
        case ".h5ad":
            from anndata import read_h5ad

            return read_h5ad(path).X
    return read_idx(path)
