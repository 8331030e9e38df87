"""From the settings of a fine-tuning to its problem: samples, labels, kind of target, division."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from dnar2mae.errors import ConfigError, DataError
from dnar2mae.finetuning.labels import ReadLabels, read_labels
from dnar2mae.finetuning.options import FinetuneConfig
from dnar2mae.finetuning.problem import SampleProblem
from dnar2mae.finetuning.samples import (
    REGION_COLUMNS,
    SEQUENCE_COLUMNS,
    Samples,
    context_bp,
    read_samples,
    tile,
)
from dnar2mae.finetuning.splits import Division, SplitInput, divide, repeated_rows
from dnar2mae.finetuning.targets import KINDS, Per, Target
from dnar2mae.genome.tracks import read_track
from dnar2mae.homology.files import read_table
from dnar2mae.inference.loading import TrainedModel
from dnar2mae.modalities.dna.sources import SequenceSource
from dnar2mae.storage.compressed import without_compression
from dnar2mae.storage.fingerprint import of_many, of_values
from dnar2mae.storage.remote import local_path
from dnar2mae.storage.safe_files import sha256
from dnar2mae.tokenizers import KmerTokenizer


class OpenedData(NamedTuple):
    """What a fine-tuning learns from."""

    problem: SampleProblem
    truth: Float[np.ndarray, "N C"] | None
    """The true expectation of the labels, where the table has it."""
    notes: tuple[str, ...]
    """What was found, for the reader."""


def open_data(config: FinetuneConfig, trained: TrainedModel) -> OpenedData:
    """Read samples and labels, find the kind of target, divide.

    Raises
    ------
    Dnar2maeError
        If a file cannot be used, a label is missing or unusable, or a part has no row or one class only.
    """
    if not config.data:
        raise ConfigError("--data must name what is learned from")
    if config.track:
        return _open_track(config, trained)
    samples = read_samples(trained, config.data, config.genome, allow_truncation=config.allow_truncation)
    table = _label_table(config, samples)
    columns = _label_columns(config, table)
    labels = read_labels(table, columns, config.target, config.label_table or config.data)
    contents = samples.contents()
    _check_known(config, samples, contents)
    division = _divide(config, samples, table, contents)
    problem, notes = _problem(config, samples, labels, division, columns)
    return OpenedData(problem, _truth(table, columns, labels), (*notes, *_repeated(samples, division, contents)))


def _check_known(config: FinetuneConfig, samples: Samples, contents: Sequence[bytes]) -> None:
    """Refuse sequences in which no base is known: they have no vector."""
    if samples.has_strands:
        empty = next((row for row, content in enumerate(contents, 1) if not content.strip(b"N")), None)
        if empty is not None:
            raise DataError(f"{config.data}: row {empty}: no known base in this sequence; leave it out")


def _label_columns(config: FinetuneConfig, table: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns that are labels.

    Raises
    ------
    ConfigError
        If one is missing, given twice, or an input as well.
    """
    is_bed = without_compression(config.data).lower().endswith(".bed")
    columns = config.label or (("name",) if is_bed and "label" not in table.columns else ("label",))
    if missing := [column for column in columns if column not in table.columns]:
        raise ConfigError(
            f"{config.label_table or config.data}: no column {', '.join(missing)}; name the label's with --label: it "
            f"has {', '.join(map(str, table.columns))}"
        )
    if len(set(columns)) < len(columns):
        raise ConfigError(f"--label must name each column once, got {', '.join(columns)}")
    inputs = {*SEQUENCE_COLUMNS, *REGION_COLUMNS, "strand", config.split_column}
    if both := [column for column in columns if column in inputs]:
        raise ConfigError(f"--label {both[0]}: this column is an input (or says the split), and cannot be a label, too")
    return columns


