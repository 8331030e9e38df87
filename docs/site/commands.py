"""The reference of the command line: what ``--help`` prints, a page a command, never written by hand."""

import os
import re
import textwrap
from contextlib import redirect_stdout, suppress
from io import BytesIO, TextIOWrapper
from pathlib import Path
from unittest import mock

from dnar2mae.cli import COMMANDS, main
from dnar2mae.modalities.registry import modality_names

_WIDTH = 84
_BOX = re.compile(r"^╭─ (.+?) ─+╮$")


def write_commands(out: Path) -> list[str]:
    """Write the page of every command; return the names of the commands."""
    out.mkdir(parents=True, exist_ok=True)
    for command in COMMANDS:
        parts = [f"# dnar2mae {command}\n\n{_formatted(help_text(command), 2)}"]
        parts += [
            f"## dnar2mae {command} {part}\n\n{_formatted(help_text(command, *part.split()), 3)}"
            for part in _parts(command)
        ]
        (out / f"{command}.md").write_text("\n".join(parts))
    rows = "\n".join(f"| [`{name}`]({name}.md) | {text} |" for name, text in COMMANDS.items())
    about = "What `--help` prints, and with it every setting of a run. Errors take one line and exit with 2."
    (out / "index.md").write_text(f"# Commands\n\n{about}\n\n| command | what it does |\n|---|---|\n{rows}\n")
    return list(COMMANDS)


def help_text(*command: str) -> str:
    """Return what ``dnar2mae COMMAND --help`` prints, without colours and as wide as the site shows."""
    printed = TextIOWrapper(BytesIO(), encoding="utf-8")  # boxes are drawn where there is an encoding for them
    with (
        mock.patch.dict(os.environ, {"COLUMNS": str(_WIDTH), "NO_COLOR": "1", "TERM": "xterm"}),
        redirect_stdout(printed),
        suppress(SystemExit),
    ):
        main([*command, "--help"])
    printed.seek(0)
    return printed.read()


def _parts(command: str) -> list[str]:
    """Return what of a command has a help of its own: its subcommands, or the modalities other than DNA."""
    text = help_text(command)
    usage = re.match(r"usage: .*?\{([\w,-]+)\}\s*$", text, re.MULTILINE)
    if usage:
        return usage[1].split(",")
    if "--modality text --help" in text:
        return [f"--modality {name}" for name in modality_names() if name != "dna"]
    return re.findall(rf"dnar2mae {command} ([a-z-]+) --help", text)


def _formatted(text: str, level: int) -> str:
    """Return help as Markdown: a heading for each of its boxes, so that it can be found and linked."""
    lines, out = text.rstrip().splitlines(), ["```text"]
    for line in lines:
        if box := _BOX.match(line):
            title = box[1].replace("options options", "more options")  # of a field that is called options
            out += ["```", "", f"{'#' * level} {title}", "", "```text"]
        elif not line.startswith("╰"):
            # in boxes lines are as wide as asked for, around them as long as their paragraph
            out += [line[1:-1].rstrip()] if line.startswith("│") else textwrap.wrap(line, _WIDTH) or [""]
    body = "\n".join([*out, "```", ""])
    return re.sub(r"\n{2,}```\n", "\n```\n", body)
