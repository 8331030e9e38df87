"""``dnar2mae tracks``."""

from dataclasses import asdict, dataclass
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse
from dnar2mae.tracks.options import TrackOptions


@dataclass(frozen=True, kw_only=True)
class TracksCommand:
    """Write what a model predicts of every base of a genome where that base is masked, for a genome browser.

    Example: dnar2mae tracks runs/first --genome G.fa --what constraint entropy --out G.bw

    Every 8th base is masked at once, in 8 passes, so that each is masked once. The same call goes on where one was
    killed. Unknown bases have no value; a sequence shorter than a window is a window of its own.
    """

    model: Positional[Path]
    """Run directory, checkpoint, or exported folder: a model of single bases."""
    out: Path
    """X.bw (needs pip install 'dnar2mae[tracks]') or X.bedgraph; of several --what X.NAME.bw each."""
    summary: Path | None = None
    """GFF3, GTF, GenBank, EMBL or BED file: means over codon positions, start and stop codons, untranslated parts,
    splice sites, 100 bp upstream of genes, and between genes, with 95 % block-bootstrap intervals."""
    out_summary: Path | None = None
    """Table of --summary, X.csv, with a plot beside it, X.png; by default --out with .summary.csv for its suffix."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""
    json: bool = False
    """Print the counts, means and files as JSON, and all else on stderr."""
    track: OmitArgPrefixes[TrackOptions]
    """Which bases, what is shown of them."""


def run(argv: list[str]) -> int:
    """Parse, predict, write, print the rate and the summary."""
    command = parse(TracksCommand, argv, prog="dnar2mae tracks")
    from dnar2mae.inference import Model
    from dnar2mae.tracks.summary import SummaryOf
    from dnar2mae.tracks.write import tracks

    summary = SummaryOf.prepared(command.summary, command.out_summary, command.out, command.track.genome)
    with json_at_end(command.json) as hand_over:
        written = tracks(Model.from_pretrained(command.model, device=command.device), command.out, command.track)
        print(*written.lines(), sep="\n")
        table = summary.write(written.files) if summary else None
        hand_over(asdict(written) | ({"summary": table.to_dict("records")} if table is not None else {}))
    return 0
