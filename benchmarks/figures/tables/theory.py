"""What the commands of the page on theory print."""

import re

from dnar2mae.benchmarks.figures.figure import Figure, Row, markdown
from dnar2mae.benchmarks.theory_page import COMMANDS

_FILES = ("dnar2mae/theory/*.py", "dnar2mae/mask_laws.py")
_REGIMES = ("masked", "masked-inv", "uncentred")


def _printed(rows: list[Row]) -> str:
    """Return a command and its output as indented text."""
    return "\n".join(f"    {line}".rstrip() for line in (f"$ {rows[0]['command']}", *(row["text"] for row in rows)))


def _share_won(rows: list[Row], regime: str) -> str:
    """Return the share of settings that a random ratio wins and its largest win, from the printed line of a regime."""
    (text,) = (row["text"] for row in rows if str(row["text"]).split()[0] == regime)
    share, won = re.search(r"wins +([\d.]+) %", text), re.search(r"largest win ([\d.]+) %", text)
    assert share
    return f"{share[1]} %" + (f", up to {won[1]} %" if won else "")


def _others(rows: list[Row]) -> str:
    table = []
    for figure in dict.fromkeys(row["figure"] for row in rows):
        covariance, alignment = str(figure).partition("/")[2].split()
        own = [row for row in rows if row["figure"] == figure]
        table.append([f"`{covariance}`", alignment, *(_share_won(own, regime) for regime in _REGIMES)])
    return markdown(["`--covariance`", "`--alignment`", *_REGIMES], table)


TABLES = tuple(
    Figure(
        name=name,
        source="theory.csv",
        choose=lambda row, name=name: str(row["figure"]).partition("/")[0] == name,  # type: ignore[misc]
        key=("figure", "line"),
        show=_others if name == "theory_others" else _printed,
        command="python -m dnar2mae.benchmarks.theory_page",
        files=_FILES,
        only_last_commit=True,
    )
    for name in dict.fromkeys(figure.partition("/")[0] for figure in COMMANDS)
)
