"""The documentation site: links, generated pages, and the strict build."""

import subprocess
import sys
from pathlib import Path

import pytest

from dnar2mae.cli import COMMANDS
from docs.site.__main__ import pages_of, read_settings
from docs.site.api import as_markdown, write_api
from docs.site.commands import write_commands
from docs.site.pages import site_paths, site_text

ROOT = Path(__file__).parents[2]


def linked(text, name="docs/inputs.md"):
    return site_text(text, name, site_paths())


def test_links_lead_to_where_pages_are_on_the_site():
    assert linked("[a](theory.md#the-model)") == "[a](theory.md#the-model)"
    assert linked("[a](../README.md) ![b](img/theory_risk.png)") == "[a](overview.md) ![b](img/theory_risk.png)"
    assert linked("[a](docs/modalities/README.md)", "README.md") == "[a](modalities/index.md)"
    assert linked("[`a`](../../README.md)", "docs/modalities/text.md") == "[`a`](../overview.md)"
    assert linked("[a](../notebooks/variants.py)", "docs/tutorials/variants.md") == "[a](../notebooks/variants.md)"


def test_a_link_to_a_file_that_is_not_on_the_site_becomes_its_text():
    assert linked("see [the loop](../dnar2mae/training/trainer.py)") == "see the loop"


def test_code_and_addresses_are_left_alone():
    text = "`[a](../README.md)`, [b](https://example.org/x.md), [c](#formats)\n```python\nx[0](../README.md)\n```\n"
    assert linked(text) == text


def test_a_link_to_no_file_is_refused():
    with pytest.raises(ValueError, match=r"docs/inputs\.md: nowhere\.md leads to no file"):
        linked("[a](nowhere.md)")


def test_every_page_is_in_the_navigation_once():
    in_navigation = pages_of(read_settings()[1])
    pages = [path for path in site_paths().values() if path.endswith(".md")]
    assert sorted(in_navigation) == sorted([*pages, "COMMANDS", "PYTHON"])


def test_every_command_has_a_page_of_its_help(tmp_path):
    assert write_commands(tmp_path) == list(COMMANDS)
    pretrain = (tmp_path / "pretrain.md").read_text()
    assert "--mask.law" in pretrain
    assert "\n## mask options\n" in pretrain
    assert "\n## dnar2mae pretrain --modality text\n" in pretrain
    assert "\n## dnar2mae benchmark few-labels\n" in (tmp_path / "benchmark.md").read_text()
    assert "\n## dnar2mae tokenizer train\n" in (tmp_path / "tokenizer.md").read_text()
    for page in set(tmp_path.glob("*.md")) - {tmp_path / "index.md"}:
        assert max(map(len, page.read_text().splitlines())) < 90, page
        assert page.read_text().count("```") % 2 == 0


def test_every_folder_of_the_package_has_a_page(tmp_path):
    pytest.importorskip("latex2mathml")
    rooms = write_api(tmp_path / "pages", tmp_path / "package")
    folders = {path.parent.name for path in (ROOT / "dnar2mae").glob("*/__init__.py")}
    assert set(rooms) == {"dnar2mae", "kernels", "benchmarks", *folders}
    masking = (tmp_path / "pages" / "masking.md").read_text()
    assert "::: dnar2mae.masking.draw\n" in masking
    assert "::: dnar2mae.masking\n    options:\n      members: []\n" in masking
    kernel = "::: dnar2mae.kernels.masked_embedding\n    options:\n      members: ['masked_embedding']\n"
    assert kernel in (tmp_path / "pages" / "kernels.md").read_text()


def test_docstrings_become_markdown():
    pytest.importorskip("latex2mathml")
    text = 'r"""See :func:`~a.b`.\n\n    .. math:: x^2 +\n        y\n\n    of :math:`x`\n\n.. [1] Someone.\n"""'
    lines = as_markdown(text).splitlines()
    assert lines[0] == 'r"""See `a.b`.'
    assert lines[2].startswith("    <div><math")
    assert "<msup>" in lines[2]
    assert "<mi>y</mi>" in lines[2]
    assert lines[4].startswith("    of <math")
    assert lines[6] == "- [1] Someone."


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    for module in ("zensical", "mkdocstrings_handlers.python", "jupytext", "nbconvert"):
        pytest.importorskip(module)
    for line in (
        ["docs.site", "--build", str(tmp_path), "--no-run"],
        ["zensical", "build", "--strict", "--config-file", str(tmp_path / "mkdocs.yml")],
    ):
        done = subprocess.run([sys.executable, "-m", *line], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    for page in ("index.html", "tutorials/variants/index.html", "reference/python/masking/index.html"):
        assert (tmp_path / "html" / page).exists()
    assert 'id="dnar2mae.masking.draw.MaskPlan"' in (tmp_path / "html/reference/python/masking/index.html").read_text()
