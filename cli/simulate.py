"""``dnar2mae simulate``: write a simulated genome and its annotation, or sequences with labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro import MISSING
from tyro.conf import arg

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse
from dnar2mae.errors import require
from dnar2mae.genome.simulate.config import LabelsConfig, SimulateConfig, dense

PARTS = ("labels",)
"""Commands below this one, for their completion."""


@dataclass(frozen=True, kw_only=True)
class SimulateCommand:
    """Write a simulated genome with planted, annotated genes, regulatory sites and repeats.

    Example: dnar2mae simulate --out sim --length-bp 4000000 --variants 3000

    Example: dnar2mae simulate --out sim --dense

    Sequences with labels whose true function is known: dnar2mae simulate labels --help
    """

    out: str
    """Prefix of the files to write: PREFIX.fa, PREFIX.gff3 and, with --sites-per-mb, PREFIX.meme."""
    dense: Annotated[bool, arg(name="dense")] = False
    """Other defaults: 1 Mb of binding sites alone, one in 45 bp, of 8 weight matrices, and 500 pairs of variants."""
    config: Annotated[SimulateConfig, arg(name="")] = SimulateConfig()
    """Size and composition of the genome."""
    variants: int = 0
    """Also write PREFIX.vcf: so many variants that break a planted motif (INFO PLANTED=1) and as many neutral ones that
    match them (PLANTED=0)."""
    overwrite: bool = False
    """Replace files that exist."""


@dataclass(frozen=True, kw_only=True)
class LabelsCommand:
    """Write a table of sequences with labels whose true function is known.

    Example: dnar2mae simulate labels --kind numbers --out numbers.csv

    Three words decide, on either strand: the number of GATAAG (at most 3), whether TGACGTCA and CCGGAAGT are spaced by
    5 to 15 bases, and how central the CACGTG nearest the centre is (1 there, 0 at an end or without one).

    value is 0.5 number + 1.5 spaced + 1.5 central + noise. The labels counted, spaced and centred are 1 with the
    probabilities 0.05 + 0.3 number, 0.1 + 0.8 spaced and 0.1 + 0.8 central. The columns truth and truth_LABEL are no
    input: they are that expectation, which the best of all models would predict. What it scores on the test rows is
    printed: the noise ceiling.
    """

    out: Path
    """Table to write: .csv."""
    config: Annotated[LabelsConfig, arg(name="")] = LabelsConfig()
    """Kind and size of the table."""
    overwrite: bool = False
    """Replace a file that exists."""
    json: bool = False
    """Print the noise ceiling as JSON, and all else on stderr."""

    def run(self) -> int:
        """Simulate, write, print the noise ceiling."""
        from dnar2mae.genome.simulate.genome import refuse_existing
        from dnar2mae.genome.simulate.labels import simulate_labels
        from dnar2mae.storage.safe_files import output_file

        require(self.out.suffix == ".csv", "out", "a name that ends in .csv", self.out)
        refuse_existing([self.out], self.overwrite)
        simulated = simulate_labels(self.config)
        with output_file(self.out) as partial:
            simulated.table.to_csv(partial, index=False)
        with json_at_end(self.json) as hand_over:
            counts = simulated.table["split"].value_counts()
            print(f"Wrote {self.out}: " + ", ".join(f"{counts[split]:,} {split}" for split in ("train", "dev", "test")))
            for name, value in simulated.ceiling.items():
                print(f"Noise ceiling, test rows: {name} {value:.4f}")
            hand_over({"out": self.out, "ceiling": simulated.ceiling})
        return 0


def run(argv: list[str]) -> int:
    """Parse flags, simulate, write the files, print a summary."""
    if argv[:1] == ["labels"]:
        return parse(LabelsCommand, argv[1:], prog="dnar2mae simulate labels").run()
    default = SimulateCommand(out=MISSING)
    # the last of both counts, as for every flag
    if [flag for flag in argv if flag in ("--dense", "--no-dense")][-1:] == ["--dense"]:
        default = SimulateCommand(out=MISSING, dense=True, config=dense(), variants=500)
    command = parse(SimulateCommand, argv, prog="dnar2mae simulate", default=default)
    from rich.console import Console

    from dnar2mae.genome.simulate.genome import refuse_existing, simulate, write_lines
    from dnar2mae.genome.simulate.signals import tf_motifs
    from dnar2mae.genome.simulate.variants import planted_variants, vcf_lines

    fasta, gff, vcf, meme = (Path(f"{command.out}.{suffix}") for suffix in ("fa", "gff3", "vcf", "meme"))
    written = [fasta, gff] + [vcf] * (command.variants > 0) + [meme] * (command.config.sites_per_mb > 0)
    refuse_existing(written, command.overwrite)
    genome = simulate(command.config)
    planted = planted_variants(genome, command.variants)
    lines = {vcf: vcf_lines(genome, planted), meme: tf_motifs(command.config.gc).lines()}
    genome.write(fasta, gff, command.overwrite)
    write_lines({path: of_file for path, of_file in lines.items() if path in written}, command.overwrite)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    sizes = ", ".join(f"{name} {len(sequence):,}" for name, sequence in genome.sequences.items())
    console.print(f"Sequences (bp): {sizes}")
    counts = genome.features["type"].value_counts()
    console.print("Features: " + ", ".join(f"{count:,} {kind}" for kind, count in counts.items()))
    pairs = f": {command.variants:,} pairs of variants" if command.variants else ""
    console.print(f"Wrote {', '.join(map(str, written))}{pairs}")
    console.print(f"Next: dnar2mae pretrain {fasta} --out runs/{fasta.stem}")
    return 0
