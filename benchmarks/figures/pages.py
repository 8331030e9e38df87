"""Markdown pages whose marked parts are written from figures.

A part stands between ``<!-- figures: NAME -->`` and ``<!-- end -->``: on lines of their own for a table with its
pedigree below, within a line for the figure alone (and the mark of one that is older than its code).
"""

import re
from collections.abc import Mapping
from pathlib import Path

from dnar2mae.benchmarks.figures.figure import ROOT, Figure, Listing, markdown
from dnar2mae.benchmarks.figures.pedigree import Pedigree
from dnar2mae.errors import ConfigError

_PART = re.compile(r"<!-- figures: (\w+) -->(\n?).*?<!-- end -->", re.DOTALL)
_OUTSIDE = ("LOG.md",)  # a log is dated: its figures are those of its day


def pages() -> list[Path]:
    """Return README.md and the pages of docs/."""
    return [ROOT / "README.md", *(path for path in sorted(ROOT.glob("docs/**/*.md")) if path.name not in _OUTSIDE)]


def written(
    text: str, figures: Mapping[str, Figure], listings: Mapping[str, Listing], pedigrees: Mapping[str, Pedigree]
) -> str:
    """Return a page's text with its marked parts written anew.

    Raises
    ------
    ConfigError
        A marker names no figure.
    """

    def part(match: re.Match[str]) -> str:
        name, newline = match.groups()
        if name in listings:
            body = listing_text(listings[name], pedigrees)
        elif name in figures:
            body = figures[name].show(figures[name].rows())
            body += f"\n\n`{pedigrees[name].command}`; {pedigrees[name].text()}" if newline else pedigrees[name].mark()
        else:
            raise ConfigError(f"<!-- figures: {name} -->: there is no such figure")
        return f"<!-- figures: {name} -->{newline}{body}{newline}<!-- end -->"

    return _PART.sub(part, text)


def listing_text(listing: Listing, pedigrees: Mapping[str, Pedigree]) -> str:
    """Return the table of a listing: what, figure, command, pedigree."""
    table = []
    for figure in listing.figures:
        pedigree = pedigrees[figure.name]
        table.append([figure.what, figure.show(figure.rows()), f"`{pedigree.command}`", pedigree.text()])
    return markdown(["what", "figure", "command", "commit, machine, date"], table)


def named(text: str) -> list[str]:
    """Return the names in a page's markers."""
    return [match.group(1) for match in _PART.finditer(text)]
