"""What comes from elsewhere is data: it is never run, and it never says where to write."""

import ast
import json
import pickle
from pathlib import Path

import pytest
import torch
import yaml

import dnar2mae
from dnar2mae import DataConfig, ModelConfig, PretrainConfig, pretrain
from dnar2mae.config_file import read_config
from dnar2mae.errors import ConfigError
from dnar2mae.hub import Model, export

ROOT = Path(dnar2mae.__file__).parents[1]
SOURCES = [file for folder in ("dnar2mae", "cli", "kernels", "benchmarks") for file in (ROOT / folder).rglob("*.py")]
LOADERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def faults(tree):
    """Places of a source that load pickles, run text, or trust YAML."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module or "").partition(".")[0]]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("eval", "exec", "torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load"):
                yield node.lineno, called
            if any(k.arg == "allow_pickle" and ast.unparse(k.value) != "False" for k in node.keywords):
                yield node.lineno, "allow_pickle"
        for name in names:
            if name in LOADERS:
                yield node.lineno, name


def test_no_source_loads_a_pickle():
    assert len(SOURCES) > 100
    found = [(file, fault) for file in SOURCES for fault in faults(ast.parse(file.read_text()))]
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(f)",
        "np.load(f, allow_pickle=True)",
        "yaml.load(f)",
        "eval(s)",
    ],
)
def test_the_search_finds_them(text):
    assert list(faults(ast.parse(text)))


def test_a_run_its_resumption_and_export_load_no_pickle(fasta, tmp_path, monkeypatch):
    config = PretrainConfig(
        data=DataConfig(genomes=(str(fasta),), window_bp=64),
        model=ModelConfig(width=16, depth=1, heads=2, mlp_width=16),
        steps=4,
        batch_size=4,
        checkpoint_every=2,
        validation_windows=8,
        device="cpu",
    )

    def refuse(*_, **__):
        raise AssertionError("a pickle was loaded")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    pretrain(config, tmp_path / "run")
    pretrain(config, tmp_path / "run", resume=True)
    Model.from_pretrained(tmp_path / "run")
    export(tmp_path / "run", tmp_path / "model")
    Model.from_pretrained(tmp_path / "model")


def test_a_configuration_runs_nothing(tmp_path):
    canary = tmp_path / "canary"
    (tmp_path / "c.yaml").write_text(f"model: !!python/object/apply:os.mkdir ['{canary}']\n")
    with pytest.raises(ConfigError, match="not YAML"):
        read_config(tmp_path / "c.yaml")
    assert not canary.exists()


def test_no_setting_names_a_place_to_write(fasta, tmp_path, monkeypatch):
    """Give every setting of text a path outside, and see that nothing appears there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.chdir(tmp_path)
    evil = str(outside / "x")
    plain = {"data": {"genomes": [str(fasta)], "window_bp": 64}, "steps": 1, "validation_windows": 8, "batch_size": 4}
    for section, name in (("data", "include"), ("data", "exclude"), (None, "init"), (None, "device")):
        content = json.loads(json.dumps(plain))
        (content.setdefault(section, {}) if section else content)[name] = evil
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
        with pytest.raises(dnar2mae.errors.Dnar2maeError):
            pretrain(read_config(tmp_path / "c.yaml"), tmp_path / "run")
    content = {**plain, "data": {**plain["data"], "validation": ["one", "../../../x"]}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(dnar2mae.errors.Dnar2maeError):
        pretrain(read_config(tmp_path / "c.yaml"), tmp_path / "run")
    assert not list(outside.iterdir())
