"""Bits per base of models by mask law: the bound over all held-out bases, and exact values beside it.

    python -m dnar2mae.benchmarks.speed.density_laws ecoli.fna.gz yeast.fa.gz --seeds 0 1 2 --out runs/density

Trains a run of the preset ``tiny`` for each genome, law and seed, unless its folder has one that is finished; scores
held-out windows under the bound and a sample of them exactly, from left to right and in random orders, beside the
best one-sided Markov model on the same bases; prints, and appends a row to ``benchmarks/results/density_laws.csv``.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from dnar2mae.benchmarks.speed import rows
from dnar2mae.config import DataConfig, PretrainConfig
from dnar2mae.density.hidden import evaluation_plan
from dnar2mae.density.likelihood import likelihood
from dnar2mae.density.options import LikelihoodOptions
from dnar2mae.density.strands import BothStrands
from dnar2mae.density.windows import held_out_windows
from dnar2mae.inference import TrainedModel, load
from dnar2mae.mask_laws import parse_law
from dnar2mae.masking import fixed_masks
from dnar2mae.masking.draw import RATIO
from dnar2mae.presets import tiny
from dnar2mae.scoring.blocks import ratio_of_sums
from dnar2mae.training.pretrain import pretrain
from dnar2mae.training.validation import masked_sums

RESULTS = Path(__file__).parents[1] / "results" / "density_laws.csv"
_LAWS = (
    "uniform:0,1/stratified/bound",
    "beta:1.5,2.5,0,1/sample/batch",
    "uniform:0.15,0.85/sample/batch",
    "uniform:0.05,0.5/sample/batch",
    "fixed:0.15/batch/batch",
    "fixed:0.5/batch/batch",
)
_VALIDATION_WINDOWS = 32  # the run's own reports are not used


@dataclass(frozen=True, kw_only=True)
class LawSettings:
    """Train and score models by mask law."""

    genomes: tyro.conf.Positional[tuple[Path, ...]]
    """FASTA or GenBank files, each a genome of its own."""
    out: Path = Path("runs/density")
    """Folder of the runs: GENOME/LAW/SEED."""
    laws: tuple[str, ...] = _LAWS
    """LAW/PER/WEIGHTING, as ``--mask.law`` with its numbers, ``--mask.per`` and ``--mask.weighting``."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the runs."""
    steps: int = tiny().steps
    """Steps of a run."""
    clip: float = tiny().optimizer.clip
    """--optimizer.clip; 0 turns it off."""
    both_strands: bool = False
    """Score each base by the mean of the probabilities on both strands."""
    pairs: int = 1
    """Antithetic pairs of masks of each held-out window."""
    num_windows: int = 0
    """Held-out windows of the bound, evenly spaced; 0 for all."""
    exact_windows: int = 16
    """Windows of the exact values, evenly spaced."""


def trained_run(settings: LawSettings, genome: Path, law: str, seed: int) -> Path:
    """Return the folder of a finished run, trained now if need be."""
    head, per, weighting = law.split("/")
    folder = settings.out / genome.name.split(".")[0] / law.translate(str.maketrans(":,/", "-_+")) / f"seed-{seed}"
    if not (folder / "summary.json").is_file():
        drawn: dict[str, Any] = {"per": per, "weighting": weighting}
        # the law first: weighting for the bound refuses one without a density
        mask = replace(tiny().mask.with_law(parse_law(head)), **drawn)
        config: PretrainConfig[DataConfig] = replace(
            tiny(),
            data=DataConfig(genomes=(str(genome),)),
            mask=mask,
            optimizer=replace(tiny().optimizer, clip=settings.clip),
            steps=settings.steps,
            seed=seed,
            validate_every=settings.steps,
            validation_windows=_VALIDATION_WINDOWS,
        )
        if not pretrain(config, folder, resume=(folder / "checkpoints").is_dir()).finished:
            raise KeyboardInterrupt  # stopped by a signal: no more runs, and no row of this one
    return folder


def scored(settings: LawSettings, folder: Path) -> dict[str, Any]:
    """Return the bits per base of a run, all with their standard errors."""
    trained = load(folder)
    common = LikelihoodOptions(order="none", bound=settings.pairs, both_strands=settings.both_strands)
    whole = likelihood(trained, replace(common, num_windows=settings.num_windows), progress=True)
    totals = {"held_out": _held_out(trained, settings), "bound": whole.totals["bound"]}
    totals["markov"] = whole.totals["markov"]
    orders: tuple[Literal["left-to-right", "random"], ...] = ("left-to-right", "random")
    for order in orders:
        options = replace(common, order=order, num_windows=settings.exact_windows)
        some = likelihood(trained, options, progress=True)
        totals[order] = some.totals["exact"]
    totals["bound of these windows"], totals["markov of these windows"] = some.totals["bound"], some.totals["markov"]
    numbers = {name: round(value["value"], 4) for name, value in totals.items()}
    numbers |= {"windows": whole.totals["windows"], "exact_windows": some.totals["windows"]}
    return numbers | {f"{name}, error": round(value["standard_error"], 4) for name, value in totals.items()}


def _held_out(trained: TrainedModel, settings: LawSettings) -> dict[str, float]:
    """Return the loss at the mask ratio of reports, over the same held-out windows as the bound."""
    windows, unit_size = held_out_windows(trained, settings.num_windows), trained.modality.unit_size
    plan = fixed_masks(evaluation_plan(trained.modality.vocabulary), RATIO)
    model = BothStrands(trained.model) if settings.both_strands else trained.model
    loss, units, *_ = masked_sums(model, windows.source, plan, windows.sample_ids)
    return ratio_of_sums(loss / unit_size, units)._asdict()


def main(settings: LawSettings) -> int:
    """Train, score, print, record."""
    stamp = rows.stamp()
    for seed in settings.seeds:
        for genome in settings.genomes:
            for law in settings.laws:
                folder = trained_run(settings, genome, law, seed)
                about = {
                    "genome": genome.name,
                    "law": law,
                    "seed": seed,
                    "steps": settings.steps,
                    "clip": settings.clip,
                    "strands": "both" if settings.both_strands else "one",
                }
                row = about | scored(settings, folder)
                rows.append(RESULTS, row | {name: stamp[name] for name in ("commit", "device", "date")})
                print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(LawSettings)))
