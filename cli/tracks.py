"""``dnar2mae tracks``."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse
from dnar2mae.tracks.options import TrackOptions


@dataclass(frozen=True, kw_only=True)
class TracksCommand:
    """Write what a model predicts of every base of a genome where that base is masked, for a genome browser.

    Example: dnar2mae tracks runs/first --genome G.fa --what constraint entropy --out G.bw

    Every 7th base is masked at once, in 7 passes, so that each is masked once. The same call goes on where one was
    killed. Unknown bases have no value; a sequence shorter than a window is a window of its own.
    """

    model: Positional[Path]
    """Run directory, checkpoint, or exported folder: a model of single bases."""
    out: Path
    """X.bw (needs pip install 'dnar2mae[tracks]') or X.bedgraph; of several --what X.NAME.bw each."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""
    json: bool = False
    """Print the counts, means and files as JSON, and all else on stderr."""
    options: OmitArgPrefixes[TrackOptions]
    """Which bases, what is shown of them."""


def run(argv: list[str]) -> int:
    """Parse, predict, write, print the rate."""
    command = parse(TracksCommand, argv, prog="dnar2mae tracks")
    from dnar2mae.inference import Model
    from dnar2mae.tracks.write import files_of, tracks

    files_of(command.out, command.options)
    with json_at_end(command.json) as hand_over:
        written = tracks(Model.from_pretrained(command.model, device=command.device), command.out, command.options)
        print(*written.lines(), sep="\n")
        hand_over(written)
    return 0
