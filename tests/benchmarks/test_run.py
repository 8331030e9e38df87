import json
from dataclasses import replace
from multiprocessing import active_children

import numpy as np
import pandas as pd
import pytest
import yaml

from dnar2mae.benchmarks.models.encoder import Encoder
from dnar2mae.benchmarks.reporting.summary import compare_models, ranks, remarks, summarise
from dnar2mae.benchmarks.running import cells, runner
from dnar2mae.benchmarks.running.cells import ModelSpec
from dnar2mae.benchmarks.running.frozen import Predicted
from dnar2mae.benchmarks.running.options import SuiteOptions
from dnar2mae.benchmarks.running.protocol import load_protocol
from dnar2mae.benchmarks.running.results import Store
from dnar2mae.benchmarks.running.runner import plan_cells, run_suite
from dnar2mae.benchmarks.tasks.suite import load_suite
from dnar2mae.cli import main
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.run.config_file import read_config
from dnar2mae.scoring.scores import confusion, mcc
from dnar2mae.training.pretrain import pretrain

from .conftest import motif_rows, write_rows

QUICK = """
name: quick
source: here
seeds: [3, 4]
probe: {c: [0.01, 1.0]}
knn: {k: [1, 5]}
finetune: {lr: [1.0e-3, 1.0e-2], epochs: 1, batch_size: 60}
cnn: {lr: [1.0e-3], epochs: 1, batch_size: 60}
"""


@pytest.fixture
def protocol(tmp_path):
    path = tmp_path / "quick.yaml"
    path.write_text(QUICK)
    return path


def run(suite, protocol, out, *flags):
    return main(["benchmark", "run", str(suite), "--out", str(out), "--protocol", str(protocol), *map(str, flags)])


def test_a_run_from_data_to_report(motif_suite, protocol, tiny_run, tmp_path, capsys):
    out = tmp_path / "out"
    flags = ("--model", f"tiny={tiny_run}", "--method", "probe", "knn", "finetune", "--device", "cpu")
    assert run(motif_suite, protocol, out, *flags) == 0
    printed = capsys.readouterr().out
    for text in ("tiny (random weights), probe", "k-mer counts, probe", "small CNN, scratch", "Mean rank"):
        assert text in printed
    rows = pd.read_json(out / "results.jsonl", lines=True)
    counts = rows.groupby(["model", "method"]).size().to_dict()
    assert counts == {
        ("tiny", "probe"): 1,
        ("tiny", "knn"): 1,
        ("tiny", "finetune"): 2,
        **{("tiny (random weights)", method): 2 for method in ("probe", "knn", "finetune")},
        ("k-mer counts", "probe"): 1,
        ("small CNN", "scratch"): 2,
    }
    tuned = rows[(rows["model"] == "tiny") & (rows["method"] == "finetune")]
    assert len({json.dumps(chosen) for chosen in tuned["chosen"]}) == 1
    assert (rows["num_duplicates"] == 2).all()
    table = pd.read_csv(out / rows["predictions"][0])
    assert table["duplicate"].sum() == 2
    assert list(table.columns) == ["row", "label", "predicted", "duplicate", "p0", "p1"]
    summary = pd.read_csv(out / "summary.csv")
    assert ((summary["low"] <= summary["score"]) & (summary["score"] <= summary["high"])).all()
    assert summary.loc[summary["model"] == "small CNN", "num_seeds"].item() == 2
    report = (out / "report.md").read_text()
    assert "60" not in report.split("| task |")[0]
    assert "Paired comparisons" in report
    assert (out / "plots" / "mine.png").stat().st_size > 5000
    assert "<table" in (out / "report.html").read_text()
    assert not pd.read_csv(out / "results.csv").empty


