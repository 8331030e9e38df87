"""Rates of ``dnar2mae score-variants``: substitutions and indels from a VCF file to a VCF file, both strands, in turn.

    python -m dnar2mae.benchmarks.speed.bench_variants --snvs 4000 --backbones transformer cnn --whole
    python -m dnar2mae.benchmarks.speed.bench_variants --run runs/ecoli --genome ecoli.fna.gz --indels 1000 --loop

The models have random weights, on which the rate does not depend, or are that of a run; every round scores the same
files by each of them in turn, and the first, which warms up, is not counted. Prints the rate of each round and the
processor time, which other programs on the machine do not change much; appends rows to
``benchmarks/results/variants.csv``, each with the machine's load (running processes). With indels it also prints how
much scores differ between four spellings of each and, of a run, how far ``--indel fast`` keeps the order of ``exact``.
"""

import itertools
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
import tyro

from dnar2mae.benchmarks.speed import rows
from dnar2mae.benchmarks.speed.end_to_end import random_genome
from dnar2mae.config import DataConfig
from dnar2mae.genome.alphabet import complement
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model, TrainedModel
from dnar2mae.modalities.registry import build_modality
from dnar2mae.models.hidden_states import tokens_at_once
from dnar2mae.presets import PRESETS
from dnar2mae.training.build import build_model
from dnar2mae.training.device import choose_device
from dnar2mae.variants import EverySubstitution, ScoreOptions, mutagenesis, score_variants, score_vcf
from dnar2mae.variants.evaluation import spearman

RESULTS = Path(__file__).parents[1] / "results" / "variants.csv"
_COLUMNS = ["chrom", "pos", "ref", "alt"]


@dataclass(frozen=True, kw_only=True)
class VariantBenchSettings:
    """Time the scoring of variants."""

    preset: str = "tiny"
    """Sizes of the models."""
    backbones: tuple[str, ...] = ("transformer", "cnn")
    """Their encoders."""
    run: Path | None = None
    """A trained run instead."""
    genome: Path | None = None
    """Its genome; by default one of random bases."""
    whole: bool = False
    """Score also by encoding whole windows, to see what is gained by leaving out what a masked base does not need."""
    loop: bool = False
    """Score also by a loop as GPN's: both strands, the middle base masked, logits of the whole window."""
    window_bp: int = 512
    """Sequence that the model sees around a variant."""
    snvs: int = 2000
    """Records of the VCF, each with one alternative."""
    indels: int = 0
    """Insertions and deletions of a second VCF, half of each, lengths 1 + geometric (mean 2.2), scored exactly and
    fast."""
    every_bp: int = 0
    """Score also every substitution of so many bases in the middle of the genome, exactly and with --snv fast."""
    rounds: int = 3
    """Times that the file is scored, after once to warm up."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the matrix products."""


def draw_variants(genome: Genome, number: int, kind: Literal["snvs", "indels"]) -> pd.DataFrame:
    """Draw variants at random positions of known bases."""
    rng = np.random.default_rng(1)
    drawn: list[tuple[str, int, str, str]] = []
    while len(drawn) < number:
        name = genome.names[int(rng.choice(len(genome), p=genome.lengths / genome.total_bp))]
        start, size = int(rng.integers(1000, genome.lengths[genome.index[name]] - 1000)), int(rng.geometric(0.45))
        ref = genome.fetch(name, start, start + 1 + size).upper()
        if set(ref) <= set("ACGT"):
            other = "".join(rng.choice(list("ACGT"), size))
            substituted = (ref[0], "ACGT".replace(ref[0], "")[start % 3])
            changed = substituted if kind == "snvs" else [(ref, ref[0]), (ref[0], ref[0] + other)][len(drawn) % 2]
            drawn.append((name, start + 1, *changed))
    return pd.DataFrame(drawn, columns=_COLUMNS)


