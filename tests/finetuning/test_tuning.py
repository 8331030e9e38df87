import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from dnar2mae.errors import ConfigError, DataError, RunError, SequenceError
from dnar2mae.finetuning import finetune, load
from dnar2mae.finetuning.data import open_data
from dnar2mae.finetuning.problem import SampleProblem
from dnar2mae.finetuning.samples import read_samples
from dnar2mae.finetuning.yardsticks import fit_yardsticks
from dnar2mae.inference import load as load_pretrained
from dnar2mae.models import MaskedModel
from dnar2mae.run.checkpoint import checkpoints
from dnar2mae.run.config_file import write_settings

from .conftest import rich_rows, write_table

pytestmark = pytest.mark.long


def best_weights(run):
    return load_file(run / "checkpoints" / "best" / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch):
    """Leave plots empty: to draw them takes longer than to train."""
    monkeypatch.setattr("dnar2mae.finetuning.tuning.plot_losses", lambda run, path, best: path.touch())
    monkeypatch.setattr("dnar2mae.finetuning.tuning.plot_calibration", lambda found, path: path.touch())


@pytest.mark.parametrize(
    ("label", "kind", "main", "columns"),
    [
        (("label",), "classes", "mcc", ["predicted", "p_no", "p_yes"]),
        (("value",), "numbers", "pearson", ["predicted"]),
        (("reads",), "counts", "deviance_explained", ["predicted"]),
        (("one", "two"), "labels", "auroc", ["p_one", "p_two"]),
    ],
)
def test_every_kind_of_target_is_learned_saved_and_read(settings, tmp_path, label, kind, main, columns):
    result = finetune(settings(label=label, epochs=15, patience=None), tmp_path / "run")
    assert result.finished
    assert result.target["kind"] == kind
    assert result.main == main == next(iter(result.scores))
    assert set(result.yardsticks) == {"k-mer counts", "random weights"}
    assert result.yardsticks["k-mer counts"][main].value > 0.2
    assert result.scores[main].value > 0.2
    assert result.scores[main].low < result.scores[main].value < result.scores[main].high
    assert set(result.ceiling) == (set(result.scores) if kind == "numbers" else set())
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["scores"][main]["value"] == result.scores[main].value
    tuned = load(tmp_path / "run", device="cpu")
    rows = [row for row in rich_rows(200) if row["split"] == "test"]
    frame = tuned.predict([row["sequence"] for row in rows])
    assert list(frame.columns) == columns
    predicted = frame.select_dtypes("number").to_numpy()
    wanted = np.array([[row[name] for name in label] for row in rows])
    wanted = wanted == "yes" if kind == "classes" else wanted
    scores = tuned.target.scores(predicted, wanted.astype(float), np.arange(len(rows)))
    assert scores[main].value == pytest.approx(result.scores[main].value, abs=1e-6)


def test_a_killed_run_ends_as_the_undisturbed_one(settings, tmp_path):
    config = settings(method="full", epochs=12, checkpoint_every=3, both_strands=True, baselines=False)
    finetune(config, tmp_path / "whole")
    run = tmp_path / "killed"
    write_settings(config, tmp_path / "config.yaml")
    start = (
        "import sys; from pathlib import Path; from dnar2mae.run.config_file import read_whole; "
        "from dnar2mae.finetuning import FinetuneConfig, finetune; "
        "finetune(read_whole(Path(sys.argv[1]), FinetuneConfig), sys.argv[2], resume=Path(sys.argv[2]).is_dir())"
    )
    command = [sys.executable, "-c", start, str(tmp_path / "config.yaml"), str(run)]
    seen = -1
    for _ in range(3):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(steps(run)) < 1 or steps(run)[-1:] == [seen]:
            time.sleep(0.002)
            if process.poll() is not None:
                break
        process.kill()
        process.wait()
        seen = steps(run)[-1]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert same(best_weights(tmp_path / "whole"), best_weights(run))
    last = [load_file(checkpoints(path)[-1] / "model.safetensors") for path in (tmp_path / "whole", run)]
    assert same(*last)
    assert metrics(tmp_path / "whole") == metrics(run)


