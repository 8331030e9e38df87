"""From a configuration to chromosomes and their annotation, and to files."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN, complement, decode
from dnar2mae.genome.simulate.background import background
from dnar2mae.genome.simulate.config import SimulateConfig
from dnar2mae.genome.simulate.draws import Draws
from dnar2mae.genome.simulate.features import Feature
from dnar2mae.genome.simulate.genes import INTRON_ENDS_BP, draw_gene, plant_gene, plant_tf_site
from dnar2mae.genome.simulate.repeats import draw_consensus, plant_repeats
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.safe_files import written_whole

if TYPE_CHECKING:
    import pandas as pd

GAP_BP = (100, 1000)
_MAX_TRIES = 1000  # for a gap
FASTA_WIDTH = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedGenome:
    """Sequences and the annotation of all that was planted in them."""

    config: SimulateConfig
    """Its settings."""
    sequences: dict[str, str]
    """Chromosome name to sequence; lower case is a repeat, N an assembly gap."""
    features: "pd.DataFrame"
    """One row a feature: chrom, start, end (0-based half-open), strand, type, id, parent, name, phase."""

    def write(self, fasta_path: str | Path, gff_path: str | Path, overwrite: bool = False) -> None:
        """Write FASTA and GFF3; each file appears whole or not at all.

        Parameters
        ----------
        fasta_path, gff_path
            Where to; missing folders are made.
        overwrite
            Replace files that exist.

        Raises
        ------
        ConfigError
            When a file exists and ``overwrite`` is False.
        """
        write_lines({Path(fasta_path): self._fasta(), Path(gff_path): self._gff3()}, overwrite)

    def _fasta(self) -> Iterable[str]:
        for name, sequence in self.sequences.items():
            yield f">{name}\n"
            for start in range(0, len(sequence), FASTA_WIDTH):
                yield sequence[start : start + FASTA_WIDTH] + "\n"

    def _gff3(self) -> Iterable[str]:
        yield "##gff-version 3\n"
        for name, sequence in self.sequences.items():
            yield f"##sequence-region {name} 1 {len(sequence)}\n"
        flags = (f"--{key.replace('_', '-')} {value}" for key, value in asdict(self.config).items())
        yield f"# dnar2mae simulate {' '.join(flags)}\n"
        for chrom, *values, phase in self.features.fillna({"phase": -1}).itertuples(index=False, name=None):
            yield Feature._make([*values, None if phase < 0 else phase]).gff3(chrom)


def write_lines(targets: Mapping[Path, Iterable[str]], overwrite: bool = False) -> None:
    """Write lines to files; each file appears whole or not at all.

    Raises
    ------
    ConfigError
        When a file exists and ``overwrite`` is False.
    """
    refuse_existing(targets, overwrite)
    # no file is replaced before all are written
    with ExitStack() as stack:
        for path, lines in targets.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with stack.enter_context(written_whole(path)).open("w", encoding="ascii", newline="\n") as file:
                file.writelines(lines)


def refuse_existing(paths: Iterable[Path], overwrite: bool) -> None:
    """Raise an error where a file would be overwritten.

    Raises
    ------
    ConfigError
        When one of the paths exists and ``overwrite`` is False.
    """
    for path in paths:
        if path.exists() and not overwrite:
            raise ConfigError(f"--out must not name an existing file without --overwrite, got {path}")


def simulate(config: SimulateConfig) -> SimulatedGenome:
    """Simulate a genome; a pure function of its configuration.

    Shows a progress bar on a terminal's stderr.

    Parameters
    ----------
    config
        Size, composition and seed.

    Returns
    -------
    SimulatedGenome
        Chromosomes chr1, chr2, ... and features in the order of chromosome and start, parents first.

    Raises
    ------
    ConfigError
        When repeats or gaps find no room beside the genes.
    """
    import pandas as pd

    consensus = draw_consensus(Draws(config.seed, 0))
    sequences: dict[str, str] = {}
    rows: list[tuple[str | int | None, ...]] = []
    done_bp = 0
    with progress_bar("Simulating", config.length_bp) as update:
        for number, length_bp in enumerate(config.chromosome_lengths(), 1):
            chrom = f"chr{number}"
            sequences[chrom], features = _chromosome(config, consensus, number, length_bp)
            rows += [(chrom, *feature) for feature in features]
            done_bp += length_bp
            update(done_bp)
    table = pd.DataFrame(rows, columns=["chrom", *Feature._fields])
    table = table.astype({"start": "int64", "end": "int64", "phase": "Int8"})
    return SimulatedGenome(config=config, sequences=sequences, features=table)


def _chromosome(
    config: SimulateConfig, consensus: dict[str, np.ndarray], number: int, length_bp: int
) -> tuple[str, list[Feature]]:
    """Write background, then genes, gaps and repeats, each only where nothing was planted before."""
    draws = Draws(config.seed, number)
    codes = background(draws, length_bp, config.gc)
    taken = np.zeros(length_bp, dtype=bool)
    features = _plant_genes(config, codes, taken, draws, f"chr{number}")
    gaps = _plant_gaps(codes, taken, draws, round(config.gaps_per_mb * length_bp / 1e6))
    repeats = plant_repeats(codes, taken, consensus, draws, config.repeat_share)
    features += _plant_sites(codes, taken, draws, round(config.sites_per_mb * length_bp / 1e6), f"chr{number}")
    for repeat in repeats:
        codes[repeat.start : repeat.end] |= SOFT_MASK
    for kind, unnamed in (("gap", gaps), ("repeat", repeats)):
        for index, feature in enumerate(sorted(unnamed), 1):
            features.append(feature._replace(id=f"chr{number}.{kind}{index:05d}"))
    features.sort(key=lambda feature: (feature.start, -feature.end))
    return decode(codes), features


def _plant_genes(
    config: SimulateConfig, codes: np.ndarray, taken: np.ndarray, draws: Draws, chrom: str
) -> list[Feature]:
    """Plant one gene in each of equal slots, none of which the longest gene could overfill."""
    features: list[Feature] = []
    num_genes = int(config.genes_per_mb * len(codes) / 1e6)
    for index in range(num_genes):
        slot_start, slot_end = (len(codes) * i // num_genes for i in (index, index + 1))
        gene = draw_gene(draws, config.max_introns)
        strand = "+-"[draws.integer(0, 2)]
        start = draws.integer(slot_start, slot_end - gene.span_bp + 1)
        end = start + gene.span_bp
        canvas = codes[start:end].copy() if strand == "+" else complement(codes[start:end][::-1])
        island = draws.unit() < config.cpg_island_share
        planted = plant_gene(canvas, gene, draws, f"{chrom}.gene{index + 1:05d}", island)
        codes[start:end] = canvas if strand == "+" else complement(canvas[::-1])
        placed = [feature.on_chromosome(start, gene.span_bp, strand) for feature in planted]
        taken[start:end] = True
        donor_bp, acceptor_bp = INTRON_ENDS_BP if strand == "+" else INTRON_ENDS_BP[::-1]
        # repeats may be planted in introns, away from their splicing signals
        for intron in placed:
            if intron.type == "intron":
                taken[intron.start + donor_bp : intron.end - acceptor_bp] = False
        features += placed
    return features


def _plant_sites(codes: np.ndarray, taken: np.ndarray, draws: Draws, num_sites: int, chrom: str) -> list[Feature]:
    """Plant a binding site in each of equal slots in which nothing was planted before."""
    edges = [len(codes) * i // num_sites for i in range(num_sites + 1)] if num_sites else []
    free = [slot for slot in pairwise(edges) if not taken[slice(*slot)].any()]
    return [plant_tf_site(codes, draws, slot, f"{chrom}.site{i:05d}") for i, slot in enumerate(free, 1)]


def _plant_gaps(codes: np.ndarray, taken: np.ndarray, draws: Draws, num_gaps: int) -> list[Feature]:
    features: list[Feature] = []
    for _ in range(_MAX_TRIES * num_gaps):
        if len(features) == num_gaps:
            break
        start = draws.integer(0, len(codes) - GAP_BP[1])
        end = start + draws.length(*GAP_BP)
        if not taken[start:end].any():
            codes[start:end], taken[start:end] = UNKNOWN, True
            features.append(Feature(start, end, ".", "gap", ""))
    if len(features) < num_gaps:
        raise ConfigError(f"--gaps-per-mb must leave room beside the genes: {len(features)} of {num_gaps} gaps fit")
    return features
