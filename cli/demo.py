"""``dnar2mae demo``."""

from dataclasses import dataclass
from pathlib import Path

from dnar2mae.cli.parse import parse


@dataclass(frozen=True, kw_only=True)
class DemoCommand:
    """Simulate a genome, pretrain a small model on it, and compare it with the untrained model and Markov models.

    Example: dnar2mae demo --out demo

    Takes minutes on a CPU and downloads nothing.
    """

    out: Path = Path("demo")
    """Folder for the genome, its annotation and the run."""
    steps: int = 450
    """Optimizer steps."""
    seed: int = 0
    """Seed of the genome and the run."""
    overwrite: bool = False
    """Replace an earlier demo."""


def run(argv: list[str]) -> int:
    """Parse, simulate, pretrain, print the summary."""
    command = parse(DemoCommand, argv, prog="dnar2mae demo")
    from dnar2mae.cli import pretrain, simulate

    genome, run_folder = command.out / "genome", command.out / "run"
    overwrite = ["--overwrite"] if command.overwrite else []
    command.out.mkdir(parents=True, exist_ok=True)
    seed = ["--seed", str(command.seed)]
    # More genes and fewer repeats than the default, so that minutes of training show that it learns.
    size = ["--length-bp", "1000000", "--genes-per-mb", "150", "--repeat-share", "0.05"]
    code = simulate.run(["--out", str(genome), *size, *seed, *overwrite])
    steps = ["--steps", str(command.steps), "--validate-every", str(max(command.steps // 5, 1))]
    return code or pretrain.run([f"{genome}.fa", "--out", str(run_folder), *steps, *seed, *overwrite])
