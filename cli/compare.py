"""``dnar2mae compare``."""

import itertools
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Generic, Literal

import tyro
from tyro.conf import arg

from dnar2mae.cli.parse import parse
from dnar2mae.cli.starting_point import starting_config, warn_ignored
from dnar2mae.config import Data, PretrainConfig
from dnar2mae.errors import ConfigError
from dnar2mae.storage.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class CompareLawsCommand(Generic[Data]):
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
    budget_tokens: int | None = None
    """Tokens that every run trains on; by default --steps decides."""
    equal: Literal["steps", "encoder-tokens"] = "steps"
    """steps: as many steps for all. encoder-tokens, under --model.objective mae: as many tokens through the encoder,
    so that laws that mask less take fewer steps."""
    workers: int = 1
    """Runs at the same time, each with a share of the cores."""
    suite: Path | None = None
    """Also probe every run on this benchmark suite (see dnar2mae benchmark build)."""
    variants: Path | None = None
    """Also score these variants (VCF, needs --variants-genome) and tell apart 1 and 0 of --variants-field."""
    variants_genome: Path | None = None
    """Sequence file that --variants refers to."""
    variants_field: str = "CLASS"
    """INFO field of --variants: 1 for variants expected to score low, 0 for the others."""
    preset: Literal["tiny", "small", "base", "large"] = "tiny"
    """As for pretrain."""
    config: Path | None = None
    """YAML file of settings."""
    run: Annotated[PretrainConfig[Data], arg(name="")]
    """Settings of every run."""


def run(argv: list[str]) -> int:
    """Parse, compare, print the report."""
    config, out = starting_config(argv)
    default = replace(CompareLawsCommand(out=Path(), run=config), out=tyro.MISSING if out is None else Path(out))
    command_type: Any = CompareLawsCommand[type(config.data)]  # type: ignore[misc]
    command = parse(command_type, argv, default=default, prog="dnar2mae compare")
    from dnar2mae.laboratory import CompareOptions, LabelledVariants, compare, parse_mask

    asked, before = command.run.mask, config.mask
    if replace(asked, replace=before.replace) != before:
        raise ConfigError("--mask: the masks are set by --laws, as in --laws uniform:0.05,0.5/sample/spans:3")
    warn_ignored(command.run, command.preset)
    seeds = tuple(range(command.seeds[0])) if len(command.seeds) == 1 else command.seeds
    variants = None
    if command.variants:
        if command.variants_genome is None:
            raise ConfigError("--variants needs --variants-genome, the sequence file that it refers to")
        variants = LabelledVariants(vcf=command.variants, genome=command.variants_genome, field=command.variants_field)
    options = CompareOptions(
        seeds=seeds,
        budget_tokens=command.budget_tokens,
        equal=command.equal,
        num_workers=command.workers,
        suite=command.suite,
        variants=variants,
    )
    laws = [parse_mask(text, asked) for text in command.laws]
    with progress_bar("runs", None, at_once=True) as bar:
        done = itertools.count(1)

        def planned(cells: Any, added: Any) -> None:
            bar(0, total=len(cells))
            bar.say(f"{len(cells)} runs of {cells[0].config.steps:,} steps; output of each in runs/*/seed-*.log")
            if added:
                bar.say(f"added, the fixed ratio at a law's mean: {', '.join(law.name for law in added)}")

        def advance(cell: Any) -> None:
            bar(next(done))
            bar.say(f"finished: {cell.name}")

        comparison = compare(command.run, laws, command.out, options, planned=planned, advance=advance)
    if not comparison.finished:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    print((command.out / "report.md").read_text())
    print(f"Wrote compare.csv, report.md and compare.png in {command.out}")
    return 0
