import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.finetuning import PredictOptions, finetune, load, predict
from dnar2mae.finetuning.calibration import calibrated, calibration, cross_entropy, plot_calibration
from dnar2mae.finetuning.problem import Rows
from dnar2mae.finetuning.targets import BinaryLabels, Classes, Numbers
from dnar2mae.genome.store import Genome
from dnar2mae.genome.tracks import read_track

from .conftest import rich_rows


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch):
    monkeypatch.setattr("dnar2mae.finetuning.tuning.plot_losses", lambda run, path, best: path.touch())
    monkeypatch.setattr("dnar2mae.finetuning.tuning.plot_calibration", lambda found, path: path.touch())


@pytest.fixture
def of_rows(settings, tmp_path):
    finetune(settings(baselines=False), tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def of_bases(settings, genome, tmp_path):
    finetune(
        settings(data=str(genome), track=str(genome.parent / "rich.bed"), baselines=False, max_steps=3),
        tmp_path / "run",
    )
    return tmp_path / "run"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_keeps_its_columns_and_gets_those_of_predictions(of_rows, table, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    written = predict(of_rows, table, out, device="cpu")
    assert (written.rows, written.what) == (200, "samples")
    frame = pd.read_parquet(out) if suffix == ".parquet" else pd.read_csv(out, sep="\t" if suffix == ".tsv" else ",")
    given = [name for name in rich_rows(1)[0] if name != "sequence"]
    assert list(frame.columns) == [*given, "predicted", "p_no", "p_yes"]
    expected = load(of_rows, device="cpu").predict([row["sequence"] for row in rich_rows(200)])
    np.testing.assert_allclose(frame["p_yes"].astype(float), expected["p_yes"], atol=1e-6)
    assert frame["predicted"].tolist() == expected["predicted"].tolist()


def test_a_sequence_without_a_known_base_has_no_prediction(of_rows):
    frame = load(of_rows, device="cpu").predict(["ACGTN", "NNNN"])
    assert frame["predicted"].tolist()[1] is None
    assert frame["p_yes"].isna().tolist() == [False, True]


def test_fasta_and_regions_of_a_genome(of_rows, genome, tmp_path):
    regions = tmp_path / "r.bed"
    regions.write_text("one\t10\t60\na\ntwo\t0\t64\tb\n".replace("\na\n", "\ta\n"))
    predict(of_rows, regions, tmp_path / "r.csv", device="cpu", options=PredictOptions(genome=str(genome)))
    frame = pd.read_csv(tmp_path / "r.csv")
    assert frame[["chrom", "start", "end", "name"]].to_numpy().tolist() == [["one", 10, 60, "a"], ["two", 0, 64, "b"]]
    fasta = tmp_path / "s.fa"
    fasta.write_text(">x\n" + genome.read_text().split("\n")[1][10:60] + "\n")
    predict(of_rows, fasta, tmp_path / "s.csv", device="cpu")
    assert pd.read_csv(tmp_path / "s.csv")["p_yes"][0] == pytest.approx(frame["p_yes"][0], abs=1e-6)


def test_what_cannot_be_predicted_is_refused(of_rows, table, genome, tmp_path):
    with pytest.raises(SequenceError, match=r"2 of 2 sequences are longer than the 64 bp"):
        predict(of_rows, genome, tmp_path / "x.csv", device="cpu")
    with pytest.raises(ConfigError, match=r"--out must end in .csv, .tsv, .parquet, got .*x.bw"):
        predict(of_rows, table, tmp_path / "x.bw", device="cpu")
    again = tmp_path / "again.csv"
    predict(of_rows, table, again, device="cpu")
    frame = pd.read_csv(again).assign(sequence="ACGT")
    frame.to_csv(again, index=False)
    with pytest.raises(ConfigError, match="the input has a column predicted"):
        predict(of_rows, again, tmp_path / "x.csv", device="cpu")
    predict(of_rows, genome, tmp_path / "cut.csv", device="cpu", options=PredictOptions(allow_truncation=True))
    assert len(pd.read_csv(tmp_path / "cut.csv")) == 2


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.8])
def test_a_genome_is_covered_once_by_the_middles_of_windows(of_bases, genome, tmp_path, overlap):
    out = tmp_path / "out.bedgraph"
    written = predict(of_bases, genome, out, device="cpu", options=PredictOptions(overlap_share=overlap))
    assert written.rows == 6200
    opened = Genome.open(genome)
    track = read_track(out, opened)
    tuned = load(of_bases, device="cpu")
    step = max(int(64 * (1 - overlap)), 1)
    text = genome.read_text().split("\n")
    for name, letters in (("one", text[1]), ("two", text[3])):
        values = track.values(name, 0, len(letters))
        assert not np.isnan(values).any()
        starts = [*range(0, len(letters) - 64, step), len(letters) - 64]
        for at in (0, 5, 77, 1000, len(letters) - 3):
            # the window in whose middle the base lies most; of two at the same distance either
            distance = [abs(start + 31.5 - at) if start <= at < start + 64 else np.inf for start in starts]
            nearest = [start for start, d in zip(starts, distance, strict=True) if d <= min(distance) + 1]
            of_windows = [tuned.predict([letters[s : s + 64]])["p_inside"][at - s] for s in nearest]
            assert min(abs(values[at] - value) for value in of_windows) < 1e-5


