"""Are drawn sequences like the genome? Spectra, open frames, copies, beside held-out DNA and a Markov model's draws."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from dnar2mae.batch import evenly_spaced
from dnar2mae.density.counts import best_order, drawn_sequences
from dnar2mae.density.generate import Drawn
from dnar2mae.density.spectra import (
    STOPS,
    OpenFrames,
    copied_share,
    distinct_share,
    divergence,
    gc_shares,
    longest_open_frames,
    open_frames,
    spectrum,
)
from dnar2mae.density.windows import dna_of, held_out_windows
from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.alphabet import UNKNOWN, encode
from dnar2mae.genome.annotation import read_annotation
from dnar2mae.genome.codons import read_codons
from dnar2mae.genome.markov import MarkovCounts
from dnar2mae.inference import TrainedModel
from dnar2mae.plots.figure import new_figure, save_figure
from dnar2mae.run.result import finite
from dnar2mae.storage.safe_files import write_whole

KMERS = range(1, 9)
_OPEN_CODONS = 100
Codes = UInt8[np.ndarray, "N L"]


def report_drawn(
    trained: TrainedModel, drawn: Sequence[Drawn], seed: int, usage: OpenFrames | None = None
) -> dict[str, Any]:
    """Compare drawn sequences with held-out DNA, and with draws of the best one-sided Markov model.

    Held-out windows, cut to the sequences' length, are parted into every other one: one half is the reference of all
    spectra, the other is what perfect draws would look like. The three samples have as many bases, since a divergence
    between samples is larger the smaller they are.

    Parameters
    ----------
    trained
        A model of DNA, with its training genome.
    drawn
        Sequences of one length, drawn from it.
    seed
        Of the Markov model's draws.
    usage
        Codons of the genes of the training genome (:func:`usage_for_report`), beside those of long open frames.

    Returns
    -------
    dict
        ``sequences``, ``length_bp``, ``markov_order``, and by sample (``model``, ``markov``, ``held_out``) the
        divergences ``js_1`` to ``js_8`` and shares; ``closer``: the k at which the model beats the Markov model. With
        ``usage`` also ``js_codons`` and the shares of the stop codons, which the sample ``genes`` has too.

    Raises
    ------
    ConfigError
        If the model is not one of DNA, or sequences differ in length.
    """
    modality = dna_of(trained, "--report")
    if len({len(one.text) for one in drawn}) != 1:
        raise ConfigError("--report needs sequences of one length")
    codes = np.stack([encode(one.text.encode()) for one in drawn])
    windows = held_out_windows(trained, 0)
    assert windows.codes is not None
    whole = np.stack([windows.codes(int(sample)) for sample in windows.sample_ids])
    bases = modality.training_bases()
    counts = MarkovCounts(bases)
    order = best_order(counts, whole)
    held_out = whole[:, : codes.shape[1]]
    reference, other = held_out[::2], held_out[1::2]
    markov = drawn_sequences(counts, order, len(codes), codes.shape[1], seed)
    named = {"model": codes, "markov": markov, "held_out": other}
    samples = {name: _cut(sample, held_out.shape[1]) for name, sample in named.items()}
    rows = min(map(len, samples.values()))
    if rows < 1:
        raise ConfigError("--report needs two held-out windows or more")
    measured = {
        name: _measured(sample[evenly_spaced(len(sample), rows)], reference, bases) for name, sample in samples.items()
    }
    if usage is not None:
        for name, sample in samples.items():
            measured[name] |= _codon_measures(
                open_frames(sample[evenly_spaced(len(sample), rows)], _OPEN_CODONS), usage
            )
        measured["genes"] = _codon_measures(usage, usage)
    closer = [k for k in KMERS if measured["model"][f"js_{k}"] < measured["markov"][f"js_{k}"]]
    return {
        "sequences": len(codes),
        "length_bp": codes.shape[1],
        "compared_bp": rows * held_out.shape[1],
        "markov_order": order,
        "samples": measured,
        "closer": closer,
    }


def usage_for_report(trained: TrainedModel, path: Path | None) -> OpenFrames | None:
    """Return the codons of all annotated genes whose frame fits, and the stop codons that they end in; None without.

    Raises
    ------
    ConfigError
        If the model is not one of DNA, or its run has several genomes.
    SequenceError
        If the annotation cannot be read, or has no gene whose frame fits.
    """
    modality = dna_of(trained, "--report")
    if path is None:
        return None
    if len(modality.genomes) > 1:
        raise ConfigError(f"--genes {path}: the run has {len(modality.genomes)} genomes, and genes are those of one")
    genome = modality.genomes[0]
    words = [
        codons.letters
        for transcript in read_annotation(path, genome).transcripts
        if transcript.coding and (codons := read_codons(transcript, genome)) is not None
    ]
    if not words:
        raise SequenceError(f"{path}: no coding sequence whose frame fits this genome")
    counts = np.zeros(64)
    for word in words:
        known = word[(word < UNKNOWN).all(1)].astype(np.int64)
        counts += np.bincount(known @ [16, 4, 1], minlength=64)
    return OpenFrames(np.where(np.isin(np.arange(64), STOPS), 0, counts), counts[STOPS])


def _codon_measures(frames: OpenFrames, genes: OpenFrames) -> dict[str, float]:
    """Return how far codons are from those of genes, and which stops end them; NaN without a long open frame."""
    usage, own = (x.codons / max(x.codons.sum(), 1) for x in (frames, genes))
    stops = frames.stops / frames.stops.sum() if frames.stops.sum() else np.full(3, np.nan)
    shares = {f"stop_{name}": float(share) for name, share in zip(("TAA", "TAG", "TGA"), stops, strict=True)}
    return {"js_codons": divergence(usage, own) if frames.codons.any() else np.nan, **shares}


def _cut(codes: Codes, length: int) -> UInt8[np.ndarray, "M K"]:
    """Return sequences that are longer than a window as pieces of its length."""
    return codes[:, : codes.shape[1] // length * length].reshape(-1, length)


def _measured(codes: Codes, reference: UInt8[np.ndarray, "R L"], bases: UInt8[np.ndarray, " F"]) -> dict[str, float]:
    frames, gc = longest_open_frames(codes), gc_shares(codes)
    by_k = {f"js_{k}": divergence(spectrum(codes, k), spectrum(reference, k)) for k in KMERS}
    return by_k | {
        "gc_mean": float(gc.mean()),
        "gc_sd": float(gc.std()),
        "longest_open_codons": float(frames.mean()),
        f"open_{_OPEN_CODONS}_codons": float((frames >= _OPEN_CODONS).mean()),
        "copied_32mers": copied_share(codes, bases),
        "distinct_32mers": distinct_share(codes),
    }


def report_lines(report: dict[str, Any]) -> list[str]:
    """Return the report in words."""
    samples = report["samples"]
    names = {"model": "drawn", "markov": f"Markov order {report['markov_order']}", "held_out": "held out"}

    def row(measure: str, digits: int) -> str:
        return "; ".join(f"{title} {samples[name][measure]:.{digits}f}" for name, title in names.items())

    closer = f"k = {', '.join(map(str, report['closer']))}" if report["closer"] else "no k"
    lines = [
        f"Over {report['compared_bp']:,} bases of each. Jensen-Shannon divergence of 6-mers from held-out DNA, bits: "
        f"{row('js_6', 5)}.",
        f"Closer to held-out DNA than the Markov model's draws at {closer} (of 1 to {KMERS[-1]}).",
        f"GC, mean over sequences: {row('gc_mean', 3)}; standard deviation: {row('gc_sd', 3)}.",
        f"Longest open frame, codons: {row('longest_open_codons', 1)}.",
        f"32-mers copied from the training genome: {row('copied_32mers', 4)}; distinct: {row('distinct_32mers', 4)}.",
    ]
    if "genes" in samples:
        names |= {"genes": "annotated genes"}
        stops = "; ".join(f"{name[5:]}: {row(name, 2)}" for name in ("stop_TAA", "stop_TAG", "stop_TGA"))
        lines.append(f"Codons of frames open for {_OPEN_CODONS} or more, from those of genes: {row('js_codons', 4)}.")
        lines.append(f"Stop codons that end them, {stops}.")
    return lines


def write_report(report: dict[str, Any], out: Path) -> list[Path]:
    """Write a report as JSON, CSV and a plot beside the sequences, and return the paths."""
    paths = [out.with_suffix(suffix) for suffix in (".report.json", ".report.csv", ".report.png")]
    write_whole(paths[0], json.dumps(finite(report), indent=1, allow_nan=False))
    table = pd.DataFrame(report["samples"]).rename_axis("measure")
    write_whole(paths[1], table.to_csv())
    _plot(report, paths[2])
    return paths


def draw_spectra(axes: Any, report: dict[str, Any]) -> None:
    """Draw the divergence of k-mers from held-out DNA, by k, of each sample of a report."""
    for name, (label, colour, style) in _looks(report).items():
        values = [report["samples"][name][f"js_{k}"] for k in KMERS]
        axes.plot(KMERS, values, color=colour, ls=style, marker="o", ms=4, label=label)
    axes.set(xlabel="k", ylabel="divergence from held-out DNA, bits", yscale="log")
    axes.legend(fontsize=8, frameon=False)


def _looks(report: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {
        "model": ("drawn from the model", "C0", "-"),
        "markov": (f"drawn from Markov order {report['markov_order']}", "C3", "--"),
        "held_out": ("held-out DNA", "0.4", ":"),
    }


def _plot(report: dict[str, Any], path: Path) -> None:
    figure = new_figure(10.0, 4.0)
    spectra, frames, copies = figure.subplots(1, 3, width_ratios=(2, 1, 1))
    draw_spectra(spectra, report)
    spectra.set(title="k-mer spectra")
    looks = _looks(report)
    for place, (name, (_, colour, _)) in enumerate(looks.items()):
        values = report["samples"][name]
        frames.bar(place, values["longest_open_codons"], color=colour)
        copies.bar(place, values["copied_32mers"], color=colour)
    frames.set(title="Longest open frame", ylabel="codons")
    copies.set(title="32-mers copied", ylabel="share in the training genome")
    for axis in (frames, copies):
        axis.set_xticks(range(len(looks)), ["model", "Markov", "held out"])
    save_figure(figure, path)
