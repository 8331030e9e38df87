"""Feature matrices, from files of numbers or from the samples of any modality."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dnar2mae.batch import batches_of, evenly_spaced
from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, DataError, needing, raising
from dnar2mae.modalities.image.arrays import read_idx
from dnar2mae.modalities.registry import build_modality

_MAX_ONE_HOT = 64  # different tokens; a one-hot column each
_AT_ONCE = 256  # samples read together


def read_array(path: Path, most_rows: int) -> Float[np.ndarray, "N d"]:
    """Read samples by features: ``.npy``, ``.npz`` (sparse, or its one array), ``.h5ad`` or IDX (also gzip).

    Parameters
    ----------
    path
        The file. Axes after the first are flattened.
    most_rows
        Evenly spaced rows to take, at most.

    Raises
    ------
    ConfigError
        If it cannot be read, is not one array of numbers, or these are not finite.
    """
    with (
        needing(f"--array {path}", "anndata", "dnar2mae[cells]"),
        raising(ConfigError, f"--array {path} cannot be read", OSError, ValueError, KeyError, EOFError, DataError),
    ):
        array = _load(path)
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
                    raise ValueError(f"expected one array, found {', '.join(file.files)}")
                return file[file.files[0]]
        case ".h5ad":
            from anndata import read_h5ad

            return read_h5ad(path).X
    return read_idx(path)