def test_tables_and_tracks_of_bases_agree(of_bases, genome, tmp_path):
    pytest.importorskip("pybigtools")
    bed = tmp_path / "some.bed"
    # on the reverse strand and overlapping: tracks are of the forward strand, and have a base once
    bed.write_text("two\t100\t300\tx\t0\t-\none\t50\t200\none\t150\t260\n")
    options = PredictOptions(genome=str(genome))
    for suffix in (".csv", ".bw"):
        written = predict(of_bases, bed, tmp_path / f"out{suffix}", device="cpu", options=options)
        assert (written.rows, written.what) == (410, "bases")
    frame = pd.read_csv(tmp_path / "out.csv")
    assert list(frame.columns) == ["chrom", "position", "predicted", "p_outside", "p_inside"]
    track = read_track(tmp_path / "out.bw", Genome.open(genome))
    for name, start, end in (("one", 50, 260), ("two", 100, 300)):
        mine = frame[frame["chrom"] == name]
        assert mine["position"].tolist() == list(range(start, end))
        np.testing.assert_allclose(track.values(name, start, end), mine["p_inside"], atol=1e-6)
    assert np.isnan(track.values("one", 260, 300)).all()


def test_each_class_of_bases_has_a_file_whatever_its_name(settings, genome, tmp_path):
    bed = tmp_path / "named.bed"

    def learn(names):
        bed.write_text("".join(f"one\t{i * 40}\t{i * 40 + 15}\t{names[i % 2]}\n" for i in range(95)))
        config = settings(data=str(genome), track=str(bed), track_names=True, baselines=False, max_steps=1)
        finetune(config, tmp_path / "run", overwrite=(tmp_path / "run").exists())

    learn(["a/b", "c d"])
    written = predict(tmp_path / "run", genome, tmp_path / "x.bedgraph", device="cpu")
    assert written.files == tuple(str(tmp_path / f"x.p_{name}.bedgraph") for name in ("a_b", "c_d"))
    assert all(Path(file).is_file() for file in written.files)
    shutil.copy(genome, tmp_path / "y.p_c_d.bedgraph")
    (tmp_path / "g.fa").symlink_to(tmp_path / "y.p_c_d.bedgraph")
    with pytest.raises(ConfigError, match="--out must not write over an input: .*y.p_c_d.bedgraph is"):
        predict(tmp_path / "run", tmp_path / "g.fa", tmp_path / "y.bedgraph", device="cpu")
    learn(["a/b", "a b"])
    with pytest.raises(ConfigError, match="p_a b, p_a/b: these names differ too little"):
        predict(tmp_path / "run", genome, tmp_path / "x.bedgraph", device="cpu")


def rows_of(outputs, wanted):
    return Rows(
        outputs=(outputs.astype(np.float32),),
        wanted=wanted,
        ids=np.arange(len(wanted)),
        positions=np.zeros(len(wanted), int),
    )


def test_the_temperature_of_over_sure_outputs_is_found(tmp_path):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3)) * 2
    truth = np.array([rng.choice(3, p=p) for p in torch.from_numpy(logits).softmax(1).numpy()])[:, None].astype(float)
    target, rows = Classes(columns=("a",), classes=("x", "y", "z")), rows_of(3 * logits, truth)
    found = calibrated(target, rows)
    assert found.temperature == pytest.approx(3, rel=0.06)
    assert cross_entropy(found, rows) < cross_entropy(target, rows)
    measured = calibration(found, rows)
    assert measured["error"] < 0.02 < measured["error_before"]
    assert sum(number for *_, number in measured["curve"]) == 3 * 4000
    plot_calibration(measured, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000
    labels = BinaryLabels(columns=("a", "b"))
    both = np.stack([rng.random(4000) < 1 / (1 + np.exp(-x)) for x in logits[:, :2].T], axis=1).astype(float)
    assert calibrated(labels, rows_of(logits[:, :2] / 2, both)).temperature == pytest.approx(0.5, rel=0.1)


def test_numbers_have_no_temperature():
    target = Numbers(columns=("a",), mean=(0.0,), sd=(1.0,))
    assert calibrated(target, rows_of(np.ones((3, 1)), np.ones((3, 1)))) is target