def test_an_interrupted_run_goes_on(motif_suite, protocol, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    whole = runner.run_cell
    calls = []

    def stops_after_one(cell, data):
        if calls:
            raise KeyboardInterrupt
        calls.append(cell.model.name)
        return whole(cell, data)

    monkeypatch.setattr(runner, "run_cell", stops_after_one)
    assert run(motif_suite, protocol, out) == 130
    assert "interrupted" in capsys.readouterr().err
    assert len(Store(out).rows()) == 1
    with (out / "results.jsonl").open("a") as file:
        file.write('{"suite": "mine", "task"')  # a line that was being written
    monkeypatch.setattr(runner, "run_cell", whole)
    assert run(motif_suite, protocol, out) == 0
    assert "1 of 3 cells were finished before." in capsys.readouterr().out
    assert sorted(row["model"] for row in Store(out).rows()) == ["k-mer counts", "small CNN", "small CNN"]


def test_results_of_other_data_or_settings_are_not_taken(motif_suite, protocol, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(motif_suite, protocol, out, "--baselines", "raw") == 0
    first = Store(out).rows()[0]
    assert run(motif_suite, protocol, out, "--baselines", "raw") == 0
    assert "1 of 1 cells were finished before." in capsys.readouterr().out
    protocol.write_text(QUICK.replace("[0.01, 1.0]", "[0.001]"))
    assert run(motif_suite, protocol, out, "--baselines", "raw") == 0
    assert "finished before" not in capsys.readouterr().out
    write_rows(motif_suite / "motif" / "dev.csv", motif_rows(44, 77))
    assert run(motif_suite, protocol, out, "--baselines", "raw") == 0
    assert "finished before" not in capsys.readouterr().out
    (last,) = Store(out).rows()
    assert last["data_digest"] != first["data_digest"]
    assert last["settings"]["c"] == [0.001]


def test_runs_of_one_recipe_are_averaged(motif_suite, protocol, tiny_run, second_run, tmp_path, capsys):
    out, config = tmp_path / "out", read_config(second_run / "config.yaml")
    flags = ("--method", "probe", "finetune", "--device", "cpu", "--baselines", "random", "raw", "combined")
    models = [f"recipe={tiny_run}", f"recipe={second_run}"]
    assert run(motif_suite, protocol, out, "--model", *models, *flags) == 0
    assert "recipe, probe" in (printed := capsys.readouterr().out)
    assert "(2 runs)" in printed
    rows = pd.read_json(out / "results.jsonl", lines=True)
    own = rows[rows["model"] == "recipe"]
    assert own.groupby("method")["seed"].apply(list).to_dict() == {"probe": [3, 4], "finetune": [3, 4]}
    assert own.groupby("method")["model_digest"].nunique().tolist() == [2, 2]
    tuned = own[own["method"] == "finetune"]
    assert len({chosen["lr"] for chosen in tuned["chosen"]}) == 1  # that of the first run
    summary = pd.read_csv(out / "summary.csv").set_index(["model", "method"])
    mean = np.mean([scores["mcc"] for scores in own[own["method"] == "probe"]["scores"]])
    assert summary.loc[("recipe", "probe"), "score"] == pytest.approx(mean)
    assert summary["num_runs"].to_dict() == {
        ("recipe", "probe"): 2,
        ("recipe", "finetune"): 2,
        ("k-mer counts + recipe", "probe"): 2,
        ("recipe (random weights)", "probe"): 1,
        ("recipe (random weights)", "finetune"): 1,
        ("k-mer counts", "probe"): 1,
    }
    compared = pd.read_csv(out / "comparisons.csv")
    assert {"what pretraining adds", "what the embedding adds"} <= set(compared["says"])
    wide = tmp_path / "wide"
    pretrain(replace(config, model=replace(config.model, width=24)), wide)
    capsys.readouterr()
    for other, message in [
        (wide, "must be runs of one recipe"),
        (tiny_run / "checkpoints" / "step-00000003", "weights"),
    ]:
        assert run(motif_suite, protocol, out, "--model", models[0], f"recipe={other}", *flags) == 2
        assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def second_run(tiny_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("second") / "run"
    pretrain(replace(read_config(tiny_run / "config.yaml"), seed=1, steps=4), folder)
    return folder


def test_a_report_is_of_the_runs_and_settings_of_the_last_call(
    motif_suite, protocol, tiny_run, second_run, tmp_path, capsys
):
    models, flags = [f"a={tiny_run}", f"a={second_run}"], ("--device", "cpu", "--baselines", "random")

    def call(*more):
        assert run(motif_suite, protocol, tmp_path, "--model", *more, *flags) == 0
        table = pd.read_csv(tmp_path / "summary.csv").set_index(["model", "method"])
        return table.loc[("a", "probe"), ["score", "num_seeds", "num_runs"]].tolist(), capsys.readouterr().out

    both, _ = call(*models)
    assert both[1:] == [2, 2]
    second, _ = call(models[1])
    assert second[1:] == [1, 1]
    rows = Store(tmp_path).rows()
    assert [row["scores"]["mcc"] for row in rows if row["model"] == "a"] == [second[0]]
    swapped, _ = call(*models[::-1])
    assert swapped == both
    _, printed = call(models[1], "--seeds", 1, "--folds", 3)  # other test rows: no mean with those of before
    assert "(1 seed)" in printed
    call(models[1], "--method", "knn")  # nor a comparison, by another method
    compared = pd.read_csv(tmp_path / "comparisons.csv")
    by_method = {(a.rpartition(", ")[2], b.rpartition(", ")[2]) for a, b in compared[["model", "against"]].to_numpy()}
    assert by_method == {("probe", "probe"), ("knn", "knn")}
    again, printed = call(*models[::-1])
    assert again == both
    assert "4 of 4 cells were finished before" in printed
    assert {row["method"] for row in Store(tmp_path).rows()} == {"probe", "knn"}
    wide = tmp_path / "wide"
    config = read_config(tiny_run / "config.yaml")
    pretrain(replace(config, model=replace(config.model, width=24)), wide)
    assert run(motif_suite, protocol, tmp_path, "--model", f"a={wide}", "--device", "cpu", "--baselines", "raw") == 0
    # controls of the other architecture, and its knn, are none of it
    assert {row["model"] for row in Store(tmp_path).rows()} == {"a", "k-mer counts"}


def test_a_run_that_has_diverged_is_named_and_so_are_those_that_take_its_learning_rate(
    motif_suite, protocol, tiny_run, second_run, tmp_path, monkeypatch, capsys
):
    def fails(cell, data):
        if cell.model.path == str(tiny_run):
            raise RunError("it has diverged")
        return run_cell(cell, data)

    run_cell = runner.run_cell
    monkeypatch.setattr(runner, "run_cell", fails)
    models = ("--model", f"a={tiny_run}", f"a={second_run}", "--method", "probe", "finetune", "--device", "cpu")
    assert run(motif_suite, protocol, tmp_path, *models, "--baselines", "raw") == 1
    printed = capsys.readouterr().out
    assert f"Failed motif, a ({tiny_run}), probe: it has diverged" in printed
    assert f"Failed motif, a ({second_run}), finetune: the first seed, or run, whose learning rate" in printed
    assert "Note: motif: a, probe: 1 of 2 runs" in printed
    assert run(motif_suite, protocol, tmp_path, "--model", models[2], *models[3:], "--baselines", "raw") == 0
    assert "1 of 2 runs" not in capsys.readouterr().out
    monkeypatch.setattr(runner, "run_cell", run_cell)
    assert run(motif_suite, protocol, tmp_path, *models, "--baselines", "raw") == 0  # what failed is tried again
    assert capsys.readouterr().out.count("(2 runs)") == 2
    assert pd.read_csv(tmp_path / "summary.csv").set_index("model").loc["a", "num_runs"].tolist() == [2, 2]


def test_names_that_look_alike_and_protocols_side_by_side_are_kept_apart(
    motif_suite, protocol, tiny_run, second_run, tmp_path, capsys
):
    models = ("--model", f"a b={tiny_run}", f"a-b={second_run}", "--device", "cpu", "--baselines", "raw")
    assert run(motif_suite, protocol, tmp_path, *models) == 0
    paths = [row["predictions"] for row in Store(tmp_path).rows()]
    assert len(set(paths)) == len(paths)
    alone = pd.read_csv(tmp_path / "comparisons.csv")
    other = tmp_path / "other.yaml"
    other.write_text(protocol.read_text().replace("name: quick", "name: other").replace("0.01, 1.0", "100.0"))
    assert run(motif_suite, other, tmp_path, *models) == 0
    both = pd.read_csv(tmp_path / "comparisons.csv")
    assert set(both["protocol"]) == {"quick", "other"}
    pd.testing.assert_frame_equal(both[both["protocol"] == "quick"].reset_index(drop=True), alone)
    assert "a b, probe, other" in (tmp_path / "report.md").read_text()
    assert run(motif_suite, protocol, tmp_path, "--model", f"k-mer counts={tiny_run}", "--baselines", "raw") == 2
    assert "'k-mer counts' is the name of a control" in capsys.readouterr().err


def test_a_model_that_has_diverged_fails_alone(motif_suite, protocol, tiny_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Encoder, "poolings", lambda self, rows, *_, **__: {"vector": np.full((len(rows), 2), np.nan)})
    monkeypatch.setattr(Encoder, "embed", lambda self, rows, **_: np.full((len(rows), 2), np.nan))
    predicted = Predicted(np.full((62, 2), np.nan), {"lr": 1.0}, 0.0)
    monkeypatch.setattr(cells, "fit", lambda *_: predicted)
    flags = ("--model", f"tiny={tiny_run}", "--method", "probe", "knn", "finetune", "--device", "cpu")
    assert run(motif_suite, protocol, tmp_path, *flags, "--baselines", "raw", "combined") == 1
    assert "its vectors (vector) are not finite" in capsys.readouterr().out
    rows = {(row["model"], row["method"]): row["status"] for row in Store(tmp_path).rows()}
    models = [("tiny", "probe"), ("tiny", "knn"), ("tiny", "finetune"), ("k-mer counts + tiny", "probe")]
    assert rows == dict.fromkeys(models, "failed") | {("k-mer counts", "probe"): "done"}


def test_missing_tasks_are_named_and_failed_cells_too(motif_suite, protocol, tmp_path, capsys, monkeypatch):
    content = yaml.safe_load((motif_suite / "suite.yaml").read_text())
    content["tasks"]["elsewhere"] = {}
    (motif_suite / "suite.yaml").write_text(yaml.safe_dump(content))

    def fails(cell, data):
        raise ConfigError("the model is of wood")

    monkeypatch.setattr(runner, "run_cell", fails)
    assert run(motif_suite, protocol, tmp_path / "out", "--baselines", "raw") == 1
    printed = capsys.readouterr().out
    assert "Skipped elsewhere: not in" in printed
    assert "Failed motif, k-mer counts, probe: the model is of wood" in printed
    monkeypatch.undo()
    assert run(motif_suite, protocol, tmp_path / "out", "--baselines", "raw") == 0


def test_folds_test_every_row_once(motif_suite, tiny_run, tmp_path, capsys):
    flags = ("--model", f"tiny={tiny_run}", "--method", "probe", "knn", "--seeds", 1, "--device", "cpu", "--folds", 4)
    assert run(motif_suite, "dnar2mae-v4", tmp_path, *flags) == 0
    printed = capsys.readouterr().out
    assert "4 folds of all rows, not the suite's own test split" in (tmp_path / "report.md").read_text()
    rows = {(row["model"], row["method"]): row for row in Store(tmp_path).rows()}
    assert "small CNN" not in printed
    assert rows["tiny", "knn"]["chosen"]["k"].endswith(")")
    whole = pd.concat([pd.read_csv(motif_suite / "motif" / f"{split}.csv") for split in ("train", "dev", "test")])
    for row in rows.values():
        assert row["num_test"] == len(whole)
        table = Store(tmp_path).read_predictions(row)
        assert table["label"].tolist() == whole["label"].tolist()  # in the order of the files
        scored = mcc(confusion(table["label"].to_numpy(), table["predicted"].to_numpy(), 2))
        assert row["scores"]["mcc"] == pytest.approx(float(scored))
    assert rows["k-mer counts", "probe"]["scores"]["mcc"] > 0.4  # a motif of six bases
    assert run(motif_suite, "dnar2mae-v4", tmp_path, *flags) == 0
    assert "6 of 6 cells were finished before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--folds", 2), "folds must be at least 3, got 2"),
        (("--folds", 3, "--method", "probe", "lora"), "--folds is for probe and knn, which take minutes; got --method"),
        (("--folds", 3, "--baselines", "raw", "cnn"), "--folds has no baseline cnn"),
        (("--folds", 500, "--baselines", "raw"), "--folds 500: class without is in 110 groups of rows only"),
    ],
)
def test_folds_that_cannot_be(motif_suite, tmp_path, capsys, flags, message):
    assert run(motif_suite, "dnar2mae-v4", tmp_path, *flags) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_protocol_limits_the_tokenizer_that_it_counts_for(motif_suite, protocol, tiny_run, tmp_path, capsys):
    protocol.write_text(QUICK.replace("finetune: {", "finetune: {tokenization: base, max_tokens: 20, "))
    flags = ("--model", tiny_run, "--method", "finetune", "--baselines", "random", "--seeds", 1, "--device", "cpu")
    assert run(motif_suite, protocol, tmp_path / "out", *flags) == 1
    printed = capsys.readouterr().out
    assert printed.count("120 of 120 sequences are longer than its context of 20 tokens") == 2
    assert run(motif_suite, protocol, tmp_path / "out", *flags, "--allow-truncation") == 0
    assert "62 test sequences were cut to the context of 20 tokens" in capsys.readouterr().out
    protocol.write_text(QUICK.replace("finetune: {", "finetune: {tokenization: bpe, max_tokens: 20, "))
    assert run(motif_suite, protocol, tmp_path / "out", *flags) == 0


