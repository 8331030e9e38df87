"""Gather the pages of the documentation site: ``python -m docs.site``; ``make docs`` builds it from them.

Everything that is not written by hand is made here (help of the commands, reference of the library, notebooks with
their output), so the site's generator sees Markdown alone and can be another one: Zensical, or MkDocs with Material.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

import yaml

from docs.site.api import write_api
from docs.site.commands import write_commands
from docs.site.notebooks import write_notebooks
from docs.site.pages import ROOT, write_pages


def gather(build: Path, *, run_notebooks: bool = True) -> None:
    """Write ``docs/`` and ``mkdocs.yml`` into a folder."""
    docs = build / "docs"
    shutil.rmtree(docs, ignore_errors=True)
    write_pages(docs)
    write_notebooks(docs / "notebooks", run=run_notebooks)
    commands = write_commands(docs / "reference" / "commands")
    rooms = write_api(docs / "reference" / "python", build / "package")
    settings, nav = read_settings()
    generated = {
        "COMMANDS": ["reference/commands/index.md", *({name: f"reference/commands/{name}.md"} for name in commands)],
        "PYTHON": ["reference/python/index.md", *({name: f"reference/python/{name}.md"} for name in rooms)],
    }
    filled = yaml.safe_dump({"nav": _filled(nav, generated)}, sort_keys=False, allow_unicode=True)
    (build / "mkdocs.yml").write_text(f"{settings}\n{filled}")


def read_settings() -> tuple[str, list]:
    """Return the settings of the site as text, and its navigation, in which generated pages have names in capitals."""
    settings, nav = (Path(__file__).parent / "mkdocs.yml").read_text().split("\nnav:\n")
    return settings, yaml.safe_load(nav)


def _filled(nav: Any, generated: dict[str, list]) -> Any:
    """Return the navigation with lists of generated pages in place of their names."""
    if isinstance(nav, str):
        return generated.get(nav, nav)
    if isinstance(nav, list):
        return [_filled(item, generated) for item in nav]
    return {title: _filled(item, generated) for title, item in nav.items()}


def pages_of(nav: Any) -> list[str]:
    """Return the pages of a navigation; the site's generator does not look whether they are there, a test does."""
    if isinstance(nav, str):
        return [nav]
    return [page for item in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(item)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m docs.site")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "site", help="folder to write")
    parser.add_argument("--no-run", action="store_true", help="leave the notebooks without output")
    given = parser.parse_args()
    gather(given.build, run_notebooks=not given.no_run)
