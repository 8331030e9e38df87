import pandas as pd
import pytest
import yaml

from dnar2mae.benchmarks.reporting.summary import published
from dnar2mae.benchmarks.running.protocol import load_protocol, packaged_protocols
from dnar2mae.benchmarks.tasks.suite import load_suite, packaged_suites
from dnar2mae.errors import ConfigError

GUE_MAX_TOKENS = {"EMP/H3": 128, "prom/prom_core_all": 20, "prom/prom_300_tata": 70, "splice/reconstructed": 80}
GUE_MAX_TOKENS |= {"virus/covid": 256, "mouse/3": 30, "tf/2": 30}
GUE_EPOCHS = {"EMP/H3": 3, "prom/prom_core_notata": 4, "prom/prom_core_tata": 10, "prom/prom_300_all": 4}
GUE_EPOCHS |= {"prom/prom_300_tata": 10, "splice/reconstructed": 5, "virus/covid": 8, "tf/4": 3}


def test_packaged_suites():
    counts = {name: len(load_suite(name).tasks) for name in packaged_suites()}
    assert counts == {"genomic_benchmarks": 9, "gue": 28, "nucleotide_transformer": 18}
    gue = load_suite("gue")
    assert len({task.group for task in gue.tasks}) == 7
    assert {task.metric for task in gue.tasks} == {"mcc", "macro_f1"}
    for name in packaged_suites():
        for task in load_suite(name).tasks:
            assert len(task.classes) == len(set(task.label_map().values()))
            assert task.sizes["train"] > task.sizes["test"] > 0


@pytest.mark.parametrize("name", ["gue", "genomic_benchmarks", "nucleotide_transformer"])
def test_published_numbers_belong_to_tasks_and_name_their_source(name):
    table, suite = published(name), load_suite(name)
    metrics = {task.name: task.metric for task in suite.tasks}
    assert set(table["task"]) <= set(metrics)
    assert all(table["metric"] == table["task"].map(metrics))
    assert table["value"].between(0, 1).all()
    assert table[["protocol", "source"]].notna().all().all()
    assert not table.duplicated(["task", "model", "protocol"]).any()


def test_transcribed_gue_table_has_the_published_means():
    means = published("gue").groupby("model")["value"].agg(["mean", "size"])
    assert set(means["size"]) == {28}
    for model, mean in {"NT-2500M multi": 66.93, "DNABERT-2": 66.80}.items():
        assert 100 * means.loc[model, "mean"] == pytest.approx(mean, abs=0.011)


def test_protocol_has_the_published_settings():
    protocol = load_protocol("gue/dnabert2-v1")
    assert (protocol.seeds, protocol.select) == ((42,), "loss")
    for task, tokens in GUE_MAX_TOKENS.items():
        assert protocol.settings("finetune", task).max_tokens == tokens
    for task, epochs in GUE_EPOCHS.items():
        assert protocol.settings("finetune", task).epochs == epochs
    for task in load_suite("gue").tasks:
        full, lora = (protocol.settings(method, task.name) for method in ("finetune", "lora"))
        assert (full.lr, full.weight_decay, full.schedule) == ((3e-5,), 0.01, "linear")
        assert (lora.lr, lora.lora_rank, lora.lora_dropout) == ((1e-4,), 8, 0.05)
        assert lora.lora_alpha == (32 if task.name == "virus/covid" else 16)
        assert lora.lora_targets == ("query", "value", "key", "dense")
        assert full.batch_size == (128 if task.name == "virus/covid" else 32)
    assert protocol.settings("finetune", "mouse/0").max_steps == 1000
    warmups = {task: protocol.settings("finetune", task).warmup_steps for task in ("EMP/H3", "tf/0", "mouse/0")}
    assert warmups == {"EMP/H3": 50, "tf/0": 30, "mouse/0": 30}
    steps = {task: protocol.settings("finetune", task).evaluate_every for task in ("prom/prom_core_all", "tf/0")}
    assert steps == {"prom/prom_core_all": 400, "tf/0": 200}


