"""``--compile`` reaches the encoder of every backbone, the decoder and the heads, and soon makes no more graphs."""

import pytest

from tests.kernels.cases import run_script

SCRIPT = """
import os, tempfile
from dataclasses import replace
from pathlib import Path

import torch

from dnar2mae.modalities.registry import build_modality
from dnar2mae.run.directory import RunDirectory
from dnar2mae.training.loader import batches
from dnar2mae.training.trainer import Trainer
from tests.modalities.kinds import dna, image

folder = Path(tempfile.mkdtemp())
os.environ["DNAR2MAE_CACHE"] = str(folder / "cache")
graphs = []

def count(graph, inputs):
    graphs.append(graph)
    return graph.forward

compile_with = torch.compile
torch.compile = lambda *arguments, **how: compile_with(*arguments, **how, backend=count)
kind, settings = KIND
config = kind(folder)
config = replace(config, model=replace(config.model, **settings), compile=True, steps=8)
losses = {}
for compile in (False, True):
    run = RunDirectory(folder / "run")
    trainer = Trainer(replace(config, compile=compile), build_modality(config), run, torch.device("cpu"), None)
    trainer.held_out(0.15, 16)
    numbers, losses[compile] = [], []
    for batch in batches(trainer.modality.train, config, 0):
        losses[compile].append(trainer.training_step(batch)["loss"].item())
        numbers.append(len(graphs))
torch.testing.assert_close(losses[True], losses[False], rtol=1e-4, atol=1e-4)
assert numbers[0] >= PARTS, numbers
assert numbers[-1] == numbers[2], numbers
assert torch._dynamo.utils.counters["frames"]["ok"] > 0
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("dna, {}", 4),  # encoder and head, with gradients and without
        ("dna, {'backbone': 'cnn'}", 4),
        ("dna, {'backbone': 'hybrid', 'global_every': 2}", 4),
        ("image, {'backbone': 'mlp'}", 4),
        ("dna, {'objective': 'mae'}", 6),  # the decoder too
        ("image, {'objective': 'mae'}", 6),
    ],
)
def test_every_part_is_compiled_and_no_step_after_the_third_makes_a_graph(kind, parts):
    run_script(SCRIPT.replace("KIND", f"({kind})").replace("PARTS", str(parts)))
