"""``dnar2mae likelihood``."""

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse
from dnar2mae.density.options import LikelihoodOptions


@dataclass(frozen=True, kw_only=True)
class LikelihoodCommand:
    """Count the bits that a model needs for bases it was not trained on: exactly, and at most.

    Example: dnar2mae likelihood runs/first --out bits.tsv

    By the chain rule one base after the other, from left to right or in a random order: exact for that order. --bound 8
    adds the upper bound of the run's report for the same windows, and --order none --bound 8 --num-windows 0 computes
    only that, over all held-out bases. Beside them stands the best one-sided Markov model fitted on the training bases.

    dnar2mae likelihood runs/first --genome other.fa --bed genes.bed --track bits.bedgraph --out bits.tsv
    """

    model: Positional[Path]
    """Run directory, checkpoint, or exported folder."""
    out: Path
    """X.tsv or X.csv: a row a window, with its bits."""
    track: Path | None = None
    """X.bedgraph, or X.tsv with the strand: the bits of every base."""
    json: bool = False
    """Print the totals as JSON, and all else on stderr."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""
    likelihood: OmitArgPrefixes[LikelihoodOptions] = field(default_factory=LikelihoodOptions)
    """Which bases, which order."""


def run(argv: list[str]) -> int:
    """Parse, score, write the table, print the totals."""
    command = parse(LikelihoodCommand, argv, prog="dnar2mae likelihood")
    from dnar2mae.density.likelihood import check_outputs, check_track, likelihood, write_likelihood
    from dnar2mae.inference import load

    check_outputs(command.out, command.track, command.likelihood)
    trained = load(command.model, device=command.device)
    if command.track is not None:
        check_track(trained, command.likelihood)
    report = likelihood(trained, command.likelihood, progress=True)
    write_likelihood(report, command.out, command.track)
    with json_at_end(command.json) as hand_over:
        print(*report.lines(), f"Wrote {command.out}", sep="\n")
        hand_over(report.totals)
    return 0
