"""Rate of ``dnar2mae score-variants``: single-base substitutions from a VCF file to a VCF file, both strands.

    python -m dnar2mae.benchmarks.speed.bench_variants --snvs 4000

The model has random weights, on which the rate does not depend; every round scores the same file, and the first, which
warms up, is not counted. Prints the rate of each round and the processor time, which other programs on the machine do
not change much; appends rows to ``benchmarks/results/variants.csv``, each with the machine's load (running processes).
"""

import csv
import os
import resource
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro

from dnar2mae.config import DataConfig
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model, TrainedModel
from dnar2mae.modalities.registry import build_modality
from dnar2mae.presets import PRESETS
from dnar2mae.run.directory import environment
from dnar2mae.training.build import build_model
from dnar2mae.training.device import choose_device
from dnar2mae.variants import ScoreOptions, score_vcf

RESULTS = Path(__file__).parents[1] / "results" / "variants.csv"
FIELDS = ["what", "snvs_per_minute", "cpu_seconds_per_1000", "preset", "window_bp", "strands", "dtype", "device"]
FIELDS += ["load", "torch", "commit", "date"]


@dataclass(frozen=True, kw_only=True)
class VariantBenchSettings:
    """Time the scoring of variants."""

    preset: str = "tiny"
    """Sizes of the model."""
    window_bp: int = 512
    """Sequence that the model sees around a variant."""
    snvs: int = 2000
    """Records of the VCF, each with one alternative."""
    rounds: int = 3
    """Times that the file is scored, after once to warm up."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the matrix products."""


def write_inputs(folder: Path, num_snvs: int) -> tuple[Path, Path]:
    """Write a FASTA of random bases, and a VCF of substitutions at random positions."""
    rng = np.random.default_rng(0)
    bases = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, 1_000_000)]
    fasta, vcf = folder / "random.fa", folder / "random.vcf"
    fasta.write_bytes(b">random\n" + bases.tobytes() + b"\n")
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for start in np.sort(rng.choice(len(bases), num_snvs, replace=False)).tolist():
        ref = chr(bases[start])
        lines.append(f"random\t{start + 1}\t.\t{ref}\t{'ACGT'.replace(ref, '')[start % 3]}\t.\t.\t.")
    vcf.write_text("\n".join(lines) + "\n")
    return fasta, vcf


def random_model(settings: VariantBenchSettings) -> Model:
    """Build the preset with its initial weights."""
    config = replace(PRESETS[settings.preset](), data=DataConfig(window_bp=settings.window_bp), device="auto")
    modality, (device, _) = build_modality(config), choose_device(config)
    module = build_model(config, modality, device).eval().requires_grad_(False)
    return Model.of(TrainedModel(config, modality, module, settings.preset))


def cpu_seconds() -> float:
    """Return the processor time of this process so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(settings: VariantBenchSettings) -> int:
    """Score, print, record."""
    model, rows = random_model(settings), []
    options = ScoreOptions(precision=settings.precision)
    device = model.device.type
    name = torch.cuda.get_device_name() if device == "cuda" else f"cpu x{torch.get_num_threads()}"
    with tempfile.TemporaryDirectory() as folder:
        fasta, vcf = write_inputs(Path(folder), settings.snvs)
        Genome.open(fasta, progress=False)
        for number in range(settings.rounds + 1):
            before = cpu_seconds()
            report = score_vcf(model, vcf, Path(folder) / "out.vcf.gz", genome=fasta, options=options)
            if report.alleles != {"scored": settings.snvs}:
                raise RuntimeError(f"expected {settings.snvs} scored alleles, got {report.alleles}")
            rate, cost = 60 * settings.snvs / report.seconds, 1000 * (cpu_seconds() - before) / settings.snvs
            if number:
                rows.append(["score-variants", f"{rate:.0f}", f"{cost:.1f}", settings.preset, settings.window_bp, 2])
                print(f"{rate:8,.0f} SNVs a minute, {cost:.1f} processor seconds per 1,000, {name}", flush=True)
    stamp = environment()
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        tail = [
            settings.precision,
            name,
            f"{os.getloadavg()[0]:.0f}",
            torch.__version__,
            stamp["commit"],
            stamp["started"][:10],
        ]
        csv.writer(file).writerows([FIELDS] * new + [[*row, *tail] for row in rows])
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(VariantBenchSettings)))
