from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dnar2mae import TokenizerConfig, pretrain
from dnar2mae.inference import load
from tests.modalities import kinds


@pytest.fixture(scope="session")
def run_of(tmp_path_factory):
    """Folders of tiny trained runs by kind of data; ``dna 3-mers`` too."""
    made = {}

    def make(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp("run")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("DNAR2MAE_CACHE", str(folder / "cache"))
                config = kinds.KINDS[kind.removesuffix(" 3-mers")](folder)
                if kind.endswith("3-mers"):
                    config = replace(config, tokenizer=TokenizerConfig(k=3))
                made[kind] = folder / "run", pretrain(replace(config, steps=6), folder / "run")
        return made[kind]

    return make


@pytest.fixture
def trained(run_of):
    return load(run_of("dna")[0], device="cpu")


@pytest.fixture
def genome(run_of, trained, tmp_path):
    """The genome of the run with a few N, as a new file."""
    text = Path(trained.config.data.genomes[0]).read_text()
    name, bases, *rest = text.split("\n")
    bases = bases[:500] + "N" * 7 + bases[507:700] + "N" * 130 + bases[830:]
    path = tmp_path / "gaps.fa"
    path.write_text("\n".join([name, bases[:2000].lower() + bases[2000:], *rest]))
    return path


def letters(path):
    """Sequences of a FASTA file by name."""
    found = {}
    for line in path.read_text().splitlines():
        if line.startswith(">"):
            name = line[1:].split()[0]
            found[name] = ""
        else:
            found[name] += line
    return found


def codes_of(text):
    return np.array(["ACGTN".index(letter) for letter in text.upper()], np.uint8)
