"""What comes from elsewhere is data: it is never run, and it never says where to write."""

import ast
import pickle
import re
from contextlib import suppress
from dataclasses import replace
from functools import reduce
from itertools import product
from pathlib import Path

import pytest
import torch
import yaml

import dnar2mae
from dnar2mae import DataConfig, ModelConfig, PretrainConfig, pretrain
from dnar2mae.errors import ConfigError, Dnar2maeError
from dnar2mae.hub import export
from dnar2mae.inference import Model
from dnar2mae.run.config_file import flatten, read_config, to_dict
from tests.modalities.kinds import KINDS

ROOT = Path(dnar2mae.__file__).parents[1]
SOURCES = [file for folder in ("dnar2mae", "cli", "kernels", "benchmarks") for file in (ROOT / folder).rglob("*.py")]
MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
NAMES = re.compile(r"eval|exec|__import__|torch\.(serialization\.)?load|yaml\.(?!safe_)\w*load\w*|(\w+\.)*read_pickle")


def faults(tree):
    """Places of a source that load pickles, run text, or trust YAML."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    own = {alias.asname: alias.name for node in imports for alias in node.names if alias.asname}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Name | ast.Attribute):
            first, *rest = ast.unparse(node).split(".")
            names = [".".join([own.get(first, first), *rest])]
        elif isinstance(node, ast.Call):
            given = [keyword.value for keyword in node.keywords if keyword.arg == "allow_pickle"]
            given += node.args[2:3] if ast.unparse(node.func) in ("np.load", "numpy.load") else []
            if any(ast.unparse(value) != "False" for value in given):
                yield node.lineno, "allow_pickle"
        for name in names:
            is_import = isinstance(node, ast.Import | ast.ImportFrom)
            if NAMES.fullmatch(name) or is_import and name.partition(".")[0] in MODULES:
                yield node.lineno, name


def test_no_source_loads_a_pickle():
    assert len(SOURCES) > 100
    found = [(file, fault) for file in SOURCES for fault in faults(ast.parse(file.read_text()))]
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "import os, _pickle",
        "from joblib import load",
        "import dill as p",
        "import shelve",
        "from marshal import loads",
        "torch.load(f)",
        "import torch as t\nt.load(f)",
        "read = torch.load",
        "from torch import load",
        "torch.serialization.load(f)",
        "from torch.serialization import load as read",
        "pd.read_pickle(f)",
        "from pandas import read_pickle",
        "np.load(f, allow_pickle=True)",
        "numpy.load(f, None, True)",
        "yaml.load(f)",
        "yaml.load(f, Loader=yaml.Loader)",
        "yaml.load_all(f, Loader=yaml.Loader)",
        "yaml.full_load(f)",
        "from yaml import unsafe_load",
        "eval(s)",
        "__import__(s)",
    ],
)
def test_the_search_finds_them(text):
    assert list(faults(ast.parse(text)))


@pytest.mark.parametrize("text", ["model.eval()", "np.load(f, None, False)", "yaml.safe_load(f)", "json.load(f)"])
def test_the_search_finds_nothing_else(text):
    assert not list(faults(ast.parse(text)))


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

    loaded = []

    def refuse(*arguments, **__):
        loaded.append(arguments)
        raise AssertionError("a pickle was loaded")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    pretrain(config, tmp_path / "run")
    pretrain(config, tmp_path / "run", resume=True)
    Model.from_pretrained(tmp_path / "run")
    export(tmp_path / "run", tmp_path / "model")
    Model.from_pretrained(tmp_path / "model")
    assert not loaded, "whatever became of the error"


def test_a_configuration_runs_nothing(tmp_path):
    canary = tmp_path / "canary"
    (tmp_path / "c.yaml").write_text(f"model: !!python/object/apply:os.mkdir ['{canary}']\n")
    with pytest.raises(ConfigError, match="not YAML"):
        read_config(tmp_path / "c.yaml")
    assert not canary.exists()


def entries(folder):
    return {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_only_reads_what_its_settings_name(kind, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    config = replace(KINDS[kind](outside), steps=2)
    pretrain(config, tmp_path / "earlier")
    before = entries(outside) | entries(tmp_path / "earlier")
    pretrain(replace(config, init=str(tmp_path / "earlier")), tmp_path / "run")
    pretrain(replace(config, init=str(tmp_path / "earlier")), tmp_path / "run", resume=True)
    assert entries(outside) | entries(tmp_path / "earlier") == before
    assert {path.name for path in tmp_path.iterdir()} <= {"outside", "earlier", "run", "cache"}


@pytest.mark.parametrize("kind", KINDS)
def test_no_setting_names_a_place_to_write(kind, tmp_path, monkeypatch):
    """Return every setting that may be a text a path outside, and see that nothing appears there."""
    inputs, here, outside = (tmp_path / name for name in ("inputs", "a", "outside"))
    for folder in (inputs, here, outside):
        folder.mkdir()
    monkeypatch.chdir(here)
    config = replace(KINDS[kind](inputs), steps=1)
    settings = [name for name, value in flatten(config).items() if value is None or isinstance(value, str | tuple)]
    assert len(settings) > 10
    for name, evil in product(settings, (str(outside / "x"), "../outside/x")):
        content = to_dict(config)
        *sections, last = name.split(".")
        place = reduce(dict.__getitem__, sections, content)
        place[last] = [evil] if isinstance(place[last], list | tuple) else evil
        (here / "c.yaml").write_text(yaml.safe_dump(content))
        with suppress(Dnar2maeError):
            pretrain(read_config(here / "c.yaml"), here / "run", overwrite=True)
        assert not list(outside.iterdir()), name
    assert {path.name for path in tmp_path.iterdir()} <= {"inputs", "a", "outside", "cache"}
