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
    Example: dnar2mae compare --grid quick --data-dir data --workers 2 --out labs/quick

    A law is fixed:P, uniform:LOW,HIGH, choice:P,P,..., linear:FIRST,LAST or cosine:FIRST,LAST; then any of
    /sample (a ratio for each sample instead of each batch), /spans:MEAN (contiguous spans of geometric length),
    /pmi:LENGTH (DNA words of high pointwise mutual information), /token (loss weighted by token, not by batch), as in
    uniform:0.05,0.5/sample/spans:3. The fixed ratio at the mean of every law that varies is added: a gain over 15 %
    alone may be no more than a higher mean.

    Runs of one seed share windows, strands and initial weights. All are judged on the same held-out masks at ratios
    0.05 to 0.95 and by the area under that curve; the report has the regret of each law and paired differences with
    intervals over seeds. Given again, the command goes on where it stopped; more laws or seeds may be added. All other
    flags are those of dnar2mae pretrain.

    A grid (--grid) declares settings (data and a model), laws, learning rates and seeds in a file; see
    docs/laboratory.md. Beside it --data-dir, --workers, --dry-run and --device are used.
    """

    out: Path
    """Folder for runs/, compare.csv (a row a run and measurement), regret.csv, report.md and compare.png."""
    grid: str | None = None
    """A grid: quick, paper, or a YAML file."""
    data_dir: Path = Path()
    """Folder of the files that the grid names."""
    advice: bool = False
    """Compare the law that dnar2mae covariance suggests for your data with fixed ratios, each at the best of three
    learning rates, and say whether it holds; without --laws."""
    dry_run: bool = False
    """Print the number of runs, their tokens and the hours of training that a few timed steps promise."""
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
    from dnar2mae.laboratory.advice import verdict
    from dnar2mae.laboratory.compare import Progress, run_grid
    from dnar2mae.laboratory.cost import describe_cost

    seeds = tuple(range(command.seeds[0])) if len(command.seeds) == 1 else command.seeds
    options = replace(command.options, seeds=seeds)
    grid, advised = _grid(command, config, options)
    if command.dry_run:
        for line in describe_cost(grid, command.out, options):
            print(line, flush=True)
        return 0
    with progress_bar("runs", None, at_once=True) as bar:

        def planned(cells: Any, added: Any) -> None:
            bar(0, total=len(cells))
            steps = " to ".join(f"{number:,}" for number in sorted({cell.config.steps for cell in cells}))
            bar.say(f"{len(cells)} runs of {steps} steps; output of each beside its folder, in seed-*.log")
            if added:
                bar.say(f"added, the fixed ratio at a law's mean: {', '.join(law.name for law in added)}")

        def advance(cell: Any) -> None:
            bar.advance()
            bar.say(f"finished: {cell.name}")

        def failed(cell: Any, error: str) -> None:
            bar.advance()
            bar.say(f"failed: {cell.name}: {error}; see {cell.log}")

        comparison = run_grid(grid, command.out, options, Progress(planned=planned, advance=advance, failed=failed))
    if not comparison.finished:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    assert comparison.table is not None
    with json_at_end(command.json) as hand_over:
        print((command.out / "report.md").read_text())
        if advised:
            print(verdict(comparison.table, advised))
        print(f"Wrote compare.csv, regret.csv, report.md and compare.png in {command.out}")
        hand_over(comparison.table.to_dict("records"))
    return 1 if comparison.failed else 0


def _grid(command: Any, config: Any, options: CompareOptions) -> tuple[Any, str]:
    """Return what to compare, and the name of the law that is suggested, if that is asked for."""
    from dnar2mae.laboratory.advice import advised_grid
    from dnar2mae.laboratory.grid import grid_of_run, load_grid
    from dnar2mae.laboratory.plan import parse_mask

    if command.grid:
        others = replace(command.run, device=config.device) != config or command.laws or command.advice
        if others or replace(options, num_workers=1) != CompareOptions():
            raise ConfigError(
                "--grid has its own laws, seeds and settings: only --data-dir, --device, --workers go with it"
            )
        return load_grid(command.grid, command.data_dir, device=command.run.device), ""
    asked, before = command.run.mask, config.mask
    if replace(asked, replace=before.replace) != before:
        raise ConfigError("--mask: the masks are set by --laws, as in --laws uniform:0.05,0.5/sample/spans:3")
    if command.data_dir != Path():
        raise ConfigError("--data-dir has the files of a --grid")
    warn_ignored(command.run, command.preset)
    if command.advice:
        if command.laws:
            raise ConfigError("--advice has its own laws; leave --laws out")
        return advised_grid(command.run, options.seeds)
    return grid_of_run(command.run, [parse_mask(text, asked) for text in command.laws], options.seeds), ""