def test_what_a_reader_must_know_is_printed_and_reported(motif_suite, protocol, tmp_path, capsys):
    rows = [(sequence.lower() if i < 3 else sequence, 0) for i, (sequence, _) in enumerate(motif_rows(20, 9))]
    write_rows(motif_suite / "motif" / "test.csv", rows)
    assert run(motif_suite, protocol, tmp_path / "out", "--seeds", 1) == 0
    printed, report = capsys.readouterr().out, (tmp_path / "out" / "report.md").read_text()
    for text in (
        "Note: small CNN, scratch: 1 of the 2 seeds of protocol quick",
        "Note: motif: test: 3 rows with lower case",
        "Note: motif: test: no row of class with",
    ):
        assert text in printed
        assert text in report
    assert "Note: k-mer" not in report


def test_precision_is_part_of_what_a_result_is_of(motif_suite, protocol, tiny_run, tmp_path, capsys):
    flags = ("--model", tiny_run, "--baselines", "random", "--seeds", 1, "--method", "finetune", "--device", "cpu")
    assert run(motif_suite, protocol, tmp_path / "out", *flags) == 0
    assert run(motif_suite, protocol, tmp_path / "out", *flags, "--precision", "bf16") == 0
    assert "finished before" not in capsys.readouterr().out
    assert Store(tmp_path / "out").rows()[0]["settings"]["precision"] == "bf16"


