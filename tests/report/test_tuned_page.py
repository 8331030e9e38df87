import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dnar2mae.errors import ConfigError, RunError
from dnar2mae.finetuning import FinetuneConfig, finetune, load
from dnar2mae.finetuning.result import FinetuneResult
from dnar2mae.report.options import PageOptions
from dnar2mae.report.page import write_page
from dnar2mae.report.tuned import division
from tests.finetuning.conftest import rich_rows, write_table
from tests.random_run import write_run

from .reader import PageReader

pytestmark = pytest.mark.long

COMMON = ["This run", "Loss by step", "Scores on test"]
LABELS = {"classes": ("label",), "labels": ("one", "two"), "numbers": ("value",), "counts": ("reads",)}
OWN = {
    "classes": ["Calibration", "By class", "Precision and recall"],
    "labels": ["Calibration", "Precision and recall"],
    "numbers": ["Predicted and true"],
    "counts": ["Predicted and true"],
}


@pytest.fixture(scope="session")
def tuned(tmp_path_factory):
    """Return the directory of a fine-tuned run by the kind of its target; "bases" is of classes per base."""
    folder = tmp_path_factory.mktemp("tuned")
    pretrained = write_run(folder / "pretrained")
    rows = rich_rows(120)
    rows[4]["sequence"] = rows[0]["sequence"]  # a row of test that train has
    table = write_table(folder / "table.csv", rows)

    def make(kind):
        out = folder / kind
        if not out.exists():
            settings = {"model": str(pretrained), "device": "cpu", "epochs": 2}
            if kind == "bases":
                rng = np.random.default_rng(0)
                text = "".join(rng.choice(list("ACGT"), 6000))
                (folder / "g.fa").write_text(f">one\n{text}\n")
                (folder / "g.bed").write_text("".join(f"one\t{at}\t{at + 90}\n" for at in range(7, 5800, 200)))
                settings |= {"data": str(folder / "g.fa"), "track": str(folder / "g.bed"), "both_strands": True}
            else:
                settings |= {"data": str(table), "label": LABELS[kind], "baselines": kind != "counts"}
            finetune(FinetuneConfig(**settings), out)
        return out

    return make


def write(run, out):
    text = write_page(run, out, device="cpu", overwrite=True).read_text()
    return PageReader(text), text


@pytest.mark.parametrize("kind", LABELS)
def test_every_kind_of_target_has_its_sections(tuned, tmp_path, kind):
    run = shutil.copytree(tuned(kind), tmp_path / "run")
    read, text = write(run, tmp_path / "page.html")
    assert list(read.sections) == [
        *COMMON, *OWN[kind], "Train, dev and test", "Homologues in train", "With your own data",
    ]  # fmt: skip
    assert "Not on this page" not in text
    assert len(text) < 500_000
    assert not any(word in text for word in ("http:", "https:", "//", "@import", "<script", "<link"))
    assert len(set(read.ids)) == len(read.ids)
    assert "a pretrained model that was fine-tuned on labels" in text
    summary = json.loads((run / "summary.json").read_text())
    main = summary["scores"][summary["main"]]
    scored = read.sections["Scores on test"]
    assert f"{main['value']:.3f} [{main['low']:.3f}, {main['high']:.3f}]" in scored["text"]
    for name, scores in summary["yardsticks"].items():
        assert f"{name}: {summary['main'].replace('_', ' ')} {scores[summary['main']]['value']:.3f}, " in scored["text"]
    assert ("--no-baselines" in scored["text"]) == (kind == "counts")
    assert f"The weights are those of step {summary['best']['step']}," in read.sections["Loss by step"]["text"]
    assert read.sections["Loss by step"]["svg"] == 2
    assert "train7260.0%" in read.sections["Train, dev and test"]["text"]
    assert "equal14.2%" in read.sections["Homologues in train"]["text"]
    assert f"dnar2mae predict {run} SEQUENCES.fa" in read.sections["With your own data"]["text"].replace("  ", " ")
    if "calibration" in summary and summary["calibration"]:
        assert f"a temperature of {summary['calibration']['temperature']:.2f}" in read.sections["Calibration"]["text"]


def test_classes_are_those_that_the_model_takes_the_test_rows_for(tuned, tmp_path):
    read, _ = write(tuned("classes"), tmp_path / "page.html")
    kept = pd.read_csv(tuned("classes") / "test_predictions.csv")
    crossed = pd.crosstab(kept["true"], kept["predicted"]).reindex(columns=["no", "yes"], fill_value=0)
    text = read.sections["By class"]["text"]
    for name in ("no", "yes"):
        assert f"{name}{crossed.loc[name, 'no']}{crossed.loc[name, 'yes']}" in text
        recall = crossed.loc[name, name] / crossed.loc[name].sum()
        assert f"{recall:.3f}" in text


def test_the_kept_predictions_are_those_of_the_model_for_the_test_rows(tuned):
    run = tuned("classes")
    kept, rows = pd.read_csv(run / "test_predictions.csv"), [r for r in rich_rows(120) if r["split"] == "test"]
    assert list(kept.columns) == [
        "row", "split", "value", "truth_value", "reads", "one", "two", "true", "predicted", "p_no", "p_yes",
    ]  # fmt: skip
    assert kept["row"].to_list() == list(range(4, 120, 5))
    assert kept["true"].to_list() == [row["label"] for row in rows]
    again = load(run, device="cpu").predict([row["sequence"] for row in rows[1:]])
    np.testing.assert_allclose(kept["p_yes"][1:], again["p_yes"], atol=1e-6)
    numbers = pd.read_csv(tuned("numbers") / "test_predictions.csv")
    assert numbers["true"].to_list() == [row["value"] for row in rows]


