"""Values and cost of the count models that stand beside a DNA run.

    python -m dnar2mae.benchmarks.speed.bench_yardsticks ecoli.fna.gz yeast.fa.gz --windows 512 all

Fits the one-sided and two-sided counts of each genome as a run of the preset ``tiny`` does, scores them at its held-out
masks and prints the bits per base; appends rows to ``benchmarks/results/yardsticks.csv``, one for each model. Each
genome has a process of its own, whose peak memory is that of its rows. One thread.
"""

import multiprocessing
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from jaxtyping import Float64, Int64

from dnar2mae.batch import evenly_spaced
from dnar2mae.benchmarks.speed import rows
from dnar2mae.benchmarks.speed.bench_genome import peak_rss_mb
from dnar2mae.config import DataConfig, PretrainConfig
from dnar2mae.genome.intervals import size
from dnar2mae.masking import Masker, fixed_masks
from dnar2mae.masking.draw import corrupt
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.modalities.registry import build_modality
from dnar2mae.scoring.blocks import ratio_of_sums
from dnar2mae.training.validation import CURVE

RESULTS = Path(__file__).parents[1] / "results" / "yardsticks.csv"
_EVERY = 1.0
"""A ratio at which every base is predicted: one-sided models read the true bases before each all the same."""


@dataclass(frozen=True, kw_only=True)
class YardstickSettings:
    """Score the count models of genomes."""

    genomes: tyro.conf.Positional[tuple[Path, ...]]
    """FASTA or GenBank files, each a genome of its own."""
    windows: tuple[int | Literal["all"], ...] = (512,)
    """Held-out windows, evenly spaced: a run's report has 512."""


def measured(genome: Path, windows: int | Literal["all"]) -> list[dict[str, Any]]:
    """Return the rows of a genome's models; to be called in a fresh process."""
    torch.set_num_threads(1)
    config = PretrainConfig(data=DataConfig(genomes=(str(genome),)))
    modality = build_modality(config)
    assert isinstance(modality, DnaModality)
    held_out = len(modality.validation)
    ids = evenly_spaced(held_out, held_out if windows == "all" else windows)
    plan = Masker(config.mask, modality.vocabulary, config.seed, config.steps).plan(0)
    plans = [fixed_masks(plan, ratio) for ratio in (*CURVE, _EVERY)]
    masked = np.stack(list(_masked(modality, plans, ids)))
    start = time.process_time()
    families = modality.masked_yardsticks(plans, ids)
    cost = {"cpu_seconds": round(time.process_time() - start, 1), "peak_gb": round(peak_rss_mb() / 1024, 2)}
    about = {"genome": genome.name, "windows": len(ids), "held_out": held_out}
    about["training_bp"] = sum(size(intervals) for intervals in modality.train.windows.coverage())
    return [
        about | {"family": family, "model": name.split(",")[0]} | _bits(sums, masked) | cost
        for family, models in families.items()
        for name, sums in models.items()
    ]


def _masked(modality: DnaModality, plans: list[Any], ids: Int64[np.ndarray, " S"]) -> Iterator[Int64[np.ndarray, " S"]]:
    """Return the number of predicted bases of each window, plan by plan."""
    batches = [modality.validation.batch(part) for part in np.array_split(ids, max(len(ids) // 256, 1))]
    for plan in plans:
        parts = [corrupt(plan, batch.tokens, batch.maskable, batch.sample_ids)[1].sum(1) for batch in batches]
        yield torch.cat(parts).numpy()


def _bits(sums: Float64[np.ndarray, "R S"], masked: Int64[np.ndarray, "R S"]) -> dict[str, float]:
    """Return the bits per base at each ratio, the standard error at 0.15, and the bits over every base."""
    bits = [ratio_of_sums(part, units.astype(np.float64)) for part, units in zip(sums, masked, strict=True)]
    named = {f"bits_{ratio}": round(bit.value, 4) for ratio, bit in zip(CURVE, bits, strict=False)}
    return named | {"standard_error": round(bits[1].standard_error, 4), "bits_every": round(bits[-1].value, 4)}


def main(settings: YardstickSettings) -> int:
    """Measure, print, record."""
    stamp = rows.stamp()
    stamp["device"] += ", one thread"
    for genome in settings.genomes:
        counted: set[int] = set()
        for windows in settings.windows:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                models = pool.apply(measured, (genome, windows))
            if models[0]["windows"] in counted:  # a small genome has no more windows
                continue
            counted.add(models[0]["windows"])
            for row in models:
                rows.append(RESULTS, row | {name: stamp[name] for name in ("commit", "device", "date")})
            for family in dict.fromkeys(row["family"] for row in models):
                best = min((row for row in models if row["family"] == family), key=lambda row: row["bits_0.15"])
                bits, error = best["bits_0.15"], best["standard_error"]
                print(f"{genome.name}, {best['windows']} windows: {best['model']} {bits:.4f} ± {error:.4f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(YardstickSettings)))
