"""A figure: rows of a file of results, how they are shown, the command that made them, the files they depend on."""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnar2mae.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
Row = Mapping[str, Any]
"""A line of a file of results; numbers are numbers, but for the commit and the date."""
_ABOUT = ("commit", "device", "date")


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A table, or a line of a :class:`Listing`."""

    name: str
    source: str
    """File below benchmarks/results/; its columns include commit, device and date."""
    show: Callable[[list[Row]], str]
    """Text of the chosen rows: a Markdown table, or the cell of a listing."""
    command: str
    """What a reader gives to measure it again."""
    files: tuple[str, ...]
    """What the figure's meaning depends on, as patterns of paths in which * also stands for /."""
    choose: Callable[[Row], bool] = field(default=lambda row: True, repr=False)
    key: tuple[str, ...] = ()
    """Columns by which rows are told apart: of equal ones only the last counts, so that new rows are appended."""
    only_last_commit: bool = False
    """Whether rows of the last chosen row's commit alone count, for what is measured in one go."""
    what: str = ""
    """First cell in a listing."""

    def rows(self) -> list[Row]:
        """Return the chosen rows, in the order of the file.

        Raises
        ------
        ConfigError
            No row is chosen, or the file lacks one of the columns commit, device and date.
        """
        rows = [row for row in read_rows(RESULTS / self.source) if self.choose(row)]
        if not rows:
            raise ConfigError(f"{self.name}: no row of {self.source} is chosen")
        if missing := [name for name in _ABOUT if name not in rows[0]]:
            raise ConfigError(f"{self.name}: {self.source} must have the columns {', '.join(missing)}")
        if self.only_last_commit:
            rows = [row for row in rows if row["commit"].split("-")[0] == rows[-1]["commit"].split("-")[0]]
        return list({tuple(row[name] for name in self.key): row for row in rows}.values()) if self.key else rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A table with a line for each of several figures, as docs/results.md has one."""

    name: str
    figures: tuple[Figure, ...]


def read_rows(path: Path) -> list[Row]:
    """Read a CSV file of results."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: text if name in _ABOUT else _value(text) for name, text in row.items()}
            for row in csv.DictReader(file)
        ]


def where(**equal: Any) -> Callable[[Row], bool]:
    """Return a choice of the rows whose columns have these values, or one of the values of a tuple."""

    def chosen(row: Row) -> bool:
        return all(row[name] in (of if isinstance(of, tuple) else (of,)) for name, of in equal.items())

    return chosen


def clear(text: str, low: float, high: float, digits: int) -> str:
    """Return a text, bold where its interval does not hold 0: nothing else makes a figure bold.

    What counts are the ends as shown, of so many digits: beside [0.000, 0.072] bold would be no reader's conclusion.
    """
    return f"**{text}**" if round(low, digits) > 0 or round(high, digits) < 0 else text


def clear_interval(row: Row, value: str, low: str, high: str) -> str:
    """Return the difference in a column with its interval, whose ends are in others; bold where that is clear of 0."""
    return clear(f"{row[value]:+.3f} [{row[low]:.3f}, {row[high]:.3f}]", row[low], row[high], 3)


def difference(value: float, error: float, windows: int, digits: int = 3) -> str:
    """Return a difference over windows with its standard error, bold where Student's interval is clear of 0."""
    from scipy.stats import t

    text, half = f"{value:.{digits}f} ± {error:.{digits}f}", t.ppf(0.975, windows - 1) * error
    return clear(text, value - half, value + half, digits)


Cell = str | Callable[[Row], str]
"""A format string over the row's columns, or a function of the row."""


def lines(columns: Mapping[str, Cell]) -> Callable[[list[Row]], str]:
    """Return a function that shows rows as a Markdown table with a line for each; ``columns`` are cells by title."""

    def show(rows: list[Row]) -> str:
        return markdown(list(columns), [[_fill(cell, row) for cell in columns.values()] for row in rows])

    return show


def pivot(corner: str, line: str, column: str, cell: Cell, titles: Mapping[Any, str]) -> Callable[[list[Row]], str]:
    """Return a function that shows rows as a Markdown table: a line a value of one column, a column a value of another.

    Parameters
    ----------
    corner
        Title of the first column.
    line, column
        Names of the columns whose values make lines and columns; of rows for one cell the last counts.
    cell
        Text of a cell; where there is no row, a dash.
    titles
        Values of ``column`` in the order to show, with their titles.
    """

    def show(rows: list[Row]) -> str:
        cells = {(row[line], row[column]): _fill(cell, row) for row in rows}
        names = dict.fromkeys(row[line] for row in rows)
        table = [[str(name), *(cells.get((name, value), "-") for value in titles)] for name in names]
        return markdown([corner, *titles.values()], table)

    return show


def markdown(head: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join([_line(head), "|" + "---|" * len(head), *(_line(cells) for cells in table)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _fill(cell: Cell, row: Row) -> str:
    return cell.format_map(row) if isinstance(cell, str) else cell(row)


def _value(text: str) -> Any:
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text