@pytest.mark.slow
def test_an_interruption_stops_the_workers(motif_suite, protocol, tmp_path):
    def interrupt(done, total, what):
        if done:
            raise KeyboardInterrupt

    store, settings = Store(tmp_path / "out"), load_protocol(str(protocol))
    arguments = (load_suite(str(motif_suite)), motif_suite, [], settings, store)
    with pytest.raises(KeyboardInterrupt):
        run_suite(*arguments, options=SuiteOptions(num_workers=2), advance=interrupt)
    assert len(store.rows()) == 1
    assert not active_children()
    assert run_suite(*arguments).num_reused == 1


@pytest.mark.slow
def test_workers_give_the_same_results(motif_suite, protocol, tmp_path):
    suite, settings = load_suite(str(motif_suite)), load_protocol(str(protocol))
    scores = []
    for workers in (1, 2):
        store = Store(tmp_path / str(workers))
        table = run_suite(
            suite, motif_suite, [], settings, store, options=SuiteOptions(baselines=("raw",), num_workers=workers)
        )
        scores.append([(row["model"], row["seed"], row["scores"]) for row in table.rows])
    assert scores[0] == scores[1]


def test_comparisons_and_ranks_read_predictions(motif_suite, protocol, tmp_path):
    store = Store(tmp_path / "out")
    table = run_suite(load_suite(str(motif_suite)), motif_suite, [], load_protocol(str(protocol)), store)
    names = ("k-mer counts, probe", "small CNN, scratch")
    assert set(ranks(summarise(store, table.rows))) == set(names)
    intervals = [summarise(store, rows).set_index("model")[["low", "high"]] for rows in (table.rows, table.rows[::-1])]
    pd.testing.assert_frame_equal(*(found.sort_index() for found in intervals))
    there, back = (compare_models(store, table.rows, *pair)["all"] for pair in (names, names[::-1]))
    assert there.difference.value == pytest.approx(-back.difference.value)
    assert there.difference.low <= there.difference.value <= there.difference.high
    assert compare_models(store, table.rows, *names).keys() == {"mine:motif", "all"}
    assert compare_models(store, table.rows, names[0], "nobody") == {}
    (store.folder / table.rows[0]["predictions"]).unlink()
    with pytest.raises(RunError, match="cannot be read"):
        compare_models(store, table.rows, *names)