def _label_table(config: FinetuneConfig, samples: Samples) -> pd.DataFrame:
    """Return a table of texts with a row a sample, among whose columns are the labels.

    Raises
    ------
    Dnar2maeError
        If there is none, or it has another number of rows.
    """
    source: Any = samples.source
    if config.label_table:
        table = read_table(Path(config.label_table))
        if len(table) != len(samples):
            raise ConfigError(f"{config.label_table}: {len(table):,} rows for the {len(samples):,} samples")
        return table
    if getattr(source, "labels", None) is not None:
        return samples.table.assign(label=[source.classes[number] for number in source.labels])
    if hasattr(source, "column"):
        wanted = [*(config.label or ("label",))]
        return samples.table.assign(**{name: source.column(name).astype(str) for name in wanted})
    return samples.table


def _open_track(config: FinetuneConfig, trained: TrainedModel) -> OpenedData:
    """Read windows of a genome and a value or class for each of their bases."""
    genome = config.genome or config.data
    tokenizer = getattr(trained.modality, "tokenizer", None)
    if not isinstance(tokenizer, KmerTokenizer) or (tokenizer.k, tokenizer.stride) != (1, 1):
        raise ConfigError(f"--track needs a model of DNA by single bases, and {trained.source} is another")
    window_bp = config.window_bp or context_bp(trained)
    regions = read_samples(trained, config.data, config.genome, allow_truncation=True)
    assert isinstance(regions.source, SequenceSource)
    if regions.source.sequences.genome is None:
        raise ConfigError(
            f"--track needs --data with places in a genome (FASTA, BED, chrom, start, end), got {config.data}"
        )
    windows = tile(regions.source.sequences, window_bp, window_bp)
    track = read_track(config.track, windows.genome, features=config.features, by_name=config.track_names)  # type: ignore[arg-type]
    wanted = np.full((len(windows.table), window_bp, 1), np.nan, np.float32)
    for row, (name, start, end, strand) in enumerate(windows.table.itertuples(index=False)):
        values = track.values(name, start, end)
        wanted[row, : end - start, 0] = values[::-1] if strand == "-" else values
    # windows without a value teach nothing, and are in no part
    known = np.flatnonzero(~np.isnan(wanted).all((1, 2)))
    if not len(known):
        raise DataError(f"{config.track}: no value lies in the regions of {config.data} ({genome})")
    wanted = wanted[known]
    sequences = replace(windows, table=windows.table.iloc[known].reset_index(drop=True), lengths=windows.lengths[known])
    samples = Samples(SequenceSource(sequences, tokenizer, Path(config.data)), sequences.table.astype(str))
    labels = _track_labels(config, wanted, track.classes)
    places = [*sequences.table[["name", "start", "strand"]].itertuples(index=False)]
    # windows that overlap, such as the last two of a sequence, are as one that is equal
    contents = [repr(tuple(places[first])).encode() for first in _first_overlapping(sequences.table)]
    division = _divide(config, samples, samples.table, contents)
    name = ("class",) if labels.classes else ("value",)
    problem, notes = _problem(config, samples, labels, division, name)
    return OpenedData(problem, None, notes)


def _first_overlapping(places: pd.DataFrame) -> Int[np.ndarray, " N"]:
    """Return for each window the first of those that overlap it, or one another up to it, on either strand."""
    order = places.reset_index(drop=True).sort_values(["name", "start"], kind="stable")
    ends = order.groupby("name", sort=False)["end"].cummax().shift(fill_value=0)
    begins = (order["name"] != order["name"].shift()) | (order["start"] >= ends)
    return order.index.to_series().groupby(begins.cumsum()).transform("first").sort_index().to_numpy(np.int64)


def _track_labels(config: FinetuneConfig, wanted: np.ndarray, classes: tuple[str, ...] | None) -> ReadLabels:
    known = wanted[~np.isnan(wanted)]
    if known.min() == known.max():
        raise DataError(f"{config.track}: every base has the value {known[0]:g}: there is nothing to learn")
    if classes is not None:
        if config.target not in ("auto", "classes"):
            raise ConfigError(f"--target {config.target}: {config.track} has classes")
        return ReadLabels("classes", "a class for each base", wanted, classes)
    if config.target in ("classes", "labels"):
        raise ConfigError(f"--target {config.target}: {config.track} has numbers; those of bases are numbers or counts")
    whole = (known >= 0).all() and (known == np.round(known)).all()
    if config.target == "counts" and not whole:
        raise DataError(f"{config.track}: --target counts needs whole numbers from 0 up")
    if config.target == "auto" and whole:
        return ReadLabels("counts", "a whole number from 0 up for each base", wanted)
    return ReadLabels("numbers", "a number for each base", wanted)


