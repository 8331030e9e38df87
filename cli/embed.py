"""``dnar2mae embed``."""

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from dnar2mae.cli.parse import parse
from dnar2mae.modalities.dna.options import DnaEmbedOptions


@dataclass(frozen=True, kw_only=True)
class EmbedCommand:
    """Embed the sequences of a FASTA, GenBank, BED or CSV file with a trained model.

    Example: dnar2mae embed runs/first promoters.fa --out promoters.npy

    A run of another modality takes files of that modality: dnar2mae embed runs/cells new.h5ad --out embedded.h5ad
    adds obsm["X_dnar2mae"]. Of the options from --batch-tokens on, the others are for DNA only.
    """

    model: Positional[Path]
    """Run directory, checkpoint, or exported folder."""
    input: Positional[Path]
    """FASTA, GenBank or .2bit, BED (with --genome), or CSV/TSV with a column named sequence, plain or compressed;
    regions of a genome as genome.fa:chr1:1001-2000; an address (https://, s3://, gs://); or what the modality reads."""
    out: Path
    """X.npy (a row a sequence, described in X.tsv), X.parquet or X.h5ad."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""
    embedding: OmitArgPrefixes[DnaEmbedOptions] = field(default_factory=DnaEmbedOptions)
    """Windows, strands, layer and pooling."""


def run(argv: list[str]) -> int:
    """Parse, embed, print the number of rows."""
    command = parse(EmbedCommand, argv, prog="dnar2mae embed")
    from dnar2mae.inference import embed

    written = embed(command.model, command.input, command.out, device=command.device, options=command.embedding)
    print(f"Wrote {command.out}: {written.rows:,} rows of {written.width}, by {written.source}")
    return 0