def steps(run):
    return [int(path.name.removeprefix("step-")) for path in checkpoints(run)]


def test_a_stop_signal_saves_and_the_run_goes_on(settings, tmp_path, monkeypatch):
    from dnar2mae.training.stopping import StopRequests

    config = settings(epochs=6, baselines=False, method="lora", lora_dropout=0.2, lora_rank=2)
    pytest.importorskip("peft")
    finetune(config, tmp_path / "whole")
    count = iter(range(1, 1000))
    with monkeypatch.context() as patch:
        patch.setattr(StopRequests, "after_step", lambda _: signal.SIGTERM.name if next(count) == 7 else None)
        stopped = finetune(config, tmp_path / "run")
    assert not stopped.finished
    assert stopped.steps == 7
    assert finetune(config, tmp_path / "run", resume=True).finished
    assert same(best_weights(tmp_path / "whole"), best_weights(tmp_path / "run"))


def test_patience_ends_a_run_that_is_no_better_and_the_best_state_is_kept(settings, tmp_path):
    # so high a rate that dev gets worse
    result = finetune(settings(epochs=40, patience=2, lr=0.3, baselines=False, warmup_share=0), tmp_path / "run")
    rows = [row for row in metrics(tmp_path / "run") if row["event"] == "validation"]
    assert len(rows) < 40
    best = min(rows, key=lambda row: row["held_out"])
    assert result.best == {"step": best["step"], "held_out": best["held_out"]}
    assert rows.index(best) == len(rows) - 3
    again = finetune(
        settings(epochs=40, patience=2, lr=0.3, baselines=False, warmup_share=0), tmp_path / "run", resume=True
    )
    assert again.steps == result.steps
    assert again.scores == result.scores


def test_a_frozen_model_encodes_its_samples_once_and_learns_the_same(settings, tmp_path, monkeypatch):
    config = settings(method="frozen", both_strands=True, baselines=False, epochs=4)
    calls = []
    pooled = MaskedModel.pooled
    monkeypatch.setattr(
        MaskedModel, "pooled", lambda self, batch: (calls.append(len(batch.tokens)), pooled(self, batch))[1]
    )
    once = finetune(config, tmp_path / "once")
    # some rows for the scale of the vectors, then each on both strands
    assert sum(calls) == 120 + 2 * 200
    monkeypatch.setattr("dnar2mae.finetuning.tuning._MOST_BYTES", 0)
    again = finetune(config, tmp_path / "again")
    # four epochs of train and, on both strands, dev; then dev and test
    assert sum(calls) == 520 + 120 + 4 * (120 + 80) + 160
    for name, value in best_weights(tmp_path / "once").items():
        torch.testing.assert_close(value, best_weights(tmp_path / "again")[name], rtol=1e-4, atol=1e-5)
    assert once.scores["auroc"].value == pytest.approx(again.scores["auroc"].value, abs=1e-3)
    # nothing was encoded with the random weights that a resumed run begins with
    monkeypatch.undo()
    assert finetune(config, tmp_path / "once", resume=True).scores == once.scores


def test_both_strands_predict_the_same_for_a_sequence_and_its_reverse_complement(settings, tmp_path):
    finetune(settings(both_strands=True, baselines=False), tmp_path / "run")
    tuned = load(tmp_path / "run", device="cpu")
    sequence = rich_rows(2)[1]["sequence"]
    reverse = sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))
    there, back = (tuned.predict([s])["p_yes"][0] for s in (sequence, reverse))
    assert there == pytest.approx(back, abs=1e-6)
    one, other = (tuned.predict([s], both_strands=False)["p_yes"][0] for s in (sequence, reverse))
    assert abs(one - other) > 1e-6


