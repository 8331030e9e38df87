"""``dnar2mae simulate``: write a simulated genome and its annotation."""

from pathlib import Path
from typing import Annotated

import tyro

from dnar2mae.cli.parse import parse
from dnar2mae.genome.simulate.config import SimulateConfig


def run(argv: list[str]) -> int:
    """Parse flags, simulate, write PREFIX.fa and PREFIX.gff3, print a summary."""
    return parse(_simulate, argv, prog="dnar2mae simulate")


def _simulate(out: str, config: Annotated[SimulateConfig, tyro.conf.arg(name="")], overwrite: bool = False) -> int:
    """Write a simulated genome with planted, annotated genes, regulatory sites and repeats.

    Args:
        out: Prefix of the files to write: PREFIX.fa and PREFIX.gff3.
        config: Size and composition of the genome.
        overwrite: Replace files that exist.
    """
    from rich.console import Console

    from dnar2mae.genome.simulate.genome import refuse_existing, simulate

    fasta, gff = Path(f"{out}.fa"), Path(f"{out}.gff3")
    refuse_existing((fasta, gff), overwrite)
    genome = simulate(config)
    genome.write(fasta, gff, overwrite)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    sizes = ", ".join(f"{name} {len(sequence):,}" for name, sequence in genome.sequences.items())
    console.print(f"Sequences (bp): {sizes}")
    counts = genome.features["type"].value_counts()
    console.print("Features: " + ", ".join(f"{count:,} {kind}" for kind, count in counts.items()))
    console.print(f"Wrote {fasta} and {gff}")
    console.print(f"Next: dnar2mae pretrain {fasta} --out runs/{fasta.stem}")
    return 0
