"""The code blocks of the documentation run as they stand, in their order, in an empty folder."""

import re
import runpy
import shlex
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

from dnar2mae.cli import main
from dnar2mae.inference import Model
from dnar2mae.run.result import RunResult
from tests.programs import run_in_shell

DOCS = Path(__file__).parents[2] / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
SLOW = {"cluster", "own-annotation"}  # over 10 s each: processes of their own; probes with baselines
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.py"))


def run_blocks(page, folder, sections=None):
    """Run the bash and python blocks of a page, or those before its sections and in some; return the names they make.

    Python blocks share their names.
    """
    names, (head, *rest) = {}, re.split(r"^## ", page.read_text(), flags=re.MULTILINE)
    text = head + "".join(part for part in rest if sections is None or part.partition("\n")[0] in sections)
    for language, code in re.findall(r"^```(bash|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(compile(code, str(page), "exec"), names)
            continue
        for line in code.replace("\\\n", " ").splitlines():
            if re.fullmatch(r"dnar2mae [^|;&<>$]*", line):
                # in this process, which spares it the import of torch; a usage error raises SystemExit
                assert main(shlex.split(line, comments=True)[1:]) == 0, line
            elif line:
                run_in_shell(line, folder)
    return names


def mark(page):
    """Return a page's tier: one tutorial is for everyone who runs the tests."""
    if page.stem in SLOW:
        return pytest.mark.slow
    return () if page.stem == "own-genome" else pytest.mark.long


@pytest.mark.parametrize("page", [pytest.param(page, marks=mark(page), id=page.stem) for page in TUTORIALS])
def test_the_blocks_of_a_tutorial_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_blocks(page, tmp_path)


def test_there_is_a_tutorial_for_each_task():
    assert [page.stem for page in TUTORIALS] == [
        "cluster", "drawing", "own-annotation", "own-genome", "tokenizer", "variants",
    ]  # fmt: skip


@pytest.mark.long
def test_the_blocks_of_fine_tuning_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_blocks(DOCS / "finetune.md", tmp_path)
    assert len((tmp_path / "coding.bedgraph").read_text().splitlines()) > 50_000


@pytest.mark.long
def test_the_blocks_of_tracks_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_blocks(DOCS / "tracks.md", tmp_path)
    assert "codon position 3 minus 1" in (text := capsys.readouterr().out)
    assert text.endswith("(80, 4)\n")
    assert {"genome.summary.png", "region.png", "dependency.png"} <= {path.name for path in tmp_path.iterdir()}


def test_the_example_of_the_theory_prints_a_line_a_law(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_blocks(DOCS / "theory.md", tmp_path)
    assert capsys.readouterr().out.count("[") == 3


def test_the_example_of_audits_prints_clusters_and_a_split(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_blocks(DOCS / "audit.md", tmp_path)
    assert capsys.readouterr().out.splitlines() == ["[0 0 1 2]", "[0 0 2 1]", "1"]


@pytest.mark.long
@pytest.mark.filterwarnings("default")  # those of other packages, about themselves
@pytest.mark.parametrize(
    ("loop", "packages"),
    [("A plain loop", ()), ("transformers' Trainer", ("transformers", "accelerate")), ("Lightning", ("lightning",))],
)
def test_anybodys_loop_trains_the_whole_network(loop, packages, tmp_path, monkeypatch):
    for package in packages:
        pytest.importorskip(package, reason=f"{loop} needs the package {package}")
    monkeypatch.chdir(tmp_path)
    names = run_blocks(DOCS / "own-loop.md", tmp_path, ("A model", loop))
    losses = names["losses"]
    assert len(losses) > 50
    assert sum(losses[-15:]) / 15 < 0.5 * losses[0]  # the last epoch's mean
    before = Model.from_pretrained("runs/first", device="cpu").module.state_dict()
    unused = {name for name in before if name.startswith("head.")}
    after = names["regressor"].network.state_dict()
    assert {name for name in before if (after[name] == before[name]).all()} == unused


@pytest.mark.filterwarnings("default")  # those of other packages, about themselves
@pytest.mark.parametrize("tool", ["captum", "tangermeme"])
def test_tools_of_attribution_take_the_network(tool, tmp_path, monkeypatch):
    for package in ("transformers", tool):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    names = run_blocks(DOCS / "own-loop.md", tmp_path, ("One-hot DNA", tool))
    network, x = names["network"], names["x"]
    model = Model.from_pretrained("runs/first", device="cpu")
    tokens = names["codes"][None] + 4
    tokens[0, 16] = model.tokenizer.vocabulary.mask_id
    ours = model.module.logits(model.module(tokens))[0, 16, 4:8].log_softmax(-1)[names["codes"][16]]
    assert network(x).item() == pytest.approx(ours.item(), abs=1e-6)
    if tool == "captum":
        change = (network(x) - network(names["nowhere"])).item()
        assert sum(names["by_base"]) == pytest.approx(change, abs=1e-2 * abs(change) + 1e-5)
        assert names["by_base"][16] == 0  # it is masked
    else:
        changed = x.clone()
        changed[0, :, 3] = torch.tensor([0.0, 0.0, 0.0, 1.0])  # TTGA becomes TTGT
        assert names["effects"].y0.item() == pytest.approx(ours.item(), abs=1e-6)
        assert names["effects"].y_hat[0, 3, 3].item() == pytest.approx(network(changed).item(), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_as_a_script(notebook, tmp_path, monkeypatch, plots):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEPS", "5")
    monkeypatch.setenv("MPLBACKEND", "agg")
    names = runpy.run_path(str(notebook))
    assert any(isinstance(value, RunResult) and value.finished for value in names.values())
    assert plt.get_fignums()  # what a reader sees
    plt.close("all")


def test_there_are_four_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["drawing", "modality", "pretrain", "variants"]
