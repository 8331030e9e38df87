"""Rows of DNA: letters from files, both strands, models of this package and Hugging Face folders."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from dnar2mae.benchmarks.models.encoder import Encoder
from dnar2mae.benchmarks.rows.contract import LabelledData, LabelledRows
from dnar2mae.benchmarks.tasks.sequences import clean, reverse_complement
from dnar2mae.benchmarks.tasks.suite import SPLITS, SuiteTask
from dnar2mae.errors import ConfigError, SequenceError, needing, raising
from dnar2mae.finetuning.kmers import kmer_counts

_RAW = "k-mer counts"
_SPLIT_NAMES = {"train": ("train",), "dev": ("dev", "validation", "valid", "val"), "test": ("test",)}
_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".fna", ".fa", ".fasta")
_SEQUENCE_COLUMNS = ("sequence", "seq")
_MOST_SHOWN = 8


def find_split(folder: Path, split: str) -> list[Path]:
    """Return the files of a split, or its folder of class folders; empty where there is none.

    Names are ``train.csv`` (or .tsv, .parquet, .fna, ..., also ``.gz``), ``train/CLASS/*.txt``, and the
    ``data/train-*.parquet`` of the Hugging Face hub. ``dev`` may also be called valid or validation.
    """
    for name in _SPLIT_NAMES[split]:
        for suffix in _SUFFIXES:
            if (path := folder / f"{name}{suffix}").is_file():
                return [path]
        if (folder / name).is_dir():
            return [folder / name]
        for parent in (folder, folder / "data"):
            if shards := sorted(parent.glob(f"{name}-*.parquet")):
                return shards
    return []


def read_split(paths: list[Path], label_map: Mapping[str, int]) -> LabelledRows:
    """Read rows, in the order of the file (of folder and file names for class folders).

    Returns
    -------
    LabelledRows
        Upper-case A, C, G, T, N; class ids; numbers of rows with lower case and with other letters than these, if any;
        the column ``group`` of a table.

    Raises
    ------
    SequenceError
        A sequence is empty or no nucleotide sequence; the message gives file and row (the header is row 1).
    ConfigError
        A column is missing, a label is outside the map, the file cannot be read or has no row.
    """
    sequences: list[str] = []
    labels: list[int] = []
    groups: list[str] = []
    notes = {"lower case": 0, "ambiguous letters": 0}
    for path in paths:
        for where, sequence, label, group in _rows(path):
            letters = clean(sequence, where)
            if label not in label_map:
                shown = ", ".join(list(label_map)[:_MOST_SHOWN])
                raise ConfigError(f"{where}: label {label!r} is not in the task's map ({shown})")
            notes["lower case"] += not str(sequence).isupper()
            notes["ambiguous letters"] += "N" in letters
            sequences.append(letters)
            labels.append(label_map[label])
            groups.append(group)
    if not sequences:
        raise ConfigError(f"{paths[0]}: no row in this split")
    remarks = {name: count for name, count in notes.items() if count}
    return LabelledRows(sequences, labels, remarks, groups if any(groups) else ())


_Row = tuple[str, object, str, str]  # where it is, its sequence, label and group


def _rows(path: Path) -> Iterator[_Row]:
    if path.is_dir():
        return _class_folders(path)
    if path.suffix in (".fna", ".fa", ".fasta"):
        return _fasta(path)
    return _table(path)


def _table(path: Path) -> Iterator[_Row]:
    with (
        needing(f"{path}: reading parquet", "pyarrow", "dnar2mae[benchmarks]"),
        raising(ConfigError, f"{path}: cannot be read as a table", OSError, ValueError),
    ):
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            separator = "\t" if ".tsv" in path.suffixes else ","
            table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)  # "NA" is a label or text
    column = next((name for name in _SEQUENCE_COLUMNS if name in table.columns), None)
    if column is None or "label" not in table.columns:
        columns = ", ".join(map(str, table.columns[:_MOST_SHOWN]))
        raise ConfigError(f"{path}: columns must be sequence and label, got {columns}")
    groups = table["group"] if "group" in table.columns else [""] * len(table)
    for row, (sequence, label, group) in enumerate(zip(table[column], table["label"], groups, strict=True), 2):
        yield f"{path}:{row}", sequence, str(label), str(group)


def _fasta(path: Path) -> Iterator[_Row]:
    """Read records whose header ends in ``|label``."""
    from Bio.SeqIO.FastaIO import SimpleFastaParser

    with path.open() as file:
        for number, (header, sequence) in enumerate(SimpleFastaParser(file), 1):
            _, bar, label = header.rpartition("|")
            if not bar:
                raise ConfigError(f"{path}: record {number}: a header must end in |label, got {header[:60]!r}")
            yield f"{path}: record {number}", sequence, label.strip(), ""


def _class_folders(folder: Path) -> Iterator[_Row]:
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    if not classes:
        raise ConfigError(f"{folder}: expected a folder of text files for each class")
    for class_folder in classes:
        for path in sorted(class_folder.glob("*.txt")):
            with raising(SequenceError, f"{path}: is not text", UnicodeDecodeError):
                yield str(path), path.read_text(), class_folder.name, ""


def _find(task: SuiteTask, folder: Path) -> bool:
    if task.options:
        raise ConfigError(
            f"task {task.name}: tasks of DNA have no options, got {', '.join(task.options)}; "
            "a suite of other rows names its modality"
        )
    return bool(find_split(folder, "test"))


def _read(task: SuiteTask, folder: Path) -> dict[str, LabelledRows]:
    paths = {split: find_split(folder, split) for split in SPLITS}
    return {split: read_split(files, task.label_map()) for split, files in paths.items() if files}


def _load(path: str, device: str, trust_remote_code: bool) -> Encoder:
    from dnar2mae.benchmarks.models.checkpoint import from_checkpoint
    from dnar2mae.benchmarks.models.huggingface import from_huggingface
    from dnar2mae.inference import is_trained_model

    if is_trained_model(Path(path)):
        return from_checkpoint(path, Path(path), device)
    return from_huggingface(path, Path(path), device, trust_remote_code=trust_remote_code)


DNA = LabelledData(
    find=_find,
    read=_read,
    key=str.encode,
    load=_load,
    raw=lambda task, folder, rows: {_RAW: kmer_counts(rows)},
    raw_names=(_RAW,),
    reverse=reverse_complement,
    baselines=("random", "raw", "combined", "cnn"),
)
"""Rows are strings of upper-case A, C, G, T, N."""
