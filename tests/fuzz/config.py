"""Configuration files: what the file says, with the type that its setting has, or an error; and it reads back."""

import math
from pathlib import Path

import yaml

from dnar2mae.config import PretrainConfig
from dnar2mae.run.config_file import read_config, to_dict, write_config

from .common import Refused, reading

SEEDS = [
    yaml.safe_dump(to_dict(PretrainConfig()), sort_keys=False).encode(),
    b"mask: {high: 0.9}\nsteps: 7\ndata:\n  genomes: [a.fa, b.fa]\n  weights: [1, 2.5]\n",
    b"a: &x [*x]\n",
    b"model: !!python/object/apply:os.system [true]\n",
    b"steps: .inf\nseed: 1e3\nmask: ~\n",
    b"data: {validation: '21'}\n",
    b"data: {reverse_complement: 'no'}\n",
    b"data: {genomes: genome.fa}\n",
    b"batch_size: 8.9\n",
    b"micro_batch: true\n",
    b"optimizer: {lr: 1e-3}\n",
    b"optimizer: {lr: true}\n",
    b"device: 0\n",
    b"seed: 2020-13-45\n",
    b"seed: 0x" + b"f" * 5000 + b"\n",
    b"seed: " + b"9" * 5000 + b"\n",
    b"a: !!float 'x'\n",
    b"a: !!int ''\n",
    b"[" * 3000,
]


def check(data: bytes, folder: Path) -> None:
    path, again = folder / "input.yaml", folder / "again.yaml"
    path.write_bytes(data)
    try:
        with reading(path):
            config = read_config(path)
    except Refused:
        return
    agree("", to_dict(config), yaml.safe_load(data) or {}, to_dict(PretrainConfig()))
    write_config(config, again)
    assert read_config(again, whole=True) == config


def agree(name: str, value: object, given: object, default: object) -> None:
    """See that a setting is what the file gives, or by default what it is without one, and of the same type."""
    where = f"{name} is {value!r}, not {given!r}"
    if isinstance(value, dict):
        assert isinstance(given, dict), where
        assert isinstance(default, dict)
        assert not given.keys() - value.keys(), where
        for key, inner in value.items():
            agree(f"{name}.{key}", inner, given.get(key, default.get(key)), default.get(key))
    elif isinstance(value, list | tuple):
        assert isinstance(given, list | tuple), where
        for inner, own in zip(value, given, strict=True):
            agree(name, inner, own, None)
    elif isinstance(value, float):
        assert type(given) in (int, float, str), where
        assert float(given) == value or math.isnan(value), where  # type: ignore[arg-type]
    else:
        assert type(given) is type(value), where
        assert given == value, where