@pytest.mark.parametrize("metric", ["auroc", "auprc"])
def test_scores_of_ranks_have_intervals_and_small_test_sets_a_remark(metric, motif_suite, protocol, tmp_path):
    about = yaml.safe_load((motif_suite / "suite.yaml").read_text())
    about["tasks"]["motif"]["metric"] = metric
    (motif_suite / "suite.yaml").write_text(yaml.safe_dump(about))
    store = Store(tmp_path / "out")
    table = run_suite(load_suite(str(motif_suite)), motif_suite, [], load_protocol(str(protocol)), store)
    summary = summarise(store, table.rows)
    assert ((summary["low"] < summary["score"]) & (summary["score"] < summary["high"])).all()
    found = compare_models(store, table.rows, "k-mer counts, probe", "small CNN, scratch")["all"]
    assert found.difference.low < found.difference.value < found.difference.high
    assert any("motif: 31 test rows of the rarest class, fewer than 100" in line for line in remarks(summary))


def test_which_cells_are_planned():
    spec, protocol = ModelSpec(name="m", kind="checkpoint", path="x"), load_protocol("dnar2mae-v4")
    cells = plan_cells([spec], protocol, ["probe", "lora"], ["random", "raw", "cnn"], 2, raw_names=["counts"])
    planned = [(cell.model.kind, cell.method, cell.seed) for cell in cells]
    assert planned == [
        ("checkpoint", "probe", 0),
        ("checkpoint", "lora", 0),
        ("checkpoint", "lora", 1),
        ("random", "probe", 0),
        ("random", "lora", 0),
        ("random", "probe", 1),
        ("random", "lora", 1),
        ("raw", "probe", 0),
        ("cnn", "scratch", 0),
        ("cnn", "scratch", 1),
    ]
    runs = [spec, replace(spec, path="y"), replace(spec, name="other")]
    cells = plan_cells(runs, protocol, ["probe", "lora"], ["random", "combined"], 1, raw_names=["counts"])
    planned = [(cell.model.name, cell.model.path, cell.method, cell.seed) for cell in cells]
    assert planned == [
        ("m", "x", "probe", 0),
        ("m", "x", "lora", 0),
        ("counts + m", "x", "probe", 0),
        ("m", "y", "probe", 1),
        ("m", "y", "lora", 1),
        ("counts + m", "y", "probe", 1),
        ("other", "x", "probe", 0),
        ("other", "x", "lora", 0),
        ("counts + other", "x", "probe", 0),
        ("m (random weights)", "x", "probe", 0),
        ("m (random weights)", "x", "lora", 0),
        ("other (random weights)", "x", "probe", 0),
        ("other (random weights)", "x", "lora", 0),
    ]
    descending = replace(protocol, seeds=(2, 1))
    assert [cell.seed for cell in plan_cells([spec], descending, ["lora"], [], 4)] == [2, 1, 3, 4]
    assert [cell.seed for cell in plan_cells([], protocol, [], ["cnn"], 7)] == [0, 1, 2, 3, 4, 5, 6]
    with pytest.raises(ConfigError, match="--method: protocol gue/dnabert2-v1 has finetune, lora, got probe"):
        plan_cells([], load_protocol("gue/dnabert2-v1"), ["probe"], [], None)
    with pytest.raises(ConfigError, match="--baselines must be some of"):
        plan_cells([], protocol, [], ["lstm"], None)
    with pytest.raises(ConfigError, match="--seeds must be at least 1, got 0"):
        plan_cells([], protocol, [], [], 0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["run", "nosuite", "--out", "x"], "no suite 'nosuite'"),
        (["run", "gue", "--out", "x"], "--data must name the folder of Genome Understanding"),
        (["run", "gue", "--data", ".", "--out", "x", "--tasks", "tf/9"], "'tf/9' is 0 tasks"),
        (["run", "gue", "--data", "tests", "--out", "x"], "tests: has none of the 28 data sets of suite gue"),
        (["run", "gue", "--data", ".", "--out", "x", "--model", "nowhere"], "nowhere: no such folder"),
        (
            ["run", "gue", "--data", ".", "--out", "x", "--model", "a/x", "b/x"],
            "several are called x; give each as NAME=",
        ),
        (
            ["run", "gue", "--data", ".", "--out", "x", "--model", "x=a/x", "b/x"],
            "several are called x; give each as NAME=",
        ),
        (["run", "gue", "--data", ".", "--out", "x", "--model", "=x"], "=x has no name before the ="),
        (["run", "gue", "--data", ".", "--out", "x", "--workers", "0"], "--workers must be at least 1, got 0"),
        (["report", "nowhere"], "no finished result"),
    ],
)
def test_one_line_errors(flags, message, capsys):
    assert main(["benchmark", *flags]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_damaged_results_file(tmp_path, capsys):
    (tmp_path / "results.jsonl").write_text("{}\n{}\n")
    assert main(["benchmark", "report", str(tmp_path)]) == 2
    assert "results.jsonl:1: not a result" in capsys.readouterr().err


def test_list(capsys, motif_suite):
    assert main(["benchmark", "list"]) == 0
    printed = capsys.readouterr().out
    assert "genomic_benchmarks" in printed
    assert "gue/dnabert2-v1" in printed
    assert main(["benchmark", "list", str(motif_suite), "--data", str(motif_suite)]) == 0
    assert "present" in capsys.readouterr().out
