"""What a section has, before it becomes HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup


class Picture(NamedTuple):
    """A figure of the page."""

    markup: Markup
    """``<svg>`` or ``<img>`` with its data."""
    caption: str


class NumberTable(NamedTuple):
    """A table of texts and numbers, all formatted."""

    columns: tuple[str, ...]
    """Headings; none over facts, a name and what there is to say."""
    rows: Sequence[tuple[str, ...]]
    caption: str = ""


class CommandLine(NamedTuple):
    """A command to type."""

    purpose: str
    line: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SectionContent:
    """The parts of a section, in the order in which they are shown."""

    lines: tuple[str, ...] = ()
    """Paragraphs of text."""
    pictures: tuple[Picture, ...] = ()
    tables: tuple[NumberTable, ...] = ()
    commands: tuple[CommandLine, ...] = ()
    texts: tuple[str, ...] = ()
    """Shown letter by letter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PageSection:
    """A section as the page shows it."""

    anchor: str
    title: str
    content: SectionContent | None = None
    reason: str = ""
    """Why there is no content."""
