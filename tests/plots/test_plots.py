import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import PathPatch

from dnar2mae.errors import ConfigError, RunError
from dnar2mae.plots import figure as figures
from dnar2mae.plots import plot_embedding, plot_mutagenesis, read_embedding
from dnar2mae.plots.maps import letter_heights
from dnar2mae.run.plot import plot_run, plot_runs


@pytest.fixture
def drawn(monkeypatch):
    """Figures as they are saved."""
    kept = []
    save = figures.save_figure

    def spy(figure, path):
        kept.append(figure)
        save(figure, path)

    for module in ("run.plot", "plots.maps"):
        monkeypatch.setattr(f"dnar2mae.{module}.save_figure", spy)
    return kept


def write_metrics(folder, unit="bits per base", finished=True):
    folder.mkdir()
    rows = [{"event": "validation", "step": s, "held_out": 2 - s / 100} for s in (0, 10, 20)]
    rows += [{"event": "train", "step": s, "loss": 1.4, "bits_per_base": 2.0} for s in range(1, 21)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = {"unit": unit, "curve": {"0.15": 1.8, "0.5": 1.9}, "yardstick": {"Markov order 3": 1.85, "order 0": 2.0}}
    summary["margin"] = {"Markov order 3": {"below_by": 0.05, "standard_error": 0.01}}
    summary["yardstick_curve"] = {"Markov order 3": {"0.15": 1.85, "0.5": 1.86}}
    if finished:
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_one_run(tmp_path):
    run = write_metrics(tmp_path / "a")
    summary = json.loads((run / "summary.json").read_text())
    plot_run(run, summary, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_runs_side_by_side(tmp_path, drawn):
    runs = [write_metrics(tmp_path / "a"), write_metrics(tmp_path / "b"), write_metrics(tmp_path / "c", finished=False)]
    plot_runs(runs, tmp_path / "x.svg")
    left, right = drawn[0].axes
    labels = [line.get_label() for line in left.lines]
    assert labels == ["a", "Markov order 3: 1.850", "b", "c"]
    assert left.lines[0].get_ydata() == pytest.approx([2, 1.9, 1.8])
    assert len(right.lines) == 2
    assert left.get_ylabel() == "bits per base"


def test_runs_that_cannot_be_drawn(tmp_path):
    run = write_metrics(tmp_path / "a")
    with pytest.raises(RunError, match="different units: bits per base, nats"):
        plot_runs([run, write_metrics(tmp_path / "b", "nats")], tmp_path / "x.png")
    with pytest.raises(RunError, match="not a run whose metrics can be read"):
        plot_runs([tmp_path / "none"], tmp_path / "x.png")
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(RunError, match="no validation loss yet"):
        plot_runs([run], tmp_path / "x.png")


def test_letters_stand_as_high_as_their_information():
    certain = np.array([[0, -40, -40, -40]], np.float32)
    even = np.zeros((1, 4), np.float32)
    half = np.array([[0, 0, -40, -40]], np.float32)
    unknown = np.full((1, 4), np.nan, np.float32)
    heights = letter_heights(np.concatenate([certain, even, half, unknown]))
    np.testing.assert_allclose(heights, [[2, 0, 0, 0], [0] * 4, [0.5, 0.5, 0, 0], [0] * 4], atol=1e-5)


def test_mutagenesis_figure(tmp_path, drawn):
    scores = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    scores[np.arange(30), np.arange(30) % 4] = 0
    scores[7] = np.nan
    plot_mutagenesis(scores, "chr1:100-130", 100, tmp_path / "x.png")
    logo, heat = drawn[0].axes[:2]
    letters = [patch for patch in logo.patches if isinstance(patch, PathPatch)]
    assert len(letters) == 120
    centres = [patch.get_path().get_extents().intervalx.mean() for patch in letters]
    assert min(centres) == pytest.approx(100, abs=1e-6)
    assert max(centres) == pytest.approx(129, abs=1e-6)
    np.testing.assert_array_equal(np.asarray(heat.images[0].get_array().filled(np.nan)), scores.T)


def test_embedding_by_group_and_by_scale(tmp_path, drawn):
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(size=(20, 8)), rng.normal(size=(20, 8)) + 9, np.full((1, 8), np.nan)])
    groups = pd.Series([*"a" * 20, *"b" * 20, "c"], name="kind")
    plot_embedding(vectors, groups, tmp_path / "x.pdf")
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    a, b = (np.asarray(points.get_offsets())[:, 0] for points in axes.collections)
    assert (a.max() < b.min()) or (b.max() < a.min())
    assert "component 1 (9" in axes.get_xlabel()
    plot_embedding(vectors, pd.Series(np.arange(41.0), name="gc"), tmp_path / "x.png")
    assert len(drawn[1].axes) == 2
    many = pd.Series([f"g{min(i, 25)}" for i in range(41)], name="many")
    plot_embedding(vectors, many, tmp_path / "x.png")
    texts = [text.get_text() for text in drawn[2].axes[0].get_legend().get_texts()]
    assert len(texts) == 10
    assert "other" in texts
    plot_embedding(vectors, None, tmp_path / "x.png")


def test_embeddings_that_cannot_be_drawn(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="a map needs at least 3 embeddings, got 0"):
        plot_embedding(np.full((5, 2), np.nan), None, tmp_path / "x.png")
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(ConfigError, match="--method umap needs the package umap-learn"):
        plot_embedding(np.eye(5), None, tmp_path / "x.png", method="umap")
    with pytest.raises(ConfigError, match="--out must be a .png, .svg or .pdf file, got"):
        plot_embedding(np.eye(5), None, tmp_path / "x.txt")
    with pytest.raises(ConfigError, match="--out must be writable, got /proc/nowhere/x.png"):
        plot_embedding(np.eye(5), None, figures.Path("/proc/nowhere/x.png"))
    with pytest.raises(ConfigError, match="embeddings are .npy"):
        read_embedding(tmp_path / "x.csv")
    with pytest.raises(ConfigError, match="cannot be read as embeddings"):
        read_embedding(tmp_path / "x.npy")
