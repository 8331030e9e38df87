"""``dnar2mae demo``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from dnar2mae.cli.parse import parse

# a compact genome, with more genes and fewer repeats than the default: where genes are few, little can be learned
_GENES = ["--length-bp", "1000000", "--max-introns", "0", "--genes-per-mb", "400", "--repeat-share", "0.05"]
_STEPS, _DENSE_STEPS = 700, 1000


@dataclass(frozen=True, kw_only=True)
class DemoCommand:
    """Simulate a genome, pretrain a small model on it, compare it with counts, and show all of it on one HTML page.

    Example: dnar2mae demo --out demo

    Example: dnar2mae demo --dense --out demo-dense

    --dense tells broken binding sites from the same changes outside: by the matrices that the sites were drawn from
    (the most that can be learned), by counts of short words (the least that a model is for) and by the model.

    Takes minutes on a CPU and downloads nothing. The last line names the page, report.html in --out.
    """

    out: Path = Path("demo")
    """Folder for the genome, its annotation, the run and the page about it."""
    dense: Annotated[bool, arg(name="dense")] = False
    """A genome of binding sites alone (dnar2mae simulate --dense), and scores of variants in its held-out part."""
    steps: int | None = None
    """Optimizer steps; by default 700, with --dense 1000."""
    seed: int = 0
    """Seed of the genome, the run and the pairs of variants."""
    overwrite: bool = False
    """Replace an earlier demo."""


def run(argv: list[str]) -> int:
    """Parse, simulate, pretrain, print the summary; with --dense, also the scores of variants; write the page."""
    command = parse(DemoCommand, argv, prog="dnar2mae demo")
    from dnar2mae.cli import pretrain, report, score_variants, simulate

    genome, run_folder = command.out / "genome", command.out / "run"
    overwrite = ["--overwrite"] if command.overwrite else []
    command.out.mkdir(parents=True, exist_ok=True)
    seed = ["--seed", str(command.seed)]
    code = simulate.run(["--out", str(genome), *(["--dense"] if command.dense else _GENES), *seed, *overwrite])
    by_default = _DENSE_STEPS if command.dense else _STEPS
    num_steps = by_default if command.steps is None else command.steps
    steps = ["--steps", str(num_steps), "--validate-every", str(max(num_steps // 4, 1))]
    steps += ["--optimizer.warmup-steps", str(num_steps // 10)]
    code = code or pretrain.run([f"{genome}.fa", "--out", str(run_folder), *steps, *seed, *overwrite])
    matrices = ["--matrices", f"{genome}.meme"] if command.dense else []
    if command.dense and not code:
        sites = ["--genome", f"{genome}.fa", "--controls", f"{genome}.gff3", *matrices, "--pairs", "500", *seed]
        code = score_variants.run([str(run_folder), *sites, "--out", f"{command.out / 'sites.csv'}"])
    page = ["--genes", f"{genome}.gff3", *matrices, *seed, "--out", str(command.out / "report.html"), *overwrite]
    return code or report.run([str(run_folder), *page])
