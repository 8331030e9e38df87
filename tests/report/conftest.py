from dataclasses import replace
from pathlib import Path

import pytest

from dnar2mae import DataConfig, pretrain
from dnar2mae.genome.simulate import SimulateConfig, simulate
from tests.modalities import kinds

SIMULATED = SimulateConfig(length_bp=40_000, chromosomes=1, genes_per_mb=150.0, repeat_share=0.1, gaps_per_mb=0)


def genes(folder):
    """A run on a simulated genome, of which half is held out; its annotation lies beside the run."""
    simulate(SIMULATED).write(folder / "genome.fa", folder / "genes.gff3")
    return kinds.tiny("dna", DataConfig(genomes=(str(folder / "genome.fa"),), window_bp=128, validation_share=0.5))


@pytest.fixture(scope="session")
def run_of(tmp_path_factory):
    """Return the directories of tiny trained runs by kind of data; of DNA that of :func:`genes`."""
    made: dict[str, Path] = {}

    def make(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp("runs")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("DNAR2MAE_CACHE", str(folder / "cache"))
                config = genes(folder) if kind == "dna" else kinds.KINDS[kind](folder)
                pretrain(replace(config, steps=6), folder / "run")
            made[kind] = folder / "run"
        return made[kind]

    return make
