"""``dnar2mae plot``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from dnar2mae.cli.parse import parse_subcommand
from dnar2mae.tracks.options import TrackOptions, What


@dataclass(frozen=True, kw_only=True)
class Mutagenesis:
    """Every substitution in a region, as a sequence logo and a heat map.

    Example: dnar2mae plot mutagenesis runs/first --genome G.fa --region chr1:1000-1080 --out ism.png
    """

    model: Positional[Path]
    """Run directory, checkpoint, or exported folder."""
    genome: Path
    """Sequence file."""
    region: str
    """NAME:START-END, 0-based half-open, up to 1000 bp."""
    out: Path
    """PNG, SVG or PDF."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""

    def inputs(self) -> tuple[Path, ...]:
        """Return what is read."""
        return self.model, self.genome

    def draw(self) -> None:
        """Score and draw."""
        from dnar2mae.genome.store import Genome
        from dnar2mae.inference import Model
        from dnar2mae.plots import plot_mutagenesis
        from dnar2mae.variants import mutagenesis

        name, start, end = parse_region(self.region)
        model, genome = Model.from_pretrained(self.model, device=self.device), Genome.open(self.genome)
        scores = mutagenesis(model, genome, (name, start, end))
        plot_mutagenesis(scores, self.region, start, self.out)


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Embeddings in two dimensions, coloured by a column of their table.

    Example: dnar2mae plot embedding promoters.npy --label label --out map.png
    """

    embedding: Positional[Path]
    """X.npy, X.parquet or X.h5ad as dnar2mae embed wrote it."""
    out: Path
    """PNG, SVG or PDF."""
    label: str | None = None
    """Column to colour by."""
    method: Literal["pca", "umap"] = "pca"
    """umap needs the package umap-learn."""

    def inputs(self) -> tuple[Path, ...]:
        """Return what is read."""
        return (self.embedding,)

    def draw(self) -> None:
        """Read and draw."""
        from dnar2mae.errors import ConfigError
        from dnar2mae.plots import plot_embedding, read_embedding

        vectors, table = read_embedding(self.embedding)
        if self.label is not None and self.label not in table.columns:
            raise ConfigError(f"--label must be one of {', '.join(map(str, table.columns))}, got {self.label}")
        plot_embedding(vectors, table[self.label] if self.label else None, self.out, method=self.method)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Held-out loss of one or several runs by step and by mask ratio.

    Example: dnar2mae plot runs runs/r2mae runs/fixed15 --out laws.png
    """

    runs: Positional[tuple[Path, ...]]
    """Run directories."""
    out: Path
    """PNG, SVG or PDF."""

    def inputs(self) -> tuple[Path, ...]:
        """Return what is read."""
        return self.runs

    def draw(self) -> None:
        """Read and draw."""
        from dnar2mae.run.plot import plot_runs

        plot_runs(self.runs, self.out)


@dataclass(frozen=True, kw_only=True)
class RegionPlot:
    """A region as a genome browser shows it: tracks, gene models, and a logo of the predicted bases.

    Example: dnar2mae plot region runs/first --genome G.fa --region chr1:1000-1120 --genes G.gff3 --out region.svg
    """

    model: Positional[Path]
    """Run directory, checkpoint, or exported folder: a model of single bases."""
    genome: Path
    """Sequence file."""
    region: str
    """NAME:START-END, 0-based half-open, up to 1000 bp."""
    out: Path
    """PNG, SVG or PDF."""
    genes: Path | None = None
    """GFF3, GTF, BED, GenBank or EMBL file."""
    what: tuple[What, ...] = ("constraint",)
    """Tracks, as of dnar2mae tracks."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""

    def inputs(self) -> tuple[Path | None, ...]:
        """Return what is read."""
        return self.model, self.genome, self.genes

    def draw(self) -> None:
        """Predict and draw."""
        from dnar2mae.inference import Model
        from dnar2mae.tracks.region import plot_region

        region, options = parse_region(self.region), TrackOptions(genome=self.genome, what=self.what)
        plot_region(Model.from_pretrained(self.model, device=self.device), region, self.genes, self.out, options)


@dataclass(frozen=True, kw_only=True)
class DependencyPlot:
    """How much each substitution at i changes what is predicted at j, as a heat map.

    Example: dnar2mae plot dependency runs/first --genome G.fa --region chr1:1000-1080 --out dependency.png
    """

    model: Positional[Path]
    """Run directory, checkpoint, or exported folder: a model of single bases."""
    genome: Path
    """Sequence file."""
    region: str
    """NAME:START-END, 0-based half-open, up to 1000 bp and the length of a window; the time grows with its length."""
    out: Path
    """PNG, SVG or PDF."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first GPU, else the CPU."""

    def inputs(self) -> tuple[Path, ...]:
        """Return what is read."""
        return self.model, self.genome

    def draw(self) -> None:
        """Predict and draw."""
        from dnar2mae.inference import Model
        from dnar2mae.tracks.dependency import plot_dependency

        region, options = parse_region(self.region), TrackOptions(genome=self.genome)
        plot_dependency(Model.from_pretrained(self.model, device=self.device), region, self.out, options)


_COMMANDS = {
    "mutagenesis": Mutagenesis,
    "region": RegionPlot,
    "dependency": DependencyPlot,
    "embedding": Embedding,
    "runs": Runs,
}
_ABOUT = """Draw regions of a genome, mutagenesis and dependency maps, embeddings and runs.

Example: dnar2mae plot runs runs/r2mae runs/fixed15 --out laws.png"""


def run(argv: list[str]) -> int:
    """Parse, draw, print the name of the file."""
    command = parse_subcommand(_COMMANDS, argv, prog="dnar2mae plot", description=_ABOUT)
    from dnar2mae.storage.safe_files import refuse_inputs

    refuse_inputs(command.out, command.inputs())
    command.draw()
    print(f"Wrote {command.out}")
    return 0


def parse_region(region: str) -> tuple[str, int, int]:
    """Split NAME:START-END.

    Raises
    ------
    ConfigError
        If it is not that, empty, or longer than 1000 bp.
    """
    from dnar2mae.errors import ConfigError

    name, _, span = region.rpartition(":")
    start, _, end = span.replace(",", "").partition("-")
    if not (name and start.isdigit() and end.isdigit() and 0 < int(end) - int(start) <= 1000):
        raise ConfigError(f"--region must be NAME:START-END, 0-based half-open, 1 to 1000 bp, got {region}")
    return name, int(start), int(end)
