"""``dnar2mae report``."""

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from dnar2mae.cli.parse import parse
from dnar2mae.report.options import PageOptions


@dataclass(frozen=True, kw_only=True)
class PageCommand:
    """Write one HTML page about a finished or stopped run of any kind of data, without training again.

    Example: dnar2mae report runs/first --genes genes.gff3

    The page holds: the run (data, settings that differ from the preset, time, versions); the loss by step beside
    trivial models; the loss by mask ratio and the bound. Of DNA also the variant control beside counts and a map of
    embeddings coloured by the annotation (both with --genes), and k-mer spectra of drawn sequences; of text, texts
    drawn; of images, images restored. Last, the commands for data of your own. A section that cannot be made says why.
    The page of a fine-tuned run has its scores on test beside the yardsticks, and what the predictions are like.

    It is a single file that loads nothing from elsewhere, for light and dark screens. What takes the model to compute
    is kept in RUN/report.json, so that the same page again takes seconds.
    """

    run: Positional[Path]
    """Run directory."""
    out: Path | None = None
    """X.html; by default RUN/report.html."""
    overwrite: bool = False
    """Replace an earlier page."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""
    page: OmitArgPrefixes[PageOptions] = field(default_factory=PageOptions)
    """The annotation, and how much is computed."""


def run(argv: list[str]) -> int:
    """Parse, write the page, print its path."""
    command = parse(PageCommand, argv, prog="dnar2mae report")
    from dnar2mae.report.page import write_page

    out = write_page(command.run, command.out, options=command.page, device=command.device, overwrite=command.overwrite)
    print(f"Wrote {out} ({out.stat().st_size / 1e6:.2f} MB): open it in a browser")
    return 0
