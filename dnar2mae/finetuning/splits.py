"""Division of rows into train, dev and test, so that what is alike does not lie on both sides."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int, Shaped

from dnar2mae.errors import ConfigError
from dnar2mae.finetuning.options import SPLIT_COLUMN, FinetuneConfig
from dnar2mae.genome.names import aliases
from dnar2mae.homology import SPLIT_NAMES, split_by_homology

_NAMES = {"dev": "dev", "valid": "dev", "validation": "dev", "val": "dev", "train": "train", "test": "test"}
_TENTHS = ("train",) * 8 + ("dev", "test")
_BLOCKS, _REGIONS_A_BLOCK = 50, 4
"""Blocks of a genome: enough for shares of a tenth, but each long enough that few regions lie on its borders."""
Parts = Shaped[np.ndarray, " N"]


class Division(NamedTuple):
    """Which rows go where."""

    of_rows: Parts
    """``train``, ``dev``, ``test``, or empty for a row that is left out."""
    how: str
    """What was done, for the reader."""


class SplitInput(NamedTuple):
    """What divisions go by."""

    table: pd.DataFrame
    """A row a sample, as texts."""
    contents: Sequence[bytes]
    """Equal for samples that are equal."""
    places: pd.DataFrame | None
    """Columns ``name``, ``start`` and ``end`` of regions of a genome; None where samples have no place."""
    letters: Callable[[], list[str]] | None
    """Sequences of DNA; None for other samples."""


def divide(config: FinetuneConfig, given: SplitInput) -> Division:
    """Divide rows as ``--split`` says.

    Raises
    ------
    ConfigError
        If the rows lack what the division goes by, or a part has no row.
    """
    how = config.split if config.split != "auto" else _suitable(config, given)
    division = _DIVISIONS[how](config, given)
    counts = {part: int((division.of_rows == part).sum()) for part in SPLIT_NAMES}
    if empty := [part for part in SPLIT_NAMES if not counts[part]]:
        raise ConfigError(
            f"--split {how}: no row for {', '.join(empty)} ({', '.join(f'{p} {n:,}' for p, n in counts.items())}); "
            "take another --split, or more data"
        )
    left_out = int((division.of_rows == "").sum())
    numbers = ", ".join(f"{part} {number:,}" for part, number in counts.items())
    return division._replace(how=f"{division.how}: {numbers}" + (f"; {left_out:,} left out" if left_out else ""))


def repeated_rows(of_rows: Parts, contents: Sequence[bytes]) -> int:
    """Count the dev and test rows that are equal (or reverse complements) to a row of train."""
    train = {content for content, part in zip(contents, of_rows, strict=True) if part == "train"}
    return sum(part in ("dev", "test") and content in train for content, part in zip(contents, of_rows, strict=True))


def _suitable(config: FinetuneConfig, given: SplitInput) -> str:
    if config.dev_names or config.test_names:
        return "chromosome"
    # one that was named and is missing must not be passed over
    if config.split_column in given.table.columns or config.split_column != SPLIT_COLUMN:
        return "column"
    if given.places is not None:
        return "blocks"
    return "homology" if given.letters is not None else "random"


def _by_column(config: FinetuneConfig, given: SplitInput) -> Division:
    column = config.split_column
    if column not in given.table.columns:
        raise ConfigError(f"--split column: no column {column} in {', '.join(map(str, given.table.columns))}")
    texts = given.table[column].str.strip().str.lower()
    unknown = np.flatnonzero(~texts.isin([*_NAMES]))
    if unknown.size:
        row, others = int(unknown[0]), f", and so on in {unknown.size - 1:,} more" if unknown.size > 1 else ""
        raise ConfigError(
            f"--split-column {column}: row {row + 1}: expected train, dev or test, got {texts.iloc[row]!r}{others}"
        )
    of_rows = texts.map(_NAMES).to_numpy(str)
    if "dev" in of_rows:
        return Division(of_rows, f"by the column {column}")
    # a dev part by content, as equal rows must stay together
    tenths = np.array([_word(content, "dev") % 9 for content in given.contents])
    of_rows = np.where((of_rows == "train") & (tenths == 0), "dev", of_rows)
    return Division(of_rows, f"by the column {column}, dev a ninth of its train at random")


def _at_random(config: FinetuneConfig, given: SplitInput) -> Division:
    seed = str(config.seed)
    return Division(
        np.array([_TENTHS[_word(content, seed) % 10] for content in given.contents]),
        "at random, equal samples together",
    )


def _by_chromosome(config: FinetuneConfig, given: SplitInput) -> Division:
    if given.places is None:
        raise ConfigError("--split chromosome needs regions of a genome, and the data are sequences without a place")
    names = given.places["name"].to_numpy(str)
    chosen = {part: _present(part, getattr(config, f"{part}_names"), set(names.tolist())) for part in ("dev", "test")}
    unique, numbers = np.unique(names, return_inverse=True)
    if not any(chosen.values()):
        of_groups = _fill(np.bincount(numbers))
        chosen = {part: tuple(unique[of_groups == part]) for part in ("dev", "test")}
    of_rows = np.where(np.isin(names, chosen["test"]), "test", np.where(np.isin(names, chosen["dev"]), "dev", "train"))
    shown = ", ".join(f"{part} {' '.join(of_part) or 'none'}" for part, of_part in chosen.items())
    return Division(of_rows, f"by sequence of the genome ({shown})")


def _present(part: str, wanted: Sequence[str], names: set[str]) -> tuple[str, ...]:
    """Return names of sequences, which may be given with or without ``chr``, as the regions have them."""
    found = {name: next((alias for alias in aliases(name) if alias in names), None) for name in wanted}
    if unknown := [name for name, own in found.items() if own is None]:
        raise ConfigError(f"--{part}-names {' '.join(unknown)}: no region there; there is {', '.join(sorted(names))}")
    return tuple(own for own in found.values() if own)


def _by_blocks(config: FinetuneConfig, given: SplitInput) -> Division:
    """Divide a genome into blocks; a region on the border of two parts is left out."""
    if given.places is None:
        raise ConfigError("--split blocks needs regions of a genome, and the data are sequences without a place")
    names, numbers = np.unique(given.places["name"].to_numpy(str), return_inverse=True)
    start, end = (given.places[column].to_numpy(np.int64) for column in ("start", "end"))
    spans = np.array([end[numbers == i].max() for i in range(len(names))])
    block_bp = max(-(-int(spans.sum()) // _BLOCKS), _REGIONS_A_BLOCK * int(np.median(end - start)))
    first_block = np.cumsum([0, *(-(-spans // block_bp))])[:-1]

    def part_at(position: np.ndarray) -> np.ndarray:
        # every ninth and tenth block, over all sequences: parts lie spread over the genome
        return np.array(_TENTHS)[(first_block[numbers] + position // block_bp) % 10]

    first, last = part_at(start), part_at(end - 1)
    return Division(np.where(first == last, first, ""), f"by blocks of {block_bp:,} bp")


def _by_homology(config: FinetuneConfig, given: SplitInput) -> Division:
    if given.letters is None:
        raise ConfigError("--split homology compares sequences of DNA, and the data are not")
    numbers = split_by_homology(given.letters(), seed=config.seed)
    return Division(np.array(SPLIT_NAMES)[numbers], "by homology, whole clusters of similar sequences")


def _fill(sizes: Int[np.ndarray, " G"]) -> Parts:
    """Return which part each group goes to: from the largest on, each to the part that lacks the most rows.

    The last groups go to parts that are still empty.
    """
    wanted = np.array([0.8, 0.1, 0.1]) * sizes.sum()
    parts, empty = np.empty(len(sizes), object), {0, 1, 2}
    for done, group in enumerate(np.argsort(-sizes, kind="stable")):
        among = empty if len(sizes) - done <= len(empty) else range(3)
        part = max(sorted(among), key=wanted.__getitem__)
        parts[group] = SPLIT_NAMES[part]
        wanted[part] -= sizes[group]
        empty.discard(part)
    return parts.astype(str)


def _word(content: bytes, key: str) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8, key=key.encode()).digest(), "little")


_DIVISIONS: Mapping[str, Callable[[FinetuneConfig, SplitInput], Division]] = {
    "column": _by_column,
    "random": _at_random,
    "chromosome": _by_chromosome,
    "blocks": _by_blocks,
    "homology": _by_homology,
}
