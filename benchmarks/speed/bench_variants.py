"""Rate of ``dnar2mae score-variants``: single-base substitutions from a VCF file to a VCF file, both strands.

    python -m dnar2mae.benchmarks.speed.bench_variants --snvs 4000 --backbones transformer cnn --whole

The models have random weights, on which the rate does not depend; every round scores the same file by each of them in
turn, and the first, which warms up, is not counted. Prints the rate of each round and the processor time, which other
programs on the machine do not change much; appends rows to ``benchmarks/results/variants.csv``, each with the machine's
load (running processes).
"""

import itertools
import os
import resource
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from dnar2mae.benchmarks.speed import rows
from dnar2mae.benchmarks.speed.end_to_end import random_genome
from dnar2mae.config import DataConfig
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model, TrainedModel
from dnar2mae.modalities.registry import build_modality
from dnar2mae.presets import PRESETS
from dnar2mae.training.build import build_model
from dnar2mae.training.device import choose_device
from dnar2mae.variants import ScoreOptions, score_vcf

RESULTS = Path(__file__).parents[1] / "results" / "variants.csv"


@dataclass(frozen=True, kw_only=True)
class VariantBenchSettings:
    """Time the scoring of variants."""

    preset: str = "tiny"
    """Sizes of the models."""
    backbones: tuple[str, ...] = ("transformer", "cnn")
    """Their encoders."""
    whole: bool = False
    """Score also by encoding whole windows, to see what is gained by leaving out what a masked base does not need."""
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
    fasta, vcf = random_genome(folder, 1_000_000), folder / "random.vcf"
    bases = fasta.read_bytes().splitlines()[1]
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for start in np.sort(np.random.default_rng(1).choice(len(bases), num_snvs, replace=False)).tolist():
        ref = chr(bases[start])
        lines.append(f"random\t{start + 1}\t.\t{ref}\t{'ACGT'.replace(ref, '')[start % 3]}\t.\t.\t.")
    vcf.write_text("\n".join(lines) + "\n")
    return fasta, vcf


def random_model(settings: VariantBenchSettings, backbone: str, *, whole: bool) -> Model:
    """Build the preset's sizes of a backbone with its initial weights."""
    config = replace(PRESETS[settings.preset](), data=DataConfig(window_bp=settings.window_bp), device="auto")
    config = replace(config, model=replace(config.model, backbone=backbone))
    modality, (device, _) = build_modality(config), choose_device(config)
    module = build_model(config, modality, device).eval().requires_grad_(False)
    if whole:
        module.encoder.partial_layers = lambda x: None  # type: ignore[method-assign]
    return Model.of(TrainedModel(config, modality, module, settings.preset))


def cpu_seconds() -> float:
    """Return the processor time of this process so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def score(model: Model, vcf: Path, fasta: Path, options: ScoreOptions) -> dict[str, str]:
    """Score the file once; return the rate and the processor time."""
    before = cpu_seconds()
    report = score_vcf(model, vcf, vcf.with_name("out.vcf.gz"), genome=fasta, options=options)
    num_scored = report.alleles["scored"]
    if report.alleles != {"scored": num_scored}:
        raise RuntimeError(f"expected scored alleles only, got {report.alleles}")
    cost = 1000 * (cpu_seconds() - before) / num_scored
    return {"snvs_per_minute": f"{60 * num_scored / report.seconds:.0f}", "cpu_seconds_per_1000": f"{cost:.1f}"}


def main(settings: VariantBenchSettings) -> int:
    """Score, print, record."""
    options = ScoreOptions(precision=settings.precision)
    models = {
        (backbone, "all" if whole else "needed"): random_model(settings, backbone, whole=whole)
        for backbone in settings.backbones
        for whole in (False, True)[: 1 + settings.whole]
    }
    stamp = rows.stamp()
    about = {"preset": settings.preset, "window_bp": settings.window_bp, "strands": 2, "dtype": settings.precision}
    with tempfile.TemporaryDirectory() as folder:
        fasta, vcf = write_inputs(Path(folder), settings.snvs)
        Genome.open(fasta, progress=False)
        for number, ((backbone, positions), model) in itertools.product(range(settings.rounds + 1), models.items()):
            rates = score(model, vcf, fasta, options)
            if number:
                what = {"what": "score-variants", "backbone": backbone, "positions": positions}
                machine = {"device": stamp["device"], "load": f"{os.getloadavg()[0]:.0f}"}
                rows.append(RESULTS, what | rates | about | machine | stamp)
                print(
                    f"{backbone}, {positions} positions: {int(rates['snvs_per_minute']):,} SNVs a minute, "
                    f"{rates['cpu_seconds_per_1000']} processor seconds per 1,000, {stamp['device']}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(VariantBenchSettings)))
