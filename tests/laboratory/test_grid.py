import csv
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import yaml

from dnar2mae.cli import main
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.laboratory import cost, workers
from dnar2mae.laboratory.compare import choose_rates, run_grid
from dnar2mae.laboratory.grid import load_grid, packaged_grids
from dnar2mae.laboratory.plan import CompareOptions

pytestmark = pytest.mark.long

SMALL = {
    "model": {"width": 16, "depth": 1, "mlp_width": 16},
    "optimizer": {"muon_lr": None, "warmup_steps": 2},
    "steps": 8,
    "batch_size": 8,
    "validate_every": 1000,
    "validation_windows": 8,
    "precision": "fp32",
}
TWO = {"classes": {"rich": "rich.fa", "poor": "poor.fa"}, "length": 32}


@pytest.fixture
def folder(tmp_path):
    """Images of two classes, and sequences of two classes beside a genome."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    images = rng.random((200, 8, 8)) * 0.5
    images[labels == 1, :, 4:] += 0.5
    np.savez(tmp_path / "images.npz", images=images.astype(np.float32), labels=labels)
    np.savez(tmp_path / "unlabelled.npz", images=images.astype(np.float32))
    for name, shares in (("rich", [0.1, 0.4, 0.4, 0.1]), ("poor", [0.4, 0.1, 0.1, 0.4])):
        rows = ["".join(rng.choice(list("ACGT"), 40, p=shares)) for _ in range(100)]
        (tmp_path / f"{name}.fa").write_text("".join(f">{i}\n{row}\n" for i, row in enumerate(rows)))
    (tmp_path / "genome.fa").write_text(
        ">one\n" + "".join(rng.choice(list("ACGT"), 9000, p=[0.4, 0.1, 0.1, 0.4])) + "\n"
    )
    return tmp_path


def grid_file(folder, **changes):
    """A grid of two settings and two laws, without the control that is added."""
    images = {"modality": "image", "data": {"paths": ["images.npz"], "normalise_patches": False}, **SMALL}
    images |= {"model": {"backbone": "mlp", "width": 16, "depth": 1}, "labelled": {"file": "images.npz"}}
    genome = {"data": {"genomes": ["genome.fa"], "window_bp": 32}, **SMALL}
    genome["labelled"] = TWO
    content = {
        "title": "Small",
        "laws": ["uniform:0.1,0.9", "fixed:0.5"],
        "seeds": [0, 1],
        "tuning": {"rates": [0.1, 10], "seeds": [7], "steps_share": 0.5},
        "settings": {"images": images, "dna": genome},
    }
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def setting(folder, name, **changes):
    """The content of a setting of that grid, changed."""
    return yaml.safe_load(grid_file(folder).read_text())["settings"][name] | changes


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_grid_of_two_settings(folder, capsys):
    out = folder / "lab"
    argv = ["compare", "--grid", str(grid_file(folder)), "--data-dir", str(folder), "--out", str(out)]
    argv += ["--device", "cpu"]
    assert main(argv) == 0
    rows = rows_of(out / "compare.csv")
    columns = {(row["measure"], row["at"]) for row in rows}
    assert columns == {
        *(("loss", at) for at in ("0.05", "0.15", "0.3", "0.5", "0.7", "0.85", "0.95")),
        ("area", "0 to 1"),
        ("labels", "all"),
        ("few labels", "10"),
        *(("missing", at) for at in ("0", "0.25", "0.5", "0.75")),
    }
    assert len(rows) == 2 * 2 * 2 * len(columns)
    assert not any(row["value"] == "nan" for row in rows)
    areas = {  # of the only trial seed, by rate; at a hundredth of the other nothing is learned in so few steps
        rate: {
            (path.parts[-3], path.parts[-2]): json.loads(path.read_text())["rows"][-1]["value"]
            for path in out.glob(f"trials/rate-{rate}/*/*/seed-7.json")
        }
        for rate in ("0.1", "10")
    }
    for row in rows:
        key = row["setting"], row["law"].translate(str.maketrans(":,", "-_"))
        assert row["rate"] == min(("0.1", "10"), key=lambda rate: areas[rate][key])
    report = (out / "report.md").read_text()
    assert "Fewer than 5 seeds: no intervals" in report
    assert "**" not in report
    assert "best fixed of each column" in report
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert len(rows_of(out / "regret.csv")) == 2 * 2 * len(columns)
    assert not [*out.glob("runs/**/loss.png"), *out.glob("runs/**/held_out*")]  # neither plots nor trivial models
    assert json.loads(next(out.glob("runs/*/*/seed-0/summary.json")).read_text())["yardstick"] == {}
    before = {path: path.stat().st_mtime_ns for path in out.glob("**/seed-*.json")}
    assert len(before) == 2 * 2 * (2 + 2)
    assert main(argv) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert main([*argv[:3], str(folder), *argv[4:]]) == 2
    assert main(["compare", "--grid", "quick", "--laws", "fixed:0.2", "--out", str(out)]) == 2
    assert "--grid has its own laws" in capsys.readouterr().err


def test_a_cell_that_fails_leaves_the_others(folder, capsys):
    """At a learning rate of 1e30 weights become infinite."""
    path = grid_file(
        folder, tuning={"rates": [1, 1e30], "seeds": [7]}, settings={"images": setting(folder, "images", labelled=None)}
    )
    argv = ["compare", "--grid", str(path), "--data-dir", str(folder), "--out", str(folder / "lab"), "--device", "cpu"]
    assert main(argv) == 1
    printed = capsys.readouterr()
    log = folder / "lab" / "trials" / "rate-1e+30" / "images" / "fixed-0.5" / "seed-7.log"
    assert f"see {log}" in printed.err
    assert "Traceback" in log.read_text()
    assert "Traceback" not in printed.err
    assert "2 runs failed and are left out" in (folder / "lab" / "report.md").read_text()
    assert {row["rate"] for row in rows_of(folder / "lab" / "compare.csv")} == {"1"}


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_the_others(folder, monkeypatch):
    monkeypatch.setattr(workers, "_MOST_CELLS", 1)  # so that processes are replaced on the way, too
    grid = load_grid(str(grid_file(folder, tuning=None, seeds=[0])), folder, device="cpu")
    out, killed = folder / "lab", []

    def kill():
        while not killed:
            for child in multiprocessing.active_children():
                if list(out.glob("runs/*/*/seed-0/config.yaml")):
                    os.kill(child.pid, signal.SIGKILL)
                    killed.append(child.pid)
                    break
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    found = run_grid(grid, out, CompareOptions(num_workers=2))
    thread.join()
    ((cell, error),) = found.failed
    assert error == "its process ended with -9"
    assert len(found.table.drop_duplicates(["setting", "law"])) == 3
    again = run_grid(grid, out, CompareOptions(num_workers=2))
    assert not again.failed
    assert (cell.path / "summary.json").exists()


@pytest.mark.slow
def test_a_grid_that_is_killed_goes_on_without_a_finished_cell(folder):
    out = folder / "lab"
    argv = ["compare", "--grid", str(grid_file(folder)), "--data-dir", str(folder), "--out", str(out)]
    argv += ["--workers", "2", "--device", "cpu"]
    process = subprocess.Popen([sys.executable, "-m", "dnar2mae.cli", *argv], stderr=subprocess.DEVNULL)
    while len(list(out.glob("trials/*/*/*/seed-7.json"))) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in out.glob("**/seed-*.json")}
    time.sleep(1)  # the workers end with the process that started them
    assert {path: path.stat().st_mtime_ns for path in out.glob("**/seed-*.json")}.keys() - before.keys() == set()
    assert main(argv) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_rates_are_chosen_by_the_mean_area(monkeypatch):
    values = {(0.5, 7): 1.0, (0.5, 8): 3.0, (1.0, 7): 1.5, (1.0, 8): 1.5, (2.0, 7): float("nan"), (2.0, 8): 1.0}
    rows = [
        {"setting": "a", "law": law, "rate": rate, "seed": seed, "measure": "area", "value": sign * value}
        for law, sign in (("one", 1), ("other", -1))
        for (rate, seed), value in values.items()
    ]
    monkeypatch.setattr("dnar2mae.laboratory.compare.column_rows", lambda cells: rows)
    assert choose_rates([]) == {("a", "one"): 1.0, ("a", "other"): 0.5}


FAULTS = {
    "unknown key": ({"colour": 3}, "unknown key colour"),
    "no laws": ({"laws": []}, "at least one law"),
    "law twice": ({"laws": ["fixed:0.5", "fixed:0.50"]}, "must differ, got fixed:0.5 twice"),
    "laws alike": ({"laws": ["uniform:0.3,0.3", "fixed:0.3"]}, "uniform:0.3,0.3 and fixed:0.3 mask alike"),
    "a choice of one": ({"laws": ["choice:0.3,0.3/sample", "fixed:0.3"]}, "mask alike"),
    "choices in another order": ({"laws": ["choice:0.3,0.6", "choice:0.6,0.3,0.6,0.3"]}, "mask alike"),
    "a law for nothing": ({"laws": ["fixed:0.3", "fixed:0.3/sample"]}, "mask alike"),
    "seeds of both rounds": ({"tuning": {"seeds": [1], "rates": [1, 2]}}, "tuning.seeds must not be among seeds"),
    "seed twice": ({"seeds": [1, 1]}, "seeds must be one or more, all different"),
    "negative seed": ({"seeds": [-1]}, "seeds must be one or more, all different and at least 0"),
    "seed of trials twice": ({"tuning": {"seeds": [7, 7]}}, "tuning.seeds must be one or more, all different"),
    "rates": ({"tuning": {"rates": [0]}}, "tuning.rates must be different numbers > 0"),
    "rate twice": ({"tuning": {"rates": [1, 1.0000001]}}, "tuning.rates must be different numbers > 0"),
    "infinite rate": ({"tuning": {"rates": [1, float("inf")]}}, "tuning.rates must be different numbers > 0"),
    "share of steps": ({"tuning": {"steps_share": 2}}, "tuning.steps_share must be in"),
    "a name that is a folder": ({"settings": {"..": {}}}, "expected a name"),
    "words on images": ({"laws": ["fixed:0.5/pmi:6"]}, "images: the law fixed:0.5/pmi:6 needs tokens that recur"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_a_grid(name, folder):
    changes, message = FAULTS[name]
    with pytest.raises(ConfigError, match=message):
        load_grid(str(grid_file(folder, **changes)), folder)


IMPOSSIBLE = {
    "k-mers on images": ("images", {"tokenizer": {"k": 3}}, "has no tokenizer, so that k-mers cannot be"),
    "mlp on packed rows": (
        "dna",
        {"modality": "text", "data": {"paths": ["rich.fa"]}, "model": {"backbone": "mlp"}},
        "mlp",
    ),
    "unknown setting": ("dna", {"stepz": 3}, "settings.dna: unknown key stepz"),
    "mask": ("dna", {"mask": {"ratio": 0.3}}, "are set by the grid's seeds and laws"),
    "no file": ("dna", {"data": {"genomes": ["none.fa"]}}, "/none.fa: no such file"),
    "no labels": ("images", {"labelled": {"file": "none.npz"}}, "settings.images: labelled: "),
    "preset": ("dna", {"preset": "huge"}, "preset must be one of"),
    "labels without classes": ("images", {"labelled": {"file": "unlabelled.npz"}}, "settings.images: labelled: "),
    "a folder of labels": ("images", {"labelled": {"file": "."}}, "settings.images: labelled: "),
    "too few labels": ("dna", {"labelled": {**TWO, "rows": 10}}, "settings.dna: labelled: "),
    "labels of nothing": ("dna", {"labelled": {"rows": 20}}, "must name either a file or classes"),
    "one class": ("dna", {"labelled": {"classes": {"rich": "rich.fa"}}}, "two or more"),
    "mae with labels": (
        "images",
        {"model": {"backbone": "transformer", "objective": "mae", "width": 16}},
        "labelled needs model.objective mlm",
    ),
}


def test_a_device_that_is_not_there_is_refused_before_anything_runs(folder, capsys):
    argv = ["compare", "--grid", str(grid_file(folder)), "--data-dir", str(folder), "--device", "cuda:99"]
    assert main([*argv, "--out", str(folder / "lab")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--device must be one that this machine has, got cuda:99" in line
    assert not (folder / "lab").exists()


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_cells_that_cannot_be(name, folder, capsys):
    where, changes, message = IMPOSSIBLE[name]
    both = {key: setting(folder, key) for key in ("images", "dna")} | {where: setting(folder, where, **changes)}
    argv = ["compare", "--grid", str(grid_file(folder, settings=both)), "--data-dir", str(folder)]
    assert main([*argv, "--out", str(folder / "lab")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (folder / "lab").exists()


def test_a_dry_run_counts_and_times(folder, capsys):
    argv = ["compare", "--grid", str(grid_file(folder)), "--data-dir", str(folder), "--device", "cpu", "--dry-run"]
    assert main([*argv, "--out", str(folder / "lab")]) == 0
    dna, images, total = capsys.readouterr().out.splitlines()
    assert images.startswith("images: 8 runs, 1,536 tokens, ")  # 4 of 8 steps and 4 of 4, of 8 samples of 4 patches
    assert dna.startswith("dna: 8 runs, 12,288 tokens, ")
    assert total.startswith("in all: 16 runs, 13,824 tokens, ")
    assert not (folder / "lab").exists()


@pytest.mark.parametrize(
    ("clocks", "seconds"),
    [
        ([(0, 0), (50, 50), (52, 52)], 2),  # the first step fills caches: it is no step like the others
        ([(0, 0), (9, 9), (109, 13)], 4),  # 100 seconds, in which other programs held the cores
    ],
)
def test_a_step_is_timed_without_what_disturbs_it(clocks, seconds, folder, monkeypatch):
    monkeypatch.setattr(cost, "_clocks", iter(clocks).__next__)
    config = load_grid(str(grid_file(folder)), folder, device="cpu").settings[0].config
    assert cost.time_step(replace(config, steps=12)) == seconds


def test_workers_beyond_the_cores_are_no_gain(folder, monkeypatch):
    monkeypatch.setattr(cost, "time_step", lambda config: 900.0)
    monkeypatch.setattr(cost.torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(cost.torch, "set_num_threads", lambda number: None)
    grid = load_grid(str(grid_file(folder)), folder, device="cpu")
    *_, total = cost.describe_cost(grid, folder / "lab", CompareOptions(num_workers=8))
    assert ", 12 hours of training by 8 workers" in total  # 96 steps of a quarter of an hour, two at a time


def test_a_folder_in_use_is_refused(folder):
    out = folder / "lab"
    out.mkdir()
    handle = os.open(out, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(RunError, match="lab: in use by another process; wait for its end"):
        run_grid(load_grid(str(grid_file(folder)), folder, device="cpu"), out, CompareOptions())
    os.close(handle)
    assert not list(out.iterdir())


def test_one_law_alone(folder, capsys):
    argv = [
        "compare",
        str(folder / "genome.fa"),
        "--laws",
        "fixed:0.5",
        "--seeds",
        "1",
        "--steps",
        "2",
        "--device",
        "cpu",
    ]
    argv += ["--data.window-bp", "32", "--batch-size", "4", "--validation-windows", "4", "--out", str(folder / "lab")]
    assert main([*argv, "--model.width", "16", "--model.depth", "1", "--model.mlp-width", "16"]) == 0
    report = capsys.readouterr().out
    assert report.count("| `fixed:0.5` |") == 2  # losses and cost
    assert "## Regret" not in report


def test_packaged_grids_name_laws_and_settings():
    for path in packaged_grids().values():
        content = yaml.safe_load(path.read_text())
        assert {"title", "laws", "settings"} <= content.keys()
