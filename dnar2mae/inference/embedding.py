"""Embedding a file of samples into a file of vectors, in memory that does not grow with the input."""

import itertools
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import pandas as pd
from jaxtyping import Float

from dnar2mae.errors import ConfigError
from dnar2mae.inference.loading import TrainedModel, load
from dnar2mae.modalities.contract import Embeddings
from dnar2mae.modalities.options import EmbedOptions
from dnar2mae.storage.safe_files import output_file, refuse_inputs, written_whole

_CHUNK_ROWS = 4096
_PACKAGES = {".npy": "numpy", ".parquet": "pyarrow", ".h5ad": "anndata"}


@dataclass(frozen=True, slots=True)
class Written:
    """The output of :func:`embed`."""

    rows: int
    width: int
    source: str
    """The model."""


def embed(
    model: str | Path | TrainedModel,
    path: str | Path,
    out: str | Path,
    *,
    device: str = "auto",
    options: EmbedOptions | None = None,
) -> Written:
    """Embed a file of samples and write the vectors.

    Parameters
    ----------
    model
        A path that :func:`dnar2mae.inference.load` reads, or the model it returned.
    path
        File that the model's modality reads: a row per sample (of DNA per sequence, region or tile).
    out
        ``.npy`` (float32 [rows, D]; a ``.tsv`` beside it describes the rows), ``.parquet`` (the table's
        columns and ``embedding``) or ``.h5ad`` (``X`` and ``obs``; of cells, the input with
        ``obsm["X_dnar2mae"]``); replaced if it exists.
    device
        Device of a model that is given by its path.
    options
        Options of the modality, such as :class:`dnar2mae.inference.DnaEmbedOptions`. Where a sample
        has several rows (``pool="none"``), the output is ``.npy``, and the table beside it has ``first_row`` and
        ``num_rows``.

    Raises
    ------
    Dnar2maeError
        If the model, the input or the output cannot be used, or an option does not fit.

    Warns
    -----
    UserWarning
        If a sample has nothing to embed; its row is NaN.
    """
    path, out = Path(path), Path(out)
    _check_output(out)
    beside = (getattr(options, name, None) for name in ("genome", "assembly_report"))
    refuse_inputs((out, out.with_suffix(".tsv")) if out.suffix == ".npy" else out, (path, *beside))
    trained = model if isinstance(model, TrainedModel) else load(model, device=device)
    fitting = _fitting(options or EmbedOptions(), trained)
    source = trained.modality.read_with(path, fitting)
    embeddings = trained.modality.embeddings(trained.model, source, fitting, progress=True)
    if out.suffix != ".npy" and embeddings.num_rows != len(embeddings.table):
        raise ConfigError(f"--out must end in .npy where a sample has several rows, got {out}")
    with output_file(out) as partial:
        width, empty = _write(trained, embeddings, path, out, partial)
    if empty:
        warnings.warn(
            f"{path}: {empty} of {embeddings.num_rows} samples hold nothing to embed: their rows are NaN", stacklevel=2
        )
    return Written(embeddings.num_rows, width, trained.source)


def _fitting(options: EmbedOptions, trained: TrainedModel) -> EmbedOptions:
    """Return the options in the modality's own class; those that it lacks must have their defaults."""
    given = {f.name: getattr(options, f.name) for f in fields(options) if getattr(options, f.name) != f.default}
    wanted = trained.modality.embed_options
    unfit = sorted(given.keys() - {field.name for field in fields(wanted)})
    if unfit:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in unfit)
        raise ConfigError(f"{flags}: no option of {trained.source}, a model of --modality {trained.config.modality}")
    return wanted(**given)


def _check_output(out: Path) -> None:
    from importlib.util import find_spec

    if out.suffix not in _PACKAGES:
        raise ConfigError(f"--out must end in {', '.join(_PACKAGES)}, got {out}")
    package = _PACKAGES[out.suffix]
    if find_spec(package) is None:
        raise ConfigError(f"--out {out} needs the package {package}: pip install {package}")


def _write(trained: TrainedModel, embeddings: Embeddings, path: Path, out: Path, partial: Path) -> tuple[int, int]:
    """Write blocks of rows as they come, to ``partial``, and return their width and how many rows are NaN.

    Formats that need the whole array read it from a temporary file.
    """
    blocks = iter(embeddings.blocks)
    first = next(blocks, np.zeros((0, 0), np.float32))  # its width goes into the header
    blocks, shape = itertools.chain([first], blocks), (embeddings.num_rows, first.shape[1])
    if out.suffix == ".npy":
        with partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            empty = _append(file, blocks)
        with written_whole(out.with_suffix(".tsv")) as described:
            embeddings.table.to_csv(described, sep="\t", index=False)
        return shape[1], empty
    with TemporaryFile(dir=out.parent) as file:  # on the output's disk, which must have the room anyway
        empty = _append(file, blocks)
        file.flush()
        vectors = np.memmap(file, "<f4", "r", shape=shape).view(np.ndarray)
        if out.suffix == ".parquet":
            _write_parquet(vectors, embeddings.table, partial)
        else:
            trained.modality.write(vectors, embeddings.table, path, partial)
    return shape[1], empty


def _append(file: IO[bytes], blocks: Iterable[Float[np.ndarray, "_ D"]]) -> int:
    """Write blocks and return how many of their rows are NaN."""
    empty = 0
    for block in blocks:
        empty += int(np.isnan(block).any(1).sum())
        file.write(block.astype("<f4").tobytes())
    return empty


def _write_parquet(vectors: Float[np.ndarray, "N D"], table: pd.DataFrame, out: Path) -> None:
    """Write the columns of a table and, as the last one, ``embedding``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    for start in range(0, len(table), _CHUNK_ROWS):
        part = pa.Table.from_pandas(table.iloc[start : start + _CHUNK_ROWS], preserve_index=False)
        values = pa.array(vectors[start : start + _CHUNK_ROWS].ravel())
        part = part.append_column("embedding", pa.FixedSizeListArray.from_arrays(values, vectors.shape[1]))
        writer = writer or pq.ParquetWriter(out, part.schema)
        writer.write_table(part)
    if writer:
        writer.close()