def test_values_per_base_are_learned_and_turn_with_the_strand(settings, genome, tmp_path):
    config = settings(
        data=str(genome), track=str(genome.parent / "rich.bed"), epochs=20, both_strands=True, patience=None
    )
    result = finetune(config, tmp_path / "run")
    assert result.main == "auprc"
    assert result.target["per"] == "base"
    assert result.target["classes"] == ("outside", "inside")
    assert result.scores["auroc"].value > 0.75
    assert set(result.yardsticks) == {"k-mer counts within 50 bp", "random weights"}
    tuned = load(tmp_path / "run", device="cpu")
    sequence = "GGCGCCGCGGC" * 3 + "ATTATAATTAA" * 3
    reverse = sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))
    there, back = (tuned.predict([s[:64]])["p_inside"].to_numpy() for s in (sequence[:64], reverse[-64:]))
    np.testing.assert_allclose(there, back[::-1], atol=1e-5)
    assert there[:30].mean() > there[-30:].mean()


def test_labels_of_bases_of_a_region_on_the_reverse_strand_are_those_of_its_own_order(settings, genome, tmp_path):
    bed = tmp_path / "regions.bed"
    bed.write_text(
        "".join(f"one\t{start}\t{start + 64}\tx\t0\t{strand}\n" for start in range(0, 4000, 64)[:60] for strand in "+-")
    )
    config = settings(data=str(bed), genome=str(genome), track=str(genome.parent / "rich.bed"))
    problem = open_data(config, load_pretrained(config.model, device="cpu")).problem
    np.testing.assert_array_equal(problem.wanted[::2], problem.wanted[1::2, ::-1])
    assert 0 < problem.wanted.mean() < 1


def rows_with(**changes):
    return [{**row, **changes} for row in rich_rows(60)]


