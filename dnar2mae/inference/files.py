"""From a file of sequences to a file of embeddings; memory does not grow with the input."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
import pandas as pd
from jaxtyping import Float, Int64, UInt8

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.inference.hidden_states import EmbedOptions
from dnar2mae.inference.inputs import Sequences, read_sequences
from dnar2mae.inference.model import Model
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.safe_files import output_file, written_whole

_BLOCK_TOKENS = 1 << 18
_CHUNK_ROWS = 4096
_PACKAGES = {".npy": "numpy", ".parquet": "pyarrow", ".h5ad": "anndata"}


def embed_file(
    model: Model,
    path: str | Path,
    out: str | Path,
    *,
    options: EmbedOptions | None = None,
    genome: str | Path | None = None,
    tile_bp: int | None = None,
) -> tuple[int, int]:
    """Embed the sequences of a file.

    Parameters
    ----------
    model
        The model.
    path, genome, tile_bp
        Input: a row a sequence, region or tile; see :func:`read_sequences`.
    out
        ``.npy`` (float32 [rows, D]; what the rows are stands in the ``.tsv`` beside it), ``.parquet`` (the table's
        columns and ``embedding``) or ``.h5ad`` (``X`` and ``obs``); replaced if it exists.
    options
        Pool, layer, strands, window. With ``pool="none"`` a row is a token, the output ``.npy``, and the table beside
        it has ``first_row`` and ``num_rows``.

    Returns
    -------
    rows, width
        Shape of what was written. A row without a known base is NaN.

    Raises
    ------
    ConfigError
        If the output's suffix is unknown, its package missing, or an option does not fit the input or the output.
    SequenceError
        If the input cannot be read, or a sequence is shorter than one token.
    """
    out, options = Path(out), options or EmbedOptions()
    _check_output(out, options)
    sequences = read_sequences(path, genome=genome, tile_bp=tile_bp)
    num_tokens = np.array([model.tokenizer.num_tokens(n) for n in sequences.lengths.tolist()], np.int64)
    if (num_tokens < 1).any():
        short = int(np.argmin(num_tokens))
        raise SequenceError(
            f"{path}: sequence {short + 1} ({sequences.lengths[short]} bp) is shorter than one token "
            f"({model.tokenizer.k} bp)"
        )
    table, counts = sequences.table, np.ones_like(num_tokens)
    if options.pool == "none":
        counts = num_tokens
        table = table.assign(first_row=np.cumsum(counts) - counts, num_rows=counts)
    rows, width = int(counts.sum()), model.config.width
    with output_file(out) as partial:
        _write(_blocks(model, sequences, num_tokens, options), (rows, width), table, out, partial)
    return rows, width


def _check_output(out: Path, options: EmbedOptions) -> None:
    from importlib.util import find_spec

    if out.suffix not in _PACKAGES:
        raise ConfigError(f"--out must end in {', '.join(_PACKAGES)}, got {out}")
    if options.pool == "none" and out.suffix != ".npy":
        raise ConfigError(f"--out must end in .npy for --pool none (a row a token), got {out}")
    package = _PACKAGES[out.suffix]
    if find_spec(package) is None:
        raise ConfigError(f"--out {out} needs the package {package}: pip install {package}")


def _blocks(
    model: Model, sequences: Sequences, num_tokens: Int64[np.ndarray, " N"], options: EmbedOptions
) -> Iterator[Float[np.ndarray, "_ D"]]:
    """Embeddings of consecutive sequences, about ``_BLOCK_TOKENS`` tokens at a time."""
    ends = np.cumsum(num_tokens)
    settings = {name: getattr(options, name) for name in options.__slots__}
    first = 0
    with progress_bar("embedding", int(ends[-1])) as update:
        while first < len(ends):
            before = int(ends[first - 1]) if first else 0
            last = max(int(np.searchsorted(ends, before + _BLOCK_TOKENS, side="right")), first + 1)
            if num_tokens[first] > _BLOCK_TOKENS:
                yield from _stretches(model, sequences.codes(first), options, before, update)
            else:
                block = model.embed([sequences.codes(i) for i in range(first, last)], **settings)
                yield np.concatenate(block) if options.pool == "none" else block
            first = last
            update(int(ends[last - 1]))


def _stretches(
    model: Model, codes: UInt8[np.ndarray, " L"], options: EmbedOptions, before: int, update: Callable[[int], None]
) -> Iterator[Float[np.ndarray, "_ D"]]:
    """Embed a long sequence by stretches of whole windows: the same rows as all at once, in bounded memory."""
    tokenizer = model.tokenizer
    settings = {name: getattr(options, name) for name in options.__slots__}
    window, total = tokenizer.num_tokens(options.window_bp or model.window_bp), tokenizer.num_tokens(len(codes))
    cuts = [*range(0, total, window * max(_BLOCK_TOKENS // window, 1)), total]
    if len(cuts) > 2 and total - cuts[-2] < window:  # the last window is as long as the others
        del cuts[-2]
    pooled, known = np.full((1, model.config.width), np.nan, np.float32), 0
    for first, last in itertools.pairwise(cuts):
        part = codes[first * tokenizer.stride : (last - 1) * tokenizer.stride + tokenizer.k]
        found = model.embed([part], **settings)
        update(before + last)
        if options.pool == "none":
            yield found[0]
            continue
        count = int((tokenizer.encode(part) >= tokenizer.vocabulary.first_real).sum())
        known += count
        if options.pool == "max":
            pooled = np.fmax(pooled, found)
        elif count:
            pooled = np.nan_to_num(pooled) + (found - np.nan_to_num(pooled)) * np.float32(count / known)
    if options.pool != "none":
        yield pooled


def _write(
    blocks: Iterable[Float[np.ndarray, "_ D"]], shape: tuple[int, int], table: pd.DataFrame, out: Path, partial: Path
) -> None:
    """Write blocks of rows as they come, to ``partial``; what needs the whole array reads it from a temporary file."""
    if out.suffix == ".npy":
        with partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            _append(file, blocks)
        with written_whole(out.with_suffix(".tsv")) as described:
            table.to_csv(described, sep="\t", index=False)
        return
    write = write_parquet if out.suffix == ".parquet" else _write_h5ad
    with TemporaryFile(dir=out.parent) as file:  # beside the output: there is room for the one as for the other
        _append(file, blocks)
        file.flush()
        write(np.memmap(file, "<f4", "r", shape=shape).view(np.ndarray), table, partial)


def _append(file: IO[bytes], blocks: Iterable[Float[np.ndarray, "_ D"]]) -> None:
    for block in blocks:
        file.write(block.astype("<f4").tobytes())


def _write_h5ad(vectors: Float[np.ndarray, "N D"], table: pd.DataFrame, out: Path) -> None:
    import anndata

    texts = [name for name in table.columns if pd.api.types.is_string_dtype(table[name])]
    described = table.astype(dict.fromkeys(texts, object))  # anndata does not write pandas 3's own strings
    described.index = pd.Index(np.arange(len(table)).astype(str), dtype=object)
    dimensions = pd.DataFrame(index=pd.Index(np.arange(vectors.shape[1]).astype(str), dtype=object))
    anndata.AnnData(vectors, obs=described, var=dimensions).write_h5ad(out)


def write_parquet(vectors: Float[np.ndarray, "N D"], table: pd.DataFrame, out: Path) -> None:
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
