"""Which recipe learns most in the same time: held-out loss against seconds, tokens and FLOPs, side by side.

    python -m dnar2mae.benchmarks.speed.time_to_loss --genomes ecoli.fna.gz --recipes transformer cnn --seconds 300

Recipes alternate on one machine: each with the first seed, then each with the second. The clock counts training alone
(loading, masking, both passes, optimizer) and stands still during validations. Every recipe is judged on the same
held-out windows under the same masks, by the softmax over the four bases. Prints what each run ends at and what it
takes to reach given losses, draws the losses, and appends a row a validation to ``time_to_loss.csv``.
"""

import gc
import math
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
import tyro

from dnar2mae.benchmarks.speed import rows
from dnar2mae.benchmarks.speed.comparison import end_table, plot_losses, target_table
from dnar2mae.benchmarks.speed.end_to_end import synchronise
from dnar2mae.benchmarks.speed.learners import HeldOut, Learner, flops_per_step
from dnar2mae.benchmarks.speed.readings import follow
from dnar2mae.benchmarks.speed.recipes import RECIPES, recipe_config
from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, require, require_ranges

RESULTS = Path(__file__).parents[1] / "results"
NAME = "time_to_loss"
_COUNTED_STEPS = 4  # whose FLOPs are counted; they warm up the timed ones besides
_TIMED_STEPS = 15  # whose median gives the number of steps in a budget of seconds


@dataclass(frozen=True, kw_only=True)
class TimeToLossSettings:
    """Compare recipes by what they learn in the same time."""

    genomes: tuple[Path, ...]
    """FASTA or GenBank files; each is a comparison of its own."""
    recipes: tuple[str, ...] = tuple(RECIPES)
    """Names from benchmarks/speed/recipes.py, in the order in which they alternate."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of weights, windows and masks."""
    seconds: tuple[float, ...] = (300.0,)
    """Training time of a run, one for all recipes or one for each; its steps, over which the schedule goes, are what a
    short trial does in it."""
    steps: int | None = None
    """Optimizer steps of every run, in place of seconds."""
    targets: tuple[float, ...] = (1.906, 1.88, 1.86, 1.85)
    """Held-out losses to reach, in bits per base at mask ratio 0.15; these suit E. coli."""
    against: str = "modernbert-tuned"
    """Recipe whose seconds are divided by those of the others, seed by seed."""
    windows: int = 512
    """Held-out windows, evenly spaced; as many as the summary of a tiny run is over."""
    validations: int = 16
    """Validations of a run, at evenly spaced logarithms of the step."""
    precision: tuple[Literal["auto", "fp32", "bf16"], ...] = ("auto",)
    """Of the matrix products, one for all recipes or one for each."""
    out: Path = RESULTS
    """Folder of time_to_loss.csv, to which rows are appended, and of time_to_loss.png."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        if not self.recipes or len(set(self.recipes)) < len(self.recipes):
            raise ConfigError(f"--recipes must be named once each, got {' '.join(self.recipes) or 'none'}")
        for name in self.recipes:
            if name not in RECIPES:
                raise ConfigError(f"--recipes must be of {', '.join(RECIPES)}, got {name}")
        for name in ("seconds", "precision"):
            if len(getattr(self, name)) not in (1, len(self.recipes)):
                raise ConfigError(f"--{name} must be one for all recipes or one for each of {len(self.recipes)}")
        for seconds in self.seconds:
            require(0 < seconds < math.inf, "seconds", "> 0 and finite", seconds)
        require_ranges(self, {"> 0": ["windows", "validations", "steps"]})

    def config(self, recipe: str, genome: Path, **settings: Any) -> PretrainConfig:
        """Return the configuration of one of the recipes on a genome, in its precision."""
        return recipe_config(recipe, genome, precision=self.of(recipe, self.precision), **settings)

    def of(self, recipe: str, values: tuple[Any, ...]) -> Any:
        """Return the value of a recipe, of one for all or one for each."""
        return values[0] if len(values) == 1 else values[self.recipes.index(recipe)]


def new_learner(config: PretrainConfig, recipe: str, folder: Path) -> Learner:
    """Build the learner of a recipe, after the memory of the one before is free."""
    gc.collect()  # reference cycles of a Trainer keep its model
    return RECIPES[recipe][0](config, folder)


def seconds_per_step(learner: Learner) -> float:
    """Return the median time of a learner's steps, loading included."""
    times: list[float] = []

    def after_step(_: int) -> None:
        synchronise()
        times.append(time.perf_counter())

    learner.train(after_step)
    return statistics.median(later - earlier for earlier, later in pairwise(times))


def plan(settings: TimeToLossSettings, recipe: str, genome: Path) -> tuple[int, float]:
    """Return how many steps the runs of a recipe do, and the FLOPs of a step, from short trials."""
    config = partial(settings.config, recipe, genome)
    with tempfile.TemporaryDirectory() as folder:
        # the counter sees no compiled graph
        counted = replace(config(steps=_COUNTED_STEPS), compile=False)
        flops = flops_per_step(new_learner(counted, recipe, Path(folder)))
        if settings.steps is not None:
            return settings.steps, flops
        seconds = seconds_per_step(new_learner(config(steps=_TIMED_STEPS), recipe, Path(folder)))
    return max(round(settings.of(recipe, settings.seconds) / seconds), 1), flops


def measure(config: PretrainConfig, recipe: str, held_out: HeldOut, number: int, flops: float) -> list[dict[str, Any]]:
    """Train once; return a row for each of ``number`` validations. ``flops`` are those of a step."""
    with tempfile.TemporaryDirectory() as folder:
        learner = new_learner(config, recipe, Path(folder))
        readings = follow(learner, held_out, number, flops)
    about = {"recipe": recipe, "seed": config.seed, "steps": config.steps, "parameters": learner.num_parameters()}
    about |= {"dtype": str(learner.autocast or torch.float32), "windows": len(held_out.sample_ids)}
    return [about | asdict(reading) for reading in readings]


def compare(settings: TimeToLossSettings, genome: Path) -> Iterator[list[dict[str, Any]]]:
    """Train all recipes on a genome, seed by seed; yield the rows of each run."""
    held_out = HeldOut.of_genome(genome, settings.windows)
    plans = {recipe: plan(settings, recipe, genome) for recipe in settings.recipes}
    for seed in settings.seeds:
        for recipe, (steps, flops) in plans.items():
            config = settings.config(recipe, genome, seed=seed, steps=steps)
            run = measure(config, recipe, held_out, settings.validations, flops)
            yield [{"genome": genome.name, **row} for row in run]


def main(settings: TimeToLossSettings) -> int:
    """Compare, print, draw, record."""
    warnings.filterwarnings("ignore")
    stamp = rows.stamp()
    done: list[dict[str, Any]] = []
    for genome in settings.genomes:
        for run in compare(settings, genome):
            for row in run:
                rows.append(settings.out / f"{NAME}.csv", row | stamp)
            done += run
            print(_line(run[-1]), flush=True)
    frame = pd.DataFrame(done)
    print(end_table(frame), target_table(frame, settings.targets, settings.against), sep="\n\n")
    plot_losses(frame, settings.targets, settings.out / f"{NAME}.png")
    return 0


def _line(end: dict[str, Any]) -> str:
    """Return a line about the end of a run."""
    losses = f"{end['held_out']:.4f} bits per base at 0.15, area {end['area']:.4f}"
    return (
        f"{end['genome']} {end['recipe']:18} seed {end['seed']}: {losses}, {end['steps']} steps, {end['seconds']:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main(tyro.cli(TimeToLossSettings)))