def test_own_protocols():
    assert set(packaged_protocols()) == {"dnar2mae-v2", "dnar2mae-v4", "gue/dnabert2-v1"}
    second, fourth = (load_protocol(f"dnar2mae-v{version}") for version in (2, 4))
    assert (min(second.probe.c), max(second.probe.c)) == (1e-4, 1e5)
    assert set(second.probe.features) == {"last", "middle", "all", "bins", "bins8"}
    assert len(second.seeds) == 3
    assert not second.tasks
    assert "combined" in second.baselines
    # the fourth version differs in the choice of the probe alone
    assert (second.probe.select, fourth.probe.select, fourth.select) == (None, "loss", "mcc")
    assert fourth.probe.features == ("all", "units", "bins", "bins8", "early_bins", "early_bins8", "centre")
    assert (second.probe.ensemble, fourth.probe.ensemble) == (0, 8)
    unlike = {name for name in second.__dataclass_fields__ if getattr(second, name) != getattr(fourth, name)}
    assert unlike == {"name", "notes", "probe"}


@pytest.mark.parametrize("method", ["cnn-head", "cnn_head"])
def test_settings_of_a_task_are_found_by_either_spelling(tmp_path, method):
    path = tmp_path / "p.yaml"
    path.write_text(f"name: x\nsource: y\ntasks: {{'a*': {{{method}: {{epochs: 3}}}}}}\n")
    protocol = load_protocol(str(path))
    assert [protocol.settings("cnn-head", task).epochs for task in ("ab", "b")] == [3, 10]


def test_select_tasks():
    suite = load_suite("gue")
    assert [t.name for t in suite.select(("prom_core_tata", "tf/0")).tasks] == ["prom/prom_core_tata", "tf/0"]
    with pytest.raises(ConfigError, match="'0' is 2 tasks of suite gue; it has tf/0, mouse/0"):
        suite.select(("0",))
    with pytest.raises(ConfigError, match="'tf/9' is 0 tasks"):
        suite.select(("tf/9",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: [", "not YAML"),
        ("- 1", "a suite is a mapping with name and tasks"),
        ("name: x", "a suite is a mapping with name and tasks"),
        (yaml.safe_dump({"name": "x", "tasks": {"a": {"metric": "mse"}}}), "metric must be one of mcc"),
        (yaml.safe_dump({"name": "x", "tasks": {"a": {"labels": {"yes": 2}}}}), "class ids must be in 0..1"),
        (yaml.safe_dump({"name": "x", "tasks": {"a": {"classes": ["one"]}}}), "at least two classes"),
        (yaml.safe_dump({"name": "x", "tasks": {"a": {"colour": "red"}}}), "colour"),
    ],
)
def test_faults_in_a_custom_suite(tmp_path, content, message):
    (tmp_path / "suite.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_suite(str(tmp_path))


def test_unknown_suite_and_protocol(tmp_path):
    with pytest.raises(ConfigError, match="no suite 'gu'.*gue"):
        load_suite("gu")
    with pytest.raises(ConfigError, match="no protocol 'x'.*dnar2mae-v4"):
        load_protocol("x")
    for content, message in [
        ("name: x\nsource: y\nspeed: 3\n", "speed"),
        ("- 1\n", "expected a mapping of settings[^@]*$"),
        ("name: x\nsource: y\nprobe: {c: []}\nseeds: []\n", "probe.c, seeds: give at least one"),
        ("name: [", "not YAML"),
        ("name: x\nsource: y\nbaselines: [lstm]\n", "baselines must be some of random, raw.*got lstm"),
        ("name: x\nsource: y\ntasks: {'a*': {finetune: {lrr: 1}}}\n", "a\\*.*finetune.*lrr"),
    ]:
        (tmp_path / "p.yaml").write_text(content)
        with pytest.raises(ConfigError, match=message):
            load_protocol(str(tmp_path / "p.yaml"))


def test_tables_of_published_numbers_are_plain_csv():
    assert pd.api.types.is_float_dtype(published("genomic_benchmarks")["value"])
    assert published("no such suite").empty
