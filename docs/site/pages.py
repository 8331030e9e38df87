"""Pages written by hand: the Markdown of docs/ and of the repository's root, with links that hold on the site."""

import os
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
# names on the site; a page of docs/ keeps its own
RENAMED = {
    "README.md": "overview.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "docs/modalities/README.md": "modalities/index.md",
    "docs/plugin_example/README.md": "plugin_example/index.md",
}
GENERATED = "docs/reference/"
TERMS = "<!-- the terms of ARCHITECTURE.md -->"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^()\s]+)\)")
_CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)


def site_paths() -> dict[str, str]:
    """Return the path on the site of every page, picture and script, by its path in the repository."""
    docs = ROOT / "docs"
    files = [*docs.rglob("*.md"), *(docs / "img").glob("*"), *(docs / "notebooks").glob("*.py"), docs / "slurm.sh"]
    names = [str(path.relative_to(ROOT)) for path in sorted(files)]
    paths = {name: RENAMED.get(name, name.removeprefix("docs/")) for name in [*RENAMED, *names]}
    # a notebook is a page; its source stands beside it
    return {name: path.removesuffix(".py") + ".md" if path.endswith(".py") else path for name, path in paths.items()}


def write_pages(out: Path) -> None:
    """Write all pages, pictures and scripts, but notebooks, which are run first.

    Raises
    ------
    ValueError
        If a link leads to no file of the repository.
    """
    paths = site_paths()
    for name, path in paths.items():
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".md"):
            text = (ROOT / name).read_text().replace(TERMS, _terms())
            target.write_text(site_text(text, name, paths))
        elif not name.endswith(".py"):
            shutil.copy(ROOT / name, target)


def site_text(text: str, name: str, paths: dict[str, str]) -> str:
    """Return the text of a page with its links as they are on the site.

    A link to a file that the site does not have becomes its text: the site stands without the repository.

    Raises
    ------
    ValueError
        If a link leads to no file of the repository.
    """
    here = os.path.dirname(name)

    def replaced(match: re.Match[str]) -> str:
        picture, label, link = match.groups()
        file, mark, anchor = link.partition("#")
        if not file or "://" in link or link.startswith("mailto:"):
            return match.group()
        source = os.path.normpath(os.path.join(here, file))
        if source.startswith(GENERATED):  # not there yet: the site's generator checks these links
            return match.group()
        if not (ROOT / source).exists():
            raise ValueError(f"{name}: {link} leads to no file")
        if source not in paths:
            return label
        return (
            f"{picture}[{label}]({os.path.relpath(paths[source], os.path.dirname(paths[name]) or '.')}{mark}{anchor})"
        )

    # every other part is code, which is left alone; a label may itself be code, so its backquotes are hidden
    hidden = re.sub(r"\[`([^`\n]+)`\](?=\()", "[\0\\1\0]", text)
    parts = _CODE.split(hidden)
    parts[::2] = [_LINK.sub(replaced, part) for part in parts[::2]]
    return "".join(parts).replace("\0", "`")


def _terms() -> str:
    """Return the table of terms in ARCHITECTURE.md."""
    return (ROOT / "ARCHITECTURE.md").read_text().split("## Terms of our own")[1].strip()
