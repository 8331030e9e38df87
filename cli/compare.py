"""``dnar2mae compare``."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.starting_point import StartingPoint, parse_settings, warn_ignored
from dnar2mae.config import Data
from dnar2mae.errors import ConfigError
from dnar2mae.laboratory.plan import CompareOptions
from dnar2mae.storage.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class CompareLawsCommand(StartingPoint[Data]):
    """Compare mask laws: the same model, windows and budget under each, with several seeds.

    Example: dnar2mae compare genome.fa.gz --laws fixed:0.15 uniform:0.05,0.5 --seeds 5 --out labs/first

    A law is fixed:P, uniform:LOW,HIGH, choice:P,P,..., linear:FIRST,LAST or cosine:FIRST,LAST; then any of
    /sample (a ratio for each sample instead of each batch), /spans:MEAN (contiguous spans of geometric length),
    /pmi:LENGTH (DNA words of high pointwise mutual information), /token (loss weighted by token, not by batch), as in
    uniform:0.05,0.5/sample/spans:3. The fixed ratio at the mean of every law that varies is added: a gain over 15 %
    alone may be no more than a higher mean.

    Runs of one seed share windows, strands and initial weights. All are judged on the same held-out masks at ratios
    0.05 to 0.7; the report has paired differences with intervals over seeds. Given again, the command goes on where
    it stopped; more laws or seeds may be added. All other flags are those of dnar2mae pretrain.
    """

    out: Path
    """Folder for runs/, compare.csv (a row a run and measurement), report.md and compare.png."""
    laws: tuple[str, ...] = ()
    """Laws to compare, such as uniform:0.05,0.5 and fixed:0.15/spans:3."""
    seeds: tuple[int, ...] = (5,)
    """One number: so many seeds, from 0 on. Several numbers: these seeds."""
    options: Annotated[CompareOptions, arg(name="")] = CompareOptions()
    """Budget and evaluation."""
    json: bool = False
    """Print the rows of compare.csv as JSON, and all else on stderr."""


def run(argv: list[str]) -> int:
    """Parse, compare, print the report."""
    command, config = parse_settings(CompareLawsCommand, argv, prog="dnar2mae compare")
    from dnar2mae.laboratory.compare import compare
    from dnar2mae.laboratory.plan import parse_mask

    asked, before = command.run.mask, config.mask
    if replace(asked, replace=before.replace) != before:
        raise ConfigError("--mask: the masks are set by --laws, as in --laws uniform:0.05,0.5/sample/spans:3")
    warn_ignored(command.run, command.preset)
    seeds = tuple(range(command.seeds[0])) if len(command.seeds) == 1 else command.seeds
    options = replace(command.options, seeds=seeds)
    laws = [parse_mask(text, asked) for text in command.laws]
    with progress_bar("runs", None, at_once=True) as bar:

        def planned(cells: Any, added: Any) -> None:
            bar(0, total=len(cells))
            bar.say(f"{len(cells)} runs of {cells[0].config.steps:,} steps; output of each in runs/*/seed-*.log")
            if added:
                bar.say(f"added, the fixed ratio at a law's mean: {', '.join(law.name for law in added)}")

        def advance(cell: Any) -> None:
            bar.advance()
            bar.say(f"finished: {cell.name}")

        comparison = compare(command.run, laws, command.out, options, planned=planned, advance=advance)
    if not comparison.finished:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    with json_at_end(command.json) as hand_over:
        print((command.out / "report.md").read_text())
        print(f"Wrote compare.csv, report.md and compare.png in {command.out}")
        assert comparison.table is not None
        hand_over(comparison.table.to_dict("records"))
    return 0
