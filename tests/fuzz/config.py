"""Configuration files: a configuration that saves and reads back as itself, or an error."""

from pathlib import Path

import yaml

from dnar2mae.config import PretrainConfig
from dnar2mae.config_file import flatten, read_config, to_dict, write_config

from .common import Refused, reading

SEEDS = [
    yaml.safe_dump(to_dict(PretrainConfig()), sort_keys=False).encode(),
    b"mask: {high: 0.9}\nsteps: 7\ndata:\n  genomes: [a.fa, b.fa]\n  weights: [1, 2.5]\n",
    b"a: &x [*x]\n",
    b"model: !!python/object/apply:os.system [true]\n",
    b"steps: .inf\nseed: 1e3\nmask: ~\n",
]


def check(data: bytes, folder: Path) -> None:
    path, again = folder / "input.yaml", folder / "again.yaml"
    path.write_bytes(data)
    try:
        with reading():
            config = read_config(path)
    except Refused:
        return
    for name, value in flatten(PretrainConfig()).items():
        if value is not None:
            assert type(flatten(config)[name]) is type(value), f"{name} is {flatten(config)[name]!r}"
    write_config(config, again)
    assert read_config(again) == config
