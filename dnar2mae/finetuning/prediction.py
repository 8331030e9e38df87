"""``predict``: apply a fine-tuned model to a file and write a table, or a track of values per base."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from dnar2mae.errors import ConfigError
from dnar2mae.finetuning.options import PredictOptions
from dnar2mae.finetuning.samples import SEQUENCE_COLUMNS, Samples, context_bp, read_samples, tile
from dnar2mae.finetuning.saved import TunedModel, load
from dnar2mae.finetuning.targets import Classes, Target
from dnar2mae.genome.track_writer import TRACK_SUFFIXES, write_track
from dnar2mae.modalities.dna.sequences import Sequences
from dnar2mae.modalities.dna.sources import SequenceSource
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.safe_files import output_file, refuse_inputs

_TABLES = (".csv", ".tsv", ".parquet")
_WINDOWS = 256  # predicted at once


@dataclass(frozen=True, slots=True)
class PredictionsWritten:
    """The output of :func:`predict`."""

    rows: int
    """Samples, or bases."""
    what: str
    """``samples`` or ``bases``."""
    files: tuple[str, ...]
    source: str
    """The model."""


class Stretch(NamedTuple):
    """Predictions of bases that follow one another on the forward strand."""

    name: str
    start: int
    values: Float[np.ndarray, "L P"]
    """NaN where a base is unknown."""


def predict(
    model: str | Path | TunedModel,
    path: str | Path,
    out: str | Path,
    *,
    device: str = "auto",
    options: PredictOptions | None = None,
) -> PredictionsWritten:
    """Predict for each sample of a file, or for each base, and write the predictions.

    Parameters
    ----------
    model
        A fine-tuned run, or the model that :func:`dnar2mae.finetuning.load` returned.
    path
        What the model's modality reads; of DNA FASTA, CSV, TSV, parquet or BED (with a genome).
    out
        ``.csv``, ``.tsv`` or ``.parquet``: the columns of the input and those of :meth:`.TunedModel.predict`. Of values
        per base also ``.bw`` or ``.bedgraph``: the value, or the probability of the class that is not the first; where
        there are several, a file each, with their names before the suffix.
    device
        Device of a model that is given by its path.
    options
        Genome, strands, overlap of windows.

    Raises
    ------
    Dnar2maeError
        If the model, the input or the output cannot be used.
    """
    path, out, options = Path(path), Path(out), options or PredictOptions()
    tuned = model if isinstance(model, TunedModel) else load(model, device=device)
    per_base = tuned.target.per == "base"
    usable = (*_TABLES, *TRACK_SUFFIXES) if per_base else _TABLES
    if out.suffix not in usable:
        raise ConfigError(f"--out must end in {', '.join(usable)}, got {out}")
    files = _files(tuned.target, out)
    refuse_inputs(files.values(), (path, options.genome))
    whole = per_base or options.allow_truncation  # of bases any length is read, by windows
    samples = read_samples(tuned.trained, str(path), options.genome, allow_truncation=whole, where="the input")
    if options.both_strands:
        samples.check_strands()
    if not per_base:
        return _predict_samples(tuned, samples, out, options)
    if not isinstance(samples.source, SequenceSource) or samples.source.sequences.genome is None:
        raise ConfigError(f"{path}: a value a base needs places in a genome: FASTA, BED or chrom, start, end, --genome")
    return _predict_bases(tuned, samples.source, files, options)


def _predict_samples(tuned: TunedModel, samples: Samples, out: Path, options: PredictOptions) -> PredictionsWritten:
    parts = []
    with progress_bar("predicting", len(samples)) as bar:
        for start in range(0, len(samples), _WINDOWS):
            ids = np.arange(start, min(start + _WINDOWS, len(samples)))
            parts.append(tuned.predicted(samples, ids, both_strands=options.both_strands))
            bar(int(ids[-1]) + 1)
    frame = tuned.target.frame(np.concatenate(parts))
    table = samples.table.drop(columns=list(SEQUENCE_COLUMNS), errors="ignore").reset_index(drop=True)
    if both := [column for column in frame.columns if column in table.columns]:
        raise ConfigError(f"the input has a column {both[0]}, which predictions are written to; rename it")
    _write_table([pd.concat([table, frame], axis=1)], out)
    return PredictionsWritten(len(samples), "samples", (str(out),), tuned.source)


def _files(target: Target, out: Path) -> dict[int, Path]:
    """Return the files to write, by the column of the predictions that each has; a table has all.

    Raises
    ------
    ConfigError
        If names of classes or labels differ only in signs that a file's name cannot have.
    """
    names = target.names
    shown = range(1, len(names)) if isinstance(target, Classes) else range(len(names))
    if out.suffix in _TABLES or len(shown) == 1:
        return {shown[0]: out}
    files = {i: out.with_name(f"{out.stem}.{re.sub(r'[^-+.A-Za-z0-9_]', '_', names[i])}{out.suffix}") for i in shown}
    if len(set(files.values())) < len(files):
        raise ConfigError(f"{', '.join(names)}: these names differ too little for a file each; let --out be a table")
    return files


def _predict_bases(
    tuned: TunedModel, source: SequenceSource, files: dict[int, Path], options: PredictOptions
) -> PredictionsWritten:
    genome = source.sequences.genome
    assert genome is not None
    regions = _merged(source.sequences)
    total = int(regions.lengths.sum())
    stretches = _stretches(tuned, replace_sequences(source, regions), options)
    first = next(iter(files.values()))
    if first.suffix in _TABLES:
        _write_table((_described(tuned, stretch) for stretch in stretches), first)
    else:
        kept = list(stretches) if len(files) > 1 else stretches
        for column, file in files.items():
            write_track(file, genome, ((s.name, s.start, s.values[:, column].astype(np.float32)) for s in kept))
    return PredictionsWritten(total, "bases", tuple(map(str, files.values())), tuned.source)


def _merged(sequences: Sequences) -> Sequences:
    """Return the regions in the order of the genome, on the forward strand, those that overlap as one."""
    genome = sequences.genome
    assert genome is not None
    order = {name: number for number, name in enumerate(genome.names)}
    rows: list[list] = []
    places = sequences.table[["name", "start", "end"]].itertuples(index=False, name=None)
    for name, start, end in sorted(places, key=lambda place: (order[place[0]], place[1])):
        if rows and rows[-1][0] == name and start <= rows[-1][2]:
            rows[-1][2] = max(rows[-1][2], int(end))
        else:
            rows.append([name, int(start), int(end)])
    table = pd.DataFrame(rows, columns=["name", "start", "end"]).assign(strand="+")
    return replace(sequences, table=table, lengths=(table["end"] - table["start"]).to_numpy(np.int64))


def replace_sequences(source: SequenceSource, sequences: Sequences) -> SequenceSource:
    """Return a source of other sequences of the same genome."""
    return SequenceSource(sequences, source.tokenizer, Path("regions"))


def _stretches(tuned: TunedModel, source: SequenceSource, options: PredictOptions) -> Iterator[Stretch]:
    """Yield predictions by windows that overlap; each base has that of the window in whose middle it lies most."""
    window_bp = tuned.config.window_bp or context_bp(tuned.trained)
    step_bp = max(int(window_bp * (1 - options.overlap_share)), 1)
    windows = tile(source.sequences, window_bp, step_bp)
    samples = Samples(replace_sequences(source, windows), windows.table)
    name = windows.table["name"].to_numpy(str)
    start, end = (windows.table[column].to_numpy(np.int64) for column in ("start", "end"))
    # a window goes on from the one before if both are of one region: they overlap or touch, and regions do not
    follows = np.append(False, (name[1:] == name[:-1]) & (start[1:] <= end[:-1]))
    first = np.where(follows, (start + np.roll(end, 1)) // 2, start)
    last = np.where(np.append(follows[1:], False), np.roll(first, -1), end)
    with progress_bar("predicting", len(windows.table)) as bar:
        for begin in range(0, len(samples), _WINDOWS):
            ids = np.arange(begin, min(begin + _WINDOWS, len(samples)))
            values = tuned.predicted(samples, ids, both_strands=options.both_strands)
            for row, i in enumerate(ids.tolist()):
                yield Stretch(str(name[i]), int(first[i]), values[row, first[i] - start[i] : last[i] - start[i]])
            bar(int(ids[-1]) + 1)


def _described(tuned: TunedModel, stretch: Stretch) -> pd.DataFrame:
    frame = tuned.target.frame(stretch.values)
    frame.insert(0, "chrom", stretch.name)
    frame.insert(1, "position", stretch.start + np.arange(len(frame)))
    return frame


def _write_table(frames: Iterable[pd.DataFrame], out: Path) -> None:
    """Write frames below one another."""
    with output_file(out) as partial:
        if out.suffix == ".parquet":
            pd.concat(list(frames)).to_parquet(partial, index=False)
            return
        with partial.open("w", newline="") as file:
            for number, frame in enumerate(frames):
                frame.to_csv(file, sep="\t" if out.suffix == ".tsv" else ",", index=False, header=number == 0)
