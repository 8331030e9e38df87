"""Sequences drawn from the model, and whether they look like the genome."""

from typing import Any

from dnar2mae.density.generate import generate
from dnar2mae.density.options import GenerateOptions
from dnar2mae.density.report import draw_spectra, report_drawn, report_lines
from dnar2mae.errors import ConfigError
from dnar2mae.report.content import NumberTable, Picture, SectionContent
from dnar2mae.report.drawing import svg
from dnar2mae.report.reported_run import ReportedRun
from dnar2mae.training.bound import extrapolated

_MEASURES = {
    "divergence of 3-mers, bits": ("js_3", 5),
    "divergence of 6-mers, bits": ("js_6", 5),
    "GC": ("gc_mean", 3),
    "longest open frame, codons": ("longest_open_codons", 1),
    "32-mers copied from the training genome": ("copied_32mers", 4),
}
_TEXTS, _TEXT_TOKENS = 3, 200


def drawn(run: ReportedRun) -> SectionContent:
    """Return the k-mer spectra of drawn DNA beside those of held-out DNA and of a Markov model's draws."""
    report = run.computed("drawn", lambda: report_drawn(run.trained, _drawn(run), run.options.seed), *_settings(run))
    samples = report["samples"]
    rows = [
        (name, *(f"{samples[sample][measure]:.{digits}f}" for sample in ("model", "markov", "held_out")))
        for name, (measure, digits) in _MEASURES.items()
    ]
    columns = ("", "drawn", f"Markov order {report['markov_order']}", "held out")
    return SectionContent(
        lines=(
            f"{report['sequences']} sequences of {report['length_bp']} bp, drawn in {run.options.steps} steps each. "
            "Divergences are from one half of the held-out DNA; the other half shows what perfect draws would have.",
            *_caveat(run),
            report_lines(report)[1],
        ),
        pictures=(
            Picture(svg("spectra", report_lines(report)[0], lambda axes: draw_spectra(axes, report)), "Spectra"),
        ),
        tables=(NumberTable(columns, rows, f"Over {report['compared_bp']:,} bases of each"),),
    )


def drawn_text(run: ReportedRun) -> SectionContent:
    """Return a few texts drawn from the model."""
    computed = run.computed("drawn", lambda: {"texts": [one.text for one in _drawn(run)]}, *_settings(run))
    return SectionContent(
        lines=("Tokens are unmasked in a random order, from nothing.", *_caveat(run)), texts=tuple(computed["texts"])
    )


def _settings(run: ReportedRun) -> tuple[Any, ...]:
    return run.options.draws, run.options.steps, run.options.seed


def _drawn(run: ReportedRun) -> list[Any]:
    if not run.options.draws:
        raise ConfigError("left out by --draws 0")
    is_dna = run.config.modality == "dna"
    options = GenerateOptions(
        num=run.options.draws if is_dna else _TEXTS,
        length_bp=run.config.data.window_bp if is_dna else _TEXT_TOKENS,
        steps=run.options.steps if is_dna else _TEXT_TOKENS,
        seed=run.options.seed,
    )
    return list(generate(run.trained, options, progress=True))


def _caveat(run: ReportedRun) -> list[str]:
    if reason := extrapolated(run.config.mask):
        return [
            f"The mask law {reason}, and drawing begins with all masked: --mask.low 0 --mask.high 1 trains that too."
        ]
    return []