def _divide(config: FinetuneConfig, samples: Samples, table: pd.DataFrame, contents: Sequence[bytes]) -> Division:
    source = samples.source
    if not isinstance(source, SequenceSource):
        return divide(config, SplitInput(table, contents, None, None))
    places = source.sequences.table if source.sequences.genome else None
    return divide(config, SplitInput(table, contents, places, lambda: samples.letters(range(len(samples)))))


def _problem(
    config: FinetuneConfig, samples: Samples, labels: ReadLabels, division: Division, columns: tuple[str, ...]
) -> tuple[SampleProblem, tuple[str, ...]]:
    per: Per = "base" if config.track else "sample"
    train = labels.wanted[division.of_rows == "train"].reshape(-1, labels.wanted.shape[-1])
    train = train[~np.isnan(train).any(1)]
    target = KINDS[labels.kind].learned(columns, per, train, classes=labels.classes, weigh=config.class_weights)
    _check_parts(config, target, labels, division.of_rows)
    if config.both_strands:
        samples.check_strands()
    problem = SampleProblem(
        samples=samples,
        wanted=labels.wanted,
        parts=division.of_rows,
        target=target,
        seed=config.seed,
        both_strands=config.both_strands,
        select=config.select,
    )
    what = f" ({', '.join(labels.classes)})" if labels.classes else f" ({', '.join(columns)})"
    return problem, (f"target: {labels.kind}{what}, since: {labels.why}", f"split: {division.how}")


def _check_parts(config: FinetuneConfig, target: Target, labels: ReadLabels, parts: Shaped[np.ndarray, " N"]) -> None:
    """Refuse a part in which a class, or a label's value, is alone: nothing could be chosen or scored by it."""
    for part in ("train", "dev"):
        values = labels.wanted[parts == part].reshape(-1, labels.wanted.shape[-1])
        for column, name in enumerate(target.columns):
            known = values[:, column][~np.isnan(values[:, column])]
            if len(np.unique(known)) < 2:
                one = labels.classes[int(known[0])] if labels.classes else f"{known[0]:g}"
                raise DataError(
                    f"{config.track or config.data}: {part} has one value only of {name} ({one}): take another --split"
                )


def _repeated(samples: Samples, division: Division, contents: Sequence[bytes]) -> tuple[str, ...]:
    number = repeated_rows(division.of_rows, contents)
    if not number:
        return ()
    other = " (or their reverse complements)" if samples.has_strands else ""
    total = int(np.isin(division.of_rows, ("dev", "test")).sum())
    return (f"{number:,} of {total:,} rows of dev and test{other} are in train, too: their scores are too good",)


def _truth(table: pd.DataFrame, columns: tuple[str, ...], labels: ReadLabels) -> Float[np.ndarray, "N C"] | None:
    """Return the columns ``truth_NAME`` of all labels (of one also ``truth``), if all have them, and as numbers.

    Of more than two classes one number says no expectation.
    """
    names = [f"truth_{name}" for name in columns]
    if len(columns) == 1 and names[0] not in table.columns:
        names = ["truth"]
    if any(name not in table.columns for name in names) or len(labels.classes) > 2:
        return None
    truth = table[names].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    return truth if np.isfinite(truth).all() else None


def fingerprint(config: FinetuneConfig) -> str:
    """Return a digest of the content of all files that are learned from."""
    digests = []
    for name in (config.data, config.genome, config.track, config.label_table):
        path = local_path(name) if name else None
        if path is None:
            digests.append("")
        elif path.is_dir():
            digests.append(of_many(path, sorted(file for file in path.rglob("*") if file.is_file())))
        else:
            digests.append(sha256(path))
    return of_values(digests)
