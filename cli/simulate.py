"""``dnar2mae simulate``: write a simulated genome and its annotation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro import MISSING
from tyro.conf import arg

from dnar2mae.cli.parse import parse
from dnar2mae.genome.simulate.config import SimulateConfig, dense


@dataclass(frozen=True, kw_only=True)
class SimulateCommand:
    """Write a simulated genome with planted, annotated genes, regulatory sites and repeats.

    Example: dnar2mae simulate --out sim --length-bp 4000000 --variants 3000

    Example: dnar2mae simulate --out sim --dense
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


def run(argv: list[str]) -> int:
    """Parse flags, simulate, write the files, print a summary."""
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
