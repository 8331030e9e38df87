"""Reading documents from plain text, JSON lines and data sets on disk, and texts from tables."""

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dnar2mae.errors import DataError, needing, raising
from dnar2mae.modalities.text.config import TextConfig
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip, without_compression
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.remote import file_name, local_path

_PLAIN, _JSON = (".txt", ".text", ".md"), (".jsonl", ".ndjson")


def source_files(path: Path) -> list[Path]:
    """Return the files that a path stands for, in a fixed order.

    Raises
    ------
    DataError
        If it is missing, or a folder without a file to read.
    """
    path = local_path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if not path.is_dir():
        return [path]
    if (path / "dataset_dict.json").exists():
        splits = ", ".join(str(p.parent) for p in sorted(path.glob("*/dataset_info.json")))
        raise DataError(f"{path}: a data set in splits; name those to read: {splits}")
    if (path / "dataset_info.json").exists():
        return _arrow_files(path)
    files = [p for p in sorted(path.rglob("*")) if p.is_file() and _suffix(p) in _PLAIN + _JSON]
    if not files:
        raise DataError(f"{path}: the folder holds no {', '.join(_PLAIN + _JSON)} file (nor such with .gz or .zst)")
    return files


def documents(path: Path, config: TextConfig) -> Iterator[str]:
    """Yield the documents of a file in its order, empty ones too, with one in memory at a time.

    Raises
    ------
    DataError
        If it cannot be read, is not UTF-8 (file and byte), or a record is wrong (file and line).
    """
    if path.suffix == ".arrow":
        yield from _arrow(path, config.field)
    elif _suffix(path) in _JSON:
        yield from _json_lines(path, config.field)
    elif config.start is not None:
        yield from _groups(_lines(path), re.compile(config.start).search, keep=True)
    elif config.split == "line":
        yield from (line.rstrip("\r\n") for line in _lines(path))
    elif config.split == "file":
        yield "".join(_lines(path))
    else:
        yield from _groups(_lines(path), lambda line: not line.strip(), keep=False)


def texts(path: Path, field: str) -> list[str]:
    """Return the texts to embed: the records of a .csv, .tsv or .jsonl file or a data set, or the lines of a text file.

    Raises
    ------
    DataError
        As :func:`documents`, and if a table lacks the column.
    """
    if _suffix(path) not in (".csv", ".tsv"):
        config = TextConfig(field=field, split="line")
        return [text for file in source_files(path) for text in documents(file, config)]
    reader = csv.DictReader(_lines(path), delimiter="\t" if _suffix(path) == ".tsv" else ",")
    if field not in (reader.fieldnames or []):
        present = ", ".join(reader.fieldnames or []) or "nothing"
        raise DataError(f"{path}: the table must have a column {field}, got {present}")
    try:
        return [row[field] or "" for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not a table: {error}") from error


def _suffix(path: Path) -> str:
    return Path(without_compression(file_name(path))).suffix.lower()


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file, decoded one by one, so that an error names the byte."""
    position = 0
    with raising(DataError, f"{path}: cannot be read", *READ_ERRORS):
        with open_maybe_gzip(local_path(path)) as file:
            for raw in file:
                line = raw.removeprefix(b"\xef\xbb\xbf") if position == 0 else raw  # a byte order mark
                try:
                    yield line.decode()
                except UnicodeDecodeError as error:
                    at = position + len(raw) - len(line) + error.start
                    raise DataError(
                        f"{path}: text must be UTF-8, got byte 0x{line[error.start]:02x} at {at}"
                    ) from error
                position += len(raw)


def _groups(lines: Iterator[str], is_cut: Callable[[str], Any], *, keep: bool) -> Iterator[str]:
    """Yield lines joined up to the next cut, which starts the next group or (``keep=False``) belongs to none."""
    group: list[str] = []
    for line in lines:
        if is_cut(line):
            if group:
                yield "".join(group).rstrip("\r\n")
            group = [line] if keep else []
        else:
            group.append(line)
    if group:
        yield "".join(group).rstrip("\r\n")


def _json_lines(path: Path, field: str) -> Iterator[str]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: expected a JSON object, got {line.strip()[:40]!r}: {error}") from error
        text = record.get(field) if isinstance(record, dict) else None
        if not isinstance(text, str):
            got = f"the keys {', '.join(record)}" if isinstance(record, dict) else type(record).__name__
            raise DataError(f"{path}:{number}: expected a JSON object with a text named {field}, got {got}")
        yield text


def _arrow_files(folder: Path) -> list[Path]:
    """Return the files of a data set that ``save_to_disk`` wrote, in its order."""
    rule = f"{folder}: a data set on disk must have a state.json that lists its files"
    with raising(DataError, rule, OSError, ValueError, KeyError, TypeError):
        state = json.loads((folder / "state.json").read_text())
        files = [folder / item["filename"] for item in state["_data_files"]]
    if state.get("_indices_files"):
        raise DataError(f"{folder}: the data set is a selection by index; save it anew after flatten_indices()")
    return files


def _arrow(path: Path, field: str) -> Iterator[str]:
    with needing(f"{path}: a data set", "pyarrow", "dnar2mae[parquet]"):
        import pyarrow as pa
    with raising(DataError, f"{path}: cannot be read as an Arrow stream", OSError, pa.ArrowInvalid):
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            if field not in stream.schema.names:
                raise DataError(f"{path}: the data set must have {field}, got {', '.join(stream.schema.names)}")
            for batch in stream:
                yield from (text or "" for text in batch.column(field).to_pylist())


def spaced_documents(paths: Sequence[str], *, field: str, max_letters: int) -> Iterator[str]:
    """Yield the documents of files and folders; of a longer input every n-th, to about ``max_letters`` in all.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    files = [file for path in paths for file in source_files(Path(path))]
    total = sum(file.stat().st_size for file in files)
    step = max(-(-total // max_letters), 1)
    config = TextConfig(field=field)
    with progress_bar("Reading text", total, unit="B") as update:
        done = number = 0
        for file in files:
            for text in documents(file, config):
                if number % step == 0:
                    yield text
                number, done = number + 1, done + len(text)
                update(done)