@pytest.mark.parametrize(
    ("changes", "rows", "error", "message"),
    [
        (
            {"label": ("missing",)},
            None,
            ConfigError,
            r"no column missing; name the label's with --label: it has sequence",
        ),
        ({"label": ("sequence",)}, None, ConfigError, "--label sequence: this column is an input"),
        ({"label": ("split",)}, None, ConfigError, "--label split: this column is an input"),
        ({"label": ("one", "one")}, None, ConfigError, "--label must name each column once"),
        ({}, rows_with(label="x"), DataError, "all rows have 'x'"),
        (
            {},
            [{**row, "label": ("0", "0.0", "1")[i % 3]} for i, row in enumerate(rich_rows(60))],
            DataError,
            r"column label: 0 and 0.0 are one number",
        ),
        (
            {},
            [{**row, "label": "no" if row["split"] == "dev" else row["label"]} for row in rich_rows(60)],
            DataError,
            r"dev has one value only of label \(no\)",
        ),
        ({}, rows_with(sequence="ACGT" * 20), SequenceError, r"60 of 60 sequences are longer than the 64 bp"),
        ({}, rows_with(sequence="ACGU!"), SequenceError, "row 1, position 5: expected a nucleotide letter, got '!'"),
        ({}, rows_with(sequence=""), SequenceError, "row 1: the sequence is empty"),
        ({}, [*rich_rows(60), {**rich_rows(1)[0], "sequence": "NNNN"}], DataError, "row 61: no known base"),
        ({}, [{"text": "x", "label": 1}], SequenceError, r"expected a column sequence, or chrom, start and end"),
        ({"data": ""}, None, ConfigError, "--data must name"),
        ({"model": ""}, None, ConfigError, "name the pretrained model"),
        ({"data": "nowhere.csv"}, None, SequenceError, "nowhere.csv: cannot be read"),
    ],
)
def test_bad_input_is_refused_in_a_line(settings, tmp_path, changes, rows, error, message):
    if rows is not None:
        changes = {"data": str(write_table(tmp_path / "bad.csv", rows)), **changes}
    with pytest.raises(error, match=message):
        finetune(settings(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_repeated_rows_are_counted_and_long_sequences_cut_where_that_is_allowed(settings, tmp_path):
    rows = rich_rows(100)
    rows[4]["sequence"] = rows[0]["sequence"][::-1].translate(str.maketrans("ACGT", "TGCA"))
    rows = [{**row, "sequence": row["sequence"] + "ACGT"} if row["split"] == "dev" else row for row in rows]
    data = write_table(tmp_path / "t.csv", rows)
    result = finetune(settings(data=str(data), allow_truncation=True, baselines=False), tmp_path / "run")
    assert any(
        "1 of 40 rows of dev and test (or their reverse complements) are in train" in note for note in result.notes
    )


def test_regions_of_a_genome_are_their_letters(genome, random_run, tmp_path):
    trained = load_pretrained(random_run, device="cpu")
    table = tmp_path / "regions.csv"
    table.write_text("chrom,start,end,strand,label\none,0,20,+,a\ntwo,5,25,-,b\n")
    samples = read_samples(trained, str(table), str(genome), allow_truncation=False)
    text = genome.read_text().split("\n")
    assert samples.letters([0])[0] == text[1][:20]
    assert samples.letters([1])[0] == text[3][5:25][::-1].translate(str.maketrans("ACGT", "TGCA"))
    table.write_text("chrom,start,end,label\none,0,99999,a\n")
    with pytest.raises(SequenceError, match=r"row 1: a region needs 0 <= start < end <= 4000"):
        read_samples(trained, str(table), str(genome), allow_truncation=False)
    with pytest.raises(ConfigError, match="--genome must be given with --data"):
        read_samples(trained, str(table), allow_truncation=False)


def test_a_resumed_run_keeps_its_settings_and_data(settings, table, tmp_path):
    finetune(settings(baselines=False), tmp_path / "run")
    with pytest.raises(RunError, match="a resumed run must keep its settings: --epochs was 2, got 3"):
        finetune(settings(epochs=3, baselines=False), tmp_path / "run", resume=True)
    with pytest.raises(RunError, match="not empty"):
        finetune(settings(), tmp_path / "run")
    frame = pd.read_csv(table)
    frame.iloc[::-1].to_csv(table, index=False)
    with pytest.raises(RunError, match="the run began with other data"):
        finetune(settings(baselines=False), tmp_path / "run", resume=True)


def test_a_run_does_not_take_the_place_of_the_model_that_it_reads(settings, random_run, tmp_path):
    model = tmp_path / "pretrained"
    shutil.copytree(random_run, model)
    (model / "environment.json").write_text('{"dnar2mae": "1"}')  # as a run of pretraining has it
    with pytest.raises(ConfigError, match=r"--out must not write over an input: .*pretrained is one"):
        finetune(settings(model=str(model)), model, overwrite=True)
    load_pretrained(model, device="cpu")


def test_of_three_classes_a_column_of_truth_is_no_expectation(settings, tmp_path):
    rows = [{**row, "label": "abc"[i % 3], "truth": 0.5} for i, row in enumerate(rich_rows(90))]
    data = write_table(tmp_path / "t.csv", rows)
    result = finetune(settings(data=str(data), baselines=False, epochs=1), tmp_path / "run")
    assert result.finished
    assert result.ceiling == {}


def test_windows_without_a_value_are_in_no_part(settings, genome, tmp_path):
    trained, track = load_pretrained(settings().model, device="cpu"), tmp_path / "values.bedgraph"
    track.write_text("".join(f"one\t{start}\t{start + 10}\t{start % 7}\n" for start in range(0, 2000, 10)))
    data = open_data(settings(data=str(genome), track=str(track), split="random"), trained)
    counts = {part: len(data.problem.ids(part)) for part in ("train", "dev", "test")}
    assert sum(counts.values()) == len(data.problem.wanted) == 32
    assert data.notes[1].endswith(", ".join(f"{part} {number}" for part, number in counts.items()))
    track.write_text("one\t0\t10\t1\none\t100\t110\t2\n")
    with pytest.raises(ConfigError, match="no row for train, test"):
        open_data(settings(data=str(genome), track=str(track), dev_names=("one",)), trained)


def test_windows_that_overlap_are_in_one_part(settings, tmp_path):
    trained = load_pretrained(settings().model, device="cpu")
    rng = np.random.default_rng(0)
    with (tmp_path / "g.fa").open("w") as fasta, (tmp_path / "g.bed").open("w") as bed:
        for number in range(60):  # two windows each, which overlap by 28 bp
            fasta.write(f">s{number}\n{''.join(rng.choice(list('ACGT'), 100))}\n")
            bed.write(f"s{number}\t20\t70\n")
    data = open_data(settings(data=str(tmp_path / "g.fa"), track=str(tmp_path / "g.bed"), split="random"), trained)
    assert (data.problem.parts[::2] == data.problem.parts[1::2]).all()
    assert len(data.problem.parts) == 120


def test_labels_far_from_zero_keep_their_digits(settings, tmp_path):
    rows = rich_rows(100)
    tables = [
        write_table(tmp_path / f"{far}.csv", [{**row, "value": row["value"] + far} for row in rows])
        for far in (0, 10**8)
    ]
    near, far = (
        finetune(settings(data=str(table), label=("value",), epochs=2), tmp_path / table.stem) for table in tables
    )
    for name in ("pearson", "r2"):
        assert far.scores[name].value == pytest.approx(near.scores[name].value, abs=1e-4)
    for name, scores in near.yardsticks.items():
        assert far.yardsticks[name]["pearson"].value == pytest.approx(scores["pearson"].value, abs=1e-4)


def test_the_unit_of_a_column_does_not_decide_on_the_penalty_of_the_counts(settings, tmp_path):
    rng, trained = np.random.default_rng(0), load_pretrained(settings().model, device="cpu")
    rows = [{**row, "noise": 1e6 * rng.normal()} for row in rich_rows(200)]
    scores = []
    for unit in (1.0, 1e-6):
        table = write_table(tmp_path / "t.csv", [{**row, "noise": row["noise"] * unit} for row in rows])
        problem = open_data(settings(data=str(table), label=("value", "noise")), trained).problem
        scores.append(fit_yardsticks(problem, trained, lambda: None)[0].scores["pearson value"].value)
    assert scores[0] == pytest.approx(scores[1])


def test_blanks_around_a_sequence_are_no_part_of_it(settings, table, tmp_path):
    frame = pd.read_csv(table)
    frame.assign(sequence=" " + frame["sequence"] + "\n").to_csv(tmp_path / "blank.csv", index=False)
    trained = load_pretrained(settings().model, device="cpu")
    one, other = (open_data(settings(data=str(path)), trained).problem for path in (table, tmp_path / "blank.csv"))
    assert one.samples.letters(range(200)) == other.samples.letters(range(200))


def test_the_precision_is_that_of_the_model_and_of_random_weights(settings, tmp_path, monkeypatch):
    seen, losses = [], SampleProblem.losses

    def watched(self, *arguments):
        seen.append(torch.is_autocast_enabled("cpu"))
        return losses(self, *arguments)

    monkeypatch.setattr(SampleProblem, "losses", watched)
    result = finetune(settings(precision="bf16", epochs=1), tmp_path / "run")
    assert set(result.yardsticks) == {"k-mer counts", "random weights"}
    assert seen == [True] * 8  # four steps of each


def test_a_rare_class_of_bases_is_among_those_that_the_counts_learn_from(settings, genome, tmp_path, monkeypatch):
    monkeypatch.setattr("dnar2mae.finetuning.yardsticks._MOST_BASES", 20)
    trained, bed = load_pretrained(settings().model, device="cpu"), tmp_path / "rare.bed"
    bed.write_text("".join(f"one\t{start}\t{start + 1}\n" for start in range(5, 4000, 200)))
    config = settings(data=str(genome), track=str(bed), split="random")
    (yardstick,) = fit_yardsticks(open_data(config, trained).problem, trained, lambda: None)
    assert "auprc" in yardstick.scores


def test_a_model_without_a_head_does_not_predict(random_run):
    with pytest.raises(RunError, match="no fine-tuned run here: a model has a head once dnar2mae finetune"):
        load(random_run)


def test_an_export_of_a_fine_tuned_model_says_what_opens_it(tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["ModernBertForSequenceClassification"]}')
    message = r"an export, which transformers opens: ModernBertForSequenceClassification.from_pretrained\("
    with pytest.raises(RunError, match=message):
        load(tmp_path)


def test_a_fine_tuned_run_is_no_pretrained_model(settings, tmp_path):
    finetune(settings(baselines=False, max_steps=1), tmp_path / "run")
    with pytest.raises(RunError, match="expected a pretrained model, got a fine-tuned run"):
        load_pretrained(tmp_path / "run", device="cpu")
