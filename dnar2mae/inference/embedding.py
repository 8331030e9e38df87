"""One call for every model: sequences go through the DNA path, samples of other kinds of data through theirs."""

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from dnar2mae.errors import ConfigError
from dnar2mae.inference.files import embed_file, write_parquet
from dnar2mae.inference.hidden_states import EmbedOptions
from dnar2mae.inference.model import Model
from dnar2mae.inference.samples import embed_samples
from dnar2mae.inference.trained_run import load_run
from dnar2mae.modalities.contract import Modality
from dnar2mae.run.checkpoint import find_checkpoint
from dnar2mae.run.config_file import read_config
from dnar2mae.storage.safe_files import output_file, written_whole


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    rows: int
    width: int
    source: str
    """The model."""


def embed(
    model: str | Path,
    path: str | Path,
    out: str | Path,
    *,
    device: str = "auto",
    options: EmbedOptions | None = None,
    genome: str | Path | None = None,
    tile_bp: int | None = None,
) -> Written:
    """Embed a file of what a model was trained on.

    Parameters
    ----------
    model
        Run directory, checkpoint, or ModernBERT folder.
    path
        Sequences (see :func:`dnar2mae.inference.embed_file`), or what the run's kind of data reads.
    out
        ``.npy`` (with a ``.tsv`` beside it), ``.parquet``, or ``.h5ad`` for sequences and cells; replaced if it exists.
    device
        Where the model runs.
    options, genome, tile_bp
        For sequences alone.

    Raises
    ------
    Dnar2maeError
        If the model, the input or the output cannot be used, or an option does not fit.
    """
    found = find_checkpoint(Path(model))
    kind = "dna" if found is None else read_config(found[0] / "config.yaml", whole=True).modality
    if kind == "dna":
        dna = Model.from_pretrained(Path(model), device=device)
        return Written(*embed_file(dna, path, out, options=options, genome=genome, tile_bp=tile_bp), dna.source)
    if (options or EmbedOptions()) != EmbedOptions() or genome is not None or tile_bp is not None:
        raise ConfigError(f"options of sequences (--pool, --layer, --genome, ...) do not fit {model}, a run on {kind}")
    return _embed_samples_of(Path(model), Path(path), Path(out), device)


def _embed_samples_of(model: Path, path: Path, out: Path, device: str) -> Written:
    trained = load_run(model, device=device)
    _check_suffix(out, trained.modality)
    source = trained.modality.read(path)
    vectors = embed_samples(trained.model, source, progress=True)
    empty = int(np.isnan(vectors).any(1).sum())
    if empty:
        warnings.warn(
            f"{path}: {empty} of {len(vectors)} samples hold nothing to embed: their rows are NaN", stacklevel=2
        )
    table = getattr(source, "table", pd.DataFrame({"sample": np.arange(len(vectors))}))
    with output_file(out) as partial:
        _write(trained.modality, vectors, table, path, partial)
        if out.suffix == ".npy":
            with written_whole(out.with_suffix(".tsv")) as described:
                table.to_csv(described, sep="\t", index=False)
    rows, width = vectors.shape
    return Written(rows, width, str(trained.checkpoint))


def _check_suffix(out: Path, modality: Modality) -> None:
    suffixes = (".npy", ".parquet", *modality.output_suffixes)
    if out.suffix not in suffixes:
        raise ConfigError(f"--out must end in {', '.join(suffixes)}, got {out}")
    if out.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ConfigError(f"--out {out} needs the package pyarrow: pip install pyarrow")


def _write(
    modality: Modality, vectors: Float[np.ndarray, "N D"], table: pd.DataFrame, path: Path, partial: Path
) -> None:
    if partial.suffix == ".npy":
        np.save(partial, vectors)
    elif partial.suffix == ".parquet":
        write_parquet(vectors, table, partial)
    else:
        modality.write(vectors, path, partial)
