"""``dnar2mae embed``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from dnar2mae.cli.parse import parse


@dataclass(frozen=True, kw_only=True)
class EmbedCommand:
    """Embed the sequences of a FASTA, GenBank, BED or CSV file with a trained model.

    Example: dnar2mae embed runs/first promoters.fa --out promoters.npy

    A run on another kind of data takes what it was trained on: dnar2mae embed runs/cells new.h5ad --out new.h5ad adds
    obsm["X_dnar2mae"]. The options from --genome to --window-bp are for sequences.
    """

    model: Positional[Path]
    """Run directory, checkpoint, or ModernBERT folder."""
    input: Positional[Path]
    """FASTA or GenBank, BED (with --genome), or CSV/TSV with a column named sequence; plain or gzip. Or cells, ...."""
    out: Path
    """X.npy (a row a sequence, described in X.tsv), X.parquet or X.h5ad."""
    genome: Path | None = None
    """Sequence file that a BED input refers to."""
    tile_bp: int | None = None
    """Cut FASTA or GenBank sequences into tiles of this length, each its own row."""
    pool: Literal["mean", "max", "none"] = "mean"
    """Over a sequence's known tokens; none writes a row a token (.npy only)."""
    layer: int = -1
    """-1: after the final norm; i: the output of layer i; 0: the token embedding."""
    both_strands: bool = False
    """Average with the reverse complement."""
    window_bp: int | None = None
    """Longest stretch encoded at once; longer sequences are cut. By default the length of the training windows."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""


def run(argv: list[str]) -> int:
    """Parse, embed, say what was written."""
    command = parse(EmbedCommand, argv, prog="dnar2mae embed")
    from dnar2mae.inference import EmbedOptions, embed

    shared = {name: getattr(command, name) for name in ("pool", "layer", "both_strands", "window_bp")}
    written = embed(
        command.model,
        command.input,
        command.out,
        device=command.device,
        options=EmbedOptions(**shared),
        genome=command.genome,
        tile_bp=command.tile_bp,
    )
    print(f"Wrote {command.out}: {written.rows:,} rows of {written.width}, by {written.source}")
    return 0
