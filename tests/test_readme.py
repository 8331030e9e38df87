import re
from pathlib import Path

import pytest

from dnar2mae.cli import COMMANDS

README = Path(__file__).parents[1] / "README.md"
PAGES = [README, README.parent / "CONTRIBUTING.md", *sorted((README.parent / "docs").rglob("*.md"))]


def test_the_python_example_prints_what_it_says(tmp_path, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL).group(1)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    promised = [line.removeprefix("# ") for line in code.splitlines() if line.startswith("# ")]
    assert capsys.readouterr().out.splitlines() == promised


def test_every_file_it_names_exists():
    text = README.read_text()
    for path in re.findall(r"`((?:dnar2mae|tests|docs)/[\w/.]+)`|\]\((docs/[\w/.]+)\)", text):
        assert (README.parent / (path[0] or path[1])).exists()


def test_its_tree_names_every_folder_of_the_library():
    tree = README.read_text().split("## The tree")[1].split("```")[1]
    folders = {path.parent.name for path in (README.parent / "dnar2mae").glob("*/__init__.py")}
    assert folders <= set(re.findall(r"([a-z_]+)/", tree))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_every_page_exist(page):
    text = page.read_text()
    targets = set(re.findall(r"^([a-z]+):", (README.parent / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)) <= targets
    assert set(re.findall(r"(?:`|^ *\$? ?|bin/)dnar2mae ([a-z-]+)", text, re.MULTILINE)) <= set(COMMANDS)