def spellings(genome: Genome, indels: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the same indels as they are, with more bases before them, with more after them, and without their first."""
    yield indels
    for left, right in ((8, 0), (0, 5)):
        wider = []
        for name, pos, ref, alt in indels.itertuples(index=False):
            end = pos - 1 + len(ref)
            before, after = genome.fetch(name, pos - 1 - left, pos - 1), genome.fetch(name, end, end + right)
            wider.append((name, pos - left, before + ref + after, before + alt + after))
        yield pd.DataFrame(wider, columns=_COLUMNS)
    yield indels.assign(pos=indels["pos"] + 1, ref=indels["ref"].str[1:], alt=indels["alt"].str[1:]).replace("", "-")


def write_vcf(variants: pd.DataFrame, path: Path) -> Path:
    """Write variants as a VCF."""
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    lines += [f"{name}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t." for name, pos, ref, alt in variants.itertuples(index=False)]
    path.write_text("\n".join(lines) + "\n")
    return path


def random_model(settings: VariantBenchSettings, backbone: str) -> Model:
    """Build the preset's sizes of a backbone with its initial weights."""
    config = replace(PRESETS[settings.preset](), data=DataConfig(window_bp=settings.window_bp), device="auto")
    config = replace(config, model=replace(config.model, backbone=backbone))
    modality, (device, _) = build_modality(config), choose_device(config)
    module = build_model(config, modality, device).eval().requires_grad_(False)
    return Model.of(TrainedModel(config, modality, module, settings.preset))


def cpu_seconds() -> float:
    """Return the processor time of this process so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@torch.inference_mode()
def loop_scores(model: Model, genome: Genome, variants: pd.DataFrame) -> np.ndarray:
    """Score substitutions as GPN does: of each window on both strands the logits of all tokens, and of these one."""
    window_bp, first = model.window_bp, model.tokenizer.vocabulary.first_real
    middle, scores = window_bp // 2, []
    at_once = max(tokens_at_once(model.device) // window_bp, 1)
    for begin in range(0, len(variants), at_once):
        batch = variants.iloc[begin : begin + at_once]
        starts = [pos - 1 - middle for pos in batch["pos"].tolist()]
        windows = [genome.codes(n, start, start + window_bp) for n, start in zip(batch["chrom"], starts, strict=True)]
        total = np.zeros(len(batch))
        for is_reverse in (False, True):
            codes = [complement(w[::-1]) if is_reverse else w for w in windows]
            ids = torch.from_numpy(np.stack([model.tokenizer.encode(c) for c in codes])).to(model.device)
            place = window_bp - 1 - middle if is_reverse else middle
            ids[:, place] = model.tokenizer.vocabulary.mask_id
            logits = model.module.logits(model.module(ids))[:, place, first : first + 4].cpu().numpy()
            for row, (ref, alt) in enumerate(zip(batch["ref"], batch["alt"], strict=True)):
                letters = "TGCA" if is_reverse else "ACGT"
                total[row] += (logits[row, letters.index(alt)] - logits[row, letters.index(ref)]) / 2
        scores.append(total)
    return np.concatenate(scores)


def ways(
    settings: VariantBenchSettings, model: Model, genome: Genome, folder: Path
) -> dict[str, tuple[int, Callable[[], object]]]:
    """Return what is timed, by name: how many variants it scores, and a call that does."""
    snvs = draw_variants(genome, settings.snvs, "snvs")
    found: dict[str, tuple[int, Callable[[], object]]] = {}

    def file(variants: pd.DataFrame, name: str, options: ScoreOptions) -> tuple[int, Callable[[], object]]:
        vcf = write_vcf(variants, folder / f"{name}.vcf")
        out = folder / f"{name}.out.vcf.gz"
        return len(variants), lambda: score_vcf(model, vcf, out, genome=genome, options=options)

    options = ScoreOptions(precision=settings.precision)
    found["score-variants, needed"] = file(snvs, "snvs", options)
    if settings.whole:
        count, call = file(snvs, "snvs", options)
        found["score-variants, all"] = count, lambda: whole_windows(model, call)
    if settings.loop:
        found["a loop as GPN's, all"] = len(snvs), lambda: loop_scores(model, genome, snvs)
    if settings.indels:
        indels = draw_variants(genome, settings.indels, "indels")
        found["indels exact, needed"] = file(indels, "indels", options)
        found["indels fast, needed"] = file(indels, "indels", replace(options, indel="fast"))
    if settings.every_bp:
        bed = folder / "every.bed"
        bed.write_text("\t".join(map(str, middle_region(genome, settings.every_bp))))
        every = EverySubstitution(genome, bed)
        number = sum(len(each.alts) for each in every.records())
        for exactly in (True, False):
            own = options if exactly else replace(options, snv="fast")
            call = partial(score_vcf, model, every, bed.with_suffix(".vcf.gz"), genome=genome, options=own)
            found[f"every substitution {own.snv}, needed"] = number, call
    return found


def middle_region(genome: Genome, number: int) -> tuple[str, int, int]:
    """Return so many bases in the middle of the first sequence."""
    middle = int(genome.lengths[0]) // 2
    return genome.names[0], middle, middle + number


def whole_windows(model: Model, call: Callable[[], object]) -> None:
    """Call with an encoder that computes all of a window."""
    encoder = model.module.encoder
    encoder.partial_layers = lambda x: None  # type: ignore[method-assign]
    try:
        call()
    finally:
        del encoder.partial_layers


def agreement(model: Model, genome: Genome, settings: VariantBenchSettings) -> list[str]:
    """Return in words how fast scores of indels agree with exact ones, and those of four spellings with each other."""
    indels = draw_variants(genome, settings.indels, "indels")

    def scores(table: pd.DataFrame, indel: Literal["exact", "fast"]) -> np.ndarray:
        options = ScoreOptions(precision=settings.precision, indel=indel)
        return score_variants(model, table, genome, options=options)["llr"].to_numpy()

    spelt = [scores(table, "fast") for table in spellings(genome, indels)]
    lines = [f"four spellings of {len(indels)} indels: largest difference {np.ptp(spelt, axis=0).max():.1e} nats"]
    if settings.run:  # what random weights say of an indel is noise
        slow, insertion = scores(indels, "exact"), np.arange(len(indels)) % 2 == 1
        for name, own in (("all", insertion >= 0), ("insertions", insertion), ("deletions", ~insertion)):
            lines.append(f"fast against exact, {name}: Spearman {spearman(slow[own], spelt[0][own])}")
    return lines


def agreement_of_substitutions(model: Model, genome: Genome, settings: VariantBenchSettings) -> str:
    """Return in words how ``--snv fast`` agrees with exact scores."""
    region, options = middle_region(genome, settings.every_bp), ScoreOptions(precision=settings.precision)
    exact = mutagenesis(model, genome, region, options)
    fast = mutagenesis(model, genome, region, replace(options, snv="fast"))
    own = np.isfinite(exact) & (exact != 0)
    slow, quick = exact[own].astype(np.float64), fast[own].astype(np.float64)
    return (
        f"--snv fast against exact, {len(slow):,} substitutions: Spearman {spearman(slow, quick)}, difference "
        f"{(quick - slow).mean():+.3f}, sd {(quick - slow).std():.3f}, of scores with an sd of {slow.std():.3f} nats"
    )


def record(way: str, count: int, call: Callable[[], object], about: dict[str, object]) -> None:
    """Time a call that scores variants; print its rate, and append it as a row."""
    stamp = rows.stamp()
    started, before = time.monotonic(), cpu_seconds()
    call()
    rate, cost = 60 * count / (time.monotonic() - started), 1000 * (cpu_seconds() - before) / count
    what, positions = way.split(", ")
    first = {"what": what, "backbone": about["backbone"], "positions": positions}
    rates = {"variants_per_minute": f"{rate:.0f}", "cpu_seconds_per_1000": f"{cost:.1f}"}
    machine = {"device": stamp["device"], "load": f"{os.getloadavg()[0]:.0f}"}
    rows.append(RESULTS, first | rates | {k: v for k, v in about.items() if k != "backbone"} | machine | stamp)
    text = f"{rate:,.0f} a minute, {cost:.1f} processor seconds per 1,000"
    print(f"{about['backbone']}, {what}, {positions} positions: {text}, {stamp['device']}", flush=True)


def main(settings: VariantBenchSettings) -> int:
    """Score, print, record."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        genome = Genome.open(settings.genome or random_genome(folder, 1_000_000), progress=False)
        if settings.run is None:
            models = [random_model(settings, backbone) for backbone in settings.backbones]
        else:
            models = [Model.from_pretrained(settings.run)]
        timed = [ways(settings, model, genome, folder) for model in models]
        for number, (model, found) in itertools.product(range(settings.rounds + 1), zip(models, timed, strict=True)):
            about: dict[str, object] = {
                "backbone": model.config.backbone,
                "preset": "a run" if settings.run else settings.preset,
                "window_bp": model.window_bp,
                "strands": 2,
                "dtype": settings.precision,
            }
            for way, (count, call) in found.items():
                if number:
                    record(way, count, call, about)
                else:
                    call()
        for model in models if settings.indels else []:
            print(model.config.backbone, *agreement(model, genome, settings), sep="\n")
        for model in models if settings.every_bp else []:
            print(agreement_of_substitutions(model, genome, settings))
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(VariantBenchSettings)))
