"""The page: its sections in their order, and how they become one file."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, Dnar2maeError, reason, require
from dnar2mae.finetuning import is_tuned
from dnar2mae.report.content import PageSection, SectionContent
from dnar2mae.report.options import PageOptions
from dnar2mae.report.page_run import PageRun
from dnar2mae.report.reported_run import ReportedRun
from dnar2mae.report.sections.about import about
from dnar2mae.report.sections.commands import commands
from dnar2mae.report.sections.controls import controls
from dnar2mae.report.sections.drawn import drawn, drawn_text
from dnar2mae.report.sections.embedding import embedding
from dnar2mae.report.sections.losses import by_ratio, by_step, restored
from dnar2mae.report.sections.region import region
from dnar2mae.report.tuned import about as tuned_about
from dnar2mae.report.tuned import answers, division, scores
from dnar2mae.report.tuned import commands as tuned_commands
from dnar2mae.report.tuned.run import TunedRun
from dnar2mae.run.result import RunResult
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.safe_files import output_file, refuse_inputs
from dnar2mae.training.device import choose_device


class SectionMaker(NamedTuple):
    """A section that a page may have."""

    title: str
    make: Callable[[Any], SectionContent]
    """From a :class:`.ReportedRun`, or a :class:`.TunedRun`."""
    of: tuple[str, ...] = ()
    """Kinds of data that it is for, of fine-tuned runs targets and samples; empty for all."""


SECTIONS = (
    SectionMaker("This run", about),
    SectionMaker("Loss by step", by_step),
    SectionMaker("Loss by mask ratio, and the bound", by_ratio),
    SectionMaker("Variant control", controls, ("dna",)),
    SectionMaker("Constraint and genes", region, ("dna",)),
    SectionMaker("Embedding map", embedding, ("dna",)),
    SectionMaker("Drawn sequences", drawn, ("dna",)),
    SectionMaker("Drawn texts", drawn_text, ("text",)),
    SectionMaker("Restored images", restored, ("image",)),
    SectionMaker("With your own data", commands),
)
TUNED_SECTIONS = (
    SectionMaker("This run", tuned_about.about),
    SectionMaker("Loss by step", tuned_about.by_step),
    SectionMaker("Scores on test", scores.scores),
    SectionMaker("Calibration", scores.calibration, ("classes", "labels")),
    SectionMaker("By class", answers.classes, ("classes",)),
    SectionMaker("Precision and recall", answers.thresholds, ("classes", "labels")),
    SectionMaker("Predicted and true", answers.values, ("numbers", "counts")),
    SectionMaker("Train, dev and test", division.rows_by_part),
    SectionMaker("Homologues in train", division.homologues, ("dna sample",)),
    SectionMaker("With your own data", tuned_commands.commands),
)


def write_page(
    path: Path,
    out: Path | None = None,
    *,
    options: PageOptions | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> Path:
    """Write a page about a finished or stopped run; nothing is trained.

    Parameters
    ----------
    path
        Run directory. What takes the model to compute is kept in its ``report.json`` for the next page.
    out
        HTML file, by default ``report.html`` in the run; it loads nothing from elsewhere.
    options
        Annotation, and how much is computed.
    device
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes the first GPU, else the CPU.
    overwrite
        Replace an earlier page.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    Dnar2maeError
        If the path is no run or has no validation yet, the file exists or cannot be written, or the annotation does
        not fit the genome. A section that cannot be made says so on the page instead.
    """
    options, out = options or PageOptions(), out or path / "report.html"
    require(out.suffix in (".html", ".htm"), "out", "a file whose name ends in .html", out)
    if out.exists() and not overwrite:
        raise ConfigError(f"--out {out} exists; give --overwrite to replace it")
    refuse_inputs(out, (options.genes, options.genome, options.matrices))
    choose_device(PretrainConfig(device=device))  # a device that is not there would cost all sections but a few
    run, kinds, makers = _opened(path, options, device)
    chosen = [section for section in makers if not section.of or kinds & {*section.of}]
    with progress_bar("sections of the page", len(chosen)) as bar:
        made = []
        for section in chosen:
            made.append(_made(section, run))
            bar.advance()
    with output_file(out) as partial:
        partial.write_text(_html(run, made), encoding="utf-8")
    return out


def _opened(path: Path, options: PageOptions, device: str) -> tuple[PageRun, set[str], tuple[SectionMaker, ...]]:
    """Return a run of either kind, what it is by the words of :attr:`.SectionMaker.of`, and its sections."""
    if not is_tuned(path):
        run = ReportedRun(path, options, device)
        return run, {run.config.modality}, SECTIONS
    tuned = TunedRun(path, options)
    return tuned, {tuned.target.kind, f"{tuned.pretrained.modality} {tuned.target.per}"}, TUNED_SECTIONS


def _made(section: SectionMaker, run: PageRun) -> PageSection:
    """Make a section, or say in its place why there is none."""
    anchor = re.sub(r"\W+", "-", section.title.lower())
    try:
        return PageSection(anchor=anchor, title=section.title, content=section.make(run))
    except Dnar2maeError as error:
        return PageSection(anchor=anchor, title=section.title, reason=str(error))
    except Exception as error:  # noqa: BLE001 - a fault of ours in one section must not cost a user all others
        message = f"{section.title}: {type(error).__name__}: {reason(error)}"
        warnings.warn(f"{message}; the page is without this section", stacklevel=2)
        return PageSection(anchor=anchor, title=section.title, reason=message)


def _html(run: PageRun, sections: list[PageSection]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # escaped: names and texts come from files
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    name = "/".join(run.path.resolve().parts[-2:])
    if isinstance(run, TunedRun):
        lead, tiles = "a pretrained model that was fine-tuned on labels.", scores.tiles(run)
    else:
        assert isinstance(run, ReportedRun)
        lead, tiles = "a model that was pretrained to restore what is masked.", _tiles(run.result)
    return environment.get_template("page.html").render(name=name, lead=lead, tiles=tiles, sections=sections)


def _tiles(result: RunResult) -> list[dict[str, Any]]:
    """Return the figures at the head of the page; of a stopped run there are none."""
    if not result.finished:
        return []
    tiles = [
        {
            "value": f"{result.held_out:.3f}",
            "error": result.standard_error,
            "what": f"{result.unit}, held out, 15 % masked",
        }
    ]
    for name, margin in result.margin.items():
        below = margin["below_by"] or 0.0
        what = f"{'below' if below >= 0 else 'above'} {name} ({result.yardstick[name]:.3f})"
        tiles.append({"value": f"{abs(below):.3f}", "error": margin["standard_error"], "what": what})
    if "value" in result.bound:
        error, what = result.bound["standard_error"], f"{result.unit} at most, as a density"
        tiles.append({"value": f"{result.bound['value']:.3f}", "error": error, "what": what})
    tiles.append(
        {"value": f"{result.parameters / 1e6:.2f} M", "error": None, "what": f"parameters, {result.steps:,} steps"}
    )
    return tiles