def test_bases_have_places_and_no_homologues(tuned, tmp_path, monkeypatch):
    run = tuned("bases")
    read, text = write(run, tmp_path / "page.html")
    assert list(read.sections) == [*COMMON, *OWN["classes"], "Train, dev and test", "With your own data"]
    assert "Not on this page" not in text
    assert f"predict {run} GENOME.fa --out predicted.bw" in read.sections["With your own data"]["text"].replace(
        "  ", " "
    )
    kept = pd.read_csv(run / "test_predictions.csv")
    assert f"{len(kept):,} bases of" in read.sections["By class"]["text"]
    inside = (kept["position"] - 7) % 200 < 90
    assert ((kept["true"] != "outside") == (inside & (kept["position"] < 5900))).all()
    monkeypatch.setattr("dnar2mae.finetuning.answers.MOST_BASES", 50)
    finetune(load(run, device="cpu").config, tmp_path / "few")
    few = pd.read_csv(tmp_path / "few" / "test_predictions.csv")
    assert len(few) == 50
    merged = few.merge(kept, on=["chrom", "position"], suffixes=("", "_of_all"))
    assert len(merged) == 50
    np.testing.assert_allclose(merged[few.columns[-1]], merged[f"{few.columns[-1]}_of_all"], atol=1e-6)


def test_a_stopped_run_has_its_curve_and_says_how_to_go_on(tuned, tmp_path):
    run = shutil.copytree(tuned("classes"), tmp_path / "run")
    (run / "summary.json").unlink()
    read, text = write(run, tmp_path / "page.html")
    reason = (
        f"stopped at step 6, and this is measured after the last one: dnar2mae finetune --resume --out {run} goes on"
    )
    assert f"Not on this page: {reason}" in text
    assert read.sections["Loss by step"]["svg"] == 2
    assert f"finetune --resume --out {run}" in read.sections["With your own data"]["text"].replace("  ", " ")


def test_what_is_missing_costs_its_sections_only(tuned, tmp_path):
    run = shutil.copytree(tuned("classes"), tmp_path / "run")
    (run / "test_predictions.csv").unlink()
    (run / "report.json").unlink(missing_ok=True)
    read, _ = write(run, tmp_path / "page.html")
    assert "test_predictions.csv: no such file; dnar2mae finetune --resume" in read.sections["By class"]["text"]
    assert read.sections["Scores on test"]["svg"]
    shutil.copy(tuned("numbers") / "test_predictions.csv", run)
    read, _ = write(run, tmp_path / "page.html")
    assert "not the predictions of this run's test rows" in read.sections["By class"]["text"]
    shutil.copy(tuned("classes") / "test_predictions.csv", run)
    (run / "data.sha256").write_text("other\n")
    read, _ = write(run, tmp_path / "page.html")
    assert "other data than those that the run began with" in read.sections["Homologues in train"]["text"]
    (run / "summary.json").write_text("[]")
    with pytest.raises(RunError, match="summary.json: not the summary of a fine-tuning"):
        write(run, tmp_path / "page.html")


def test_of_labels_that_are_all_the_same_on_test_there_is_no_score(tuned, tmp_path):
    rows = [{**row, "value": 2.5 if row["split"] == "test" else row["value"]} for row in rich_rows(100)]
    config = load(tuned("numbers"), device="cpu").config
    table = write_table(tmp_path / "table.csv", rows)
    finetune(replace(config, data=str(table)), tmp_path / "run")
    read, text = write(tmp_path / "run", tmp_path / "page.html")
    assert "Not on this page" not in text
    assert "There is no pearson: all labels or predictions" in read.sections["Scores on test"]["text"]
    assert read.sections["Scores on test"]["svg"] == 0


def test_names_of_classes_are_text(tuned, tmp_path):
    run = shutil.copytree(tuned("classes"), tmp_path / "run")
    for file in ("target.json", "summary.json"):
        text = (run / file).read_text()
        (run / file).write_text(text.replace('"no"', r'"<i>$\\frac$"').replace('"yes"', '"_&"'))
    kept = pd.read_csv(run / "test_predictions.csv")
    names = {"no": r"<i>$\frac$", "yes": "_&"}
    kept = kept.replace(names).rename(columns={f"p_{name}": f"p_{other}" for name, other in names.items()})
    kept.to_csv(run / "test_predictions.csv", index=False)
    read, text = write(run, tmp_path / "page.html")
    assert "Not on this page" not in text
    assert "<i>" not in text
    assert r"<i>$\frac$" in read.sections["By class"]["text"]
    assert ": _&" in read.sections["Precision and recall"]["text"]


def test_homologues_are_looked_for_once(tuned, tmp_path, monkeypatch):
    run = shutil.copytree(tuned("numbers"), tmp_path / "run")
    first = write(run, tmp_path / "page.html")[1]
    monkeypatch.setattr(division, "audit", lambda *_: pytest.fail("looked for again"))
    assert write(run, tmp_path / "page.html")[1] == first


def test_a_result_is_read_as_it_was_saved(tuned, tmp_path):
    result = FinetuneResult.read(tuned("numbers") / "summary.json")
    result.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tuned("numbers") / "summary.json").read_text()
    assert result.scores["pearson"].low < result.scores["pearson"].value


def test_an_annotation_is_for_pretrained_runs(tuned, tmp_path):
    with pytest.raises(ConfigError, match="--genes is for a pretrained run"):
        write_page(tuned("classes"), tmp_path / "page.html", options=PageOptions(genes=tmp_path / "g.gff3"))
