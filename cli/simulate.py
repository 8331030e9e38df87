"""``dnar2mae simulate``: write a simulated genome and its annotation."""

from pathlib import Path
from typing import Annotated

import tyro

from dnar2mae.cli.parse import parse
from dnar2mae.genome.simulate.config import SimulateConfig


def run(argv: list[str]) -> int:
    """Parse flags, simulate, write PREFIX.fa and PREFIX.gff3, print a summary."""
    return parse(_simulate, argv, prog="dnar2mae simulate")


def _simulate(
    out: str, config: Annotated[SimulateConfig, tyro.conf.arg(name="")], variants: int = 0, overwrite: bool = False
) -> int:
    """Write a simulated genome with planted, annotated genes, regulatory sites and repeats.

    Example: dnar2mae simulate --out sim --length-bp 4000000 --variants 3000

    Args:
        out: Prefix of the files to write: PREFIX.fa and PREFIX.gff3.
        config: Size and composition of the genome.
        variants: Also write PREFIX.vcf: so many variants that break a planted motif (INFO PLANTED=1) and as many
            neutral ones that match them (PLANTED=0).
        overwrite: Replace files that exist.
    """
    from rich.console import Console

    from dnar2mae.genome.simulate.genome import refuse_existing, simulate, write_lines
    from dnar2mae.genome.simulate.variants import planted_variants, vcf_lines

    fasta, gff, vcf = (Path(f"{out}.{suffix}") for suffix in ("fa", "gff3", "vcf"))
    refuse_existing((fasta, gff, vcf) if variants else (fasta, gff), overwrite)
    genome = simulate(config)
    planted = planted_variants(genome, variants) if variants else []
    genome.write(fasta, gff, overwrite)
    if variants:
        write_lines({vcf: vcf_lines(genome, planted)}, overwrite)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    sizes = ", ".join(f"{name} {len(sequence):,}" for name, sequence in genome.sequences.items())
    console.print(f"Sequences (bp): {sizes}")
    counts = genome.features["type"].value_counts()
    console.print("Features: " + ", ".join(f"{count:,} {kind}" for kind, count in counts.items()))
    console.print(f"Wrote {fasta} and {gff}" + (f" and {vcf}: {variants:,} pairs of variants" if variants else ""))
    console.print(f"Next: dnar2mae pretrain {fasta} --out runs/{fasta.stem}")
    return 0
