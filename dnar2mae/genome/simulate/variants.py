"""Variants that break planted motifs, and matched neutral ones: a check of variant scores whose answer is known."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import UNKNOWN, encode
from dnar2mae.genome.motifs import breaking
from dnar2mae.genome.simulate import signals
from dnar2mae.genome.simulate.draws import Draws
from dnar2mae.genome.simulate.genes import INTRON_ENDS_BP
from dnar2mae.genome.simulate.genome import SimulatedGenome

# no chromosome has this number, so its stream is not used yet
_STREAM = 2**32
_CLEARANCE_BP = 10
_MOTIFS = {
    "TATA_box": signals.TATA_BOX,
    "INR_motif": signals.INITIATOR,
    "branch_site": signals.BRANCH_SITE,
    "polyA_signal_sequence": signals.POLYA_SIGNAL,
}
_NOT_PLANTED = ("gene", "mRNA", "TSS", "promoter", "exon", "five_prime_UTR", "three_prime_UTR", "CpG_island", "intron")
_HEADER = """##fileformat=VCFv4.2
##source=dnar2mae simulate
{contigs}##INFO=<ID=PLANTED,Number=1,Type=Integer,Description="1: breaks a planted motif; 0: matched neutral">
##INFO=<ID=MOTIF,Number=1,Type=String,Description="The motif that this variant, or the one it is matched to, breaks">
##INFO=<ID=PAIR,Number=1,Type=Integer,Description="Number that a motif-breaking variant and its match share">
#CHROM	POS	ID	REF	ALT	QUAL	FILTER	INFO
"""


class PlantedVariant(NamedTuple):
    """A substitution on the forward strand."""

    chrom: str
    start: int
    """0-based."""
    ref: str
    alt: str
    planted: bool
    """Breaks a motif; else the neutral match of one that does."""
    motif: str
    pair: int


def planted_variants(genome: SimulatedGenome, number: int) -> list[PlantedVariant]:
    """Draw motif-breaking substitutions, at most one a motif, and a neutral match for each.

    A variant breaks a motif where its position weight matrix gives the base that is there 0.9 or more and the new one
    0.05 or less. Its match is the nearest position, on the same chromosome, with the same base, neighbours and
    change, both inside or both outside a CpG island, and 10 bp or more from motifs, coding sequence, splice signals,
    repeats and gaps.

    Parameters
    ----------
    genome
        The genome and its annotation.
    number
        Pairs to draw.

    Returns
    -------
    list of PlantedVariant
        Twice the number, in the order of the genome; a pure function of the genome and the number.

    Raises
    ------
    ConfigError
        If the number is below 0, or the genome has fewer pairs.
    """
    if number < 0:
        raise ConfigError(f"--variants must be at least 0, got {number}")
    draws = Draws(genome.config.seed, _STREAM)
    sites = list(_motif_sites(genome))
    neutral = {chrom: _Neutral(genome, chrom) for chrom in genome.sequences}
    variants: list[PlantedVariant] = []
    for index in np.argsort(draws.units(len(sites)), kind="stable"):
        if len(variants) == 2 * number:
            break
        chrom, start, weights, name = sites[index]
        codes = neutral[chrom].codes[start : start + len(weights)]
        rows, bases = breaking(weights, codes)
        if not len(rows):
            continue
        choice = draws.integer(0, len(rows))
        position, alt = start + int(rows[choice]), "ACGT"[bases[choice]]
        match = neutral[chrom].take_nearest(position)
        if match is not None:
            ref, pair = "ACGT"[neutral[chrom].codes[position]], len(variants) // 2 + 1
            variants += [PlantedVariant(chrom, position, ref, alt, True, name, pair)]
            variants += [PlantedVariant(chrom, match, ref, alt, False, name, pair)]
    if len(variants) < 2 * number:
        raise ConfigError(f"--variants must be at most {len(variants) // 2} for this genome, got {number}")
    order = list(genome.sequences)
    return sorted(variants, key=lambda variant: (order.index(variant.chrom), variant.start, variant.alt))


def vcf_lines(genome: SimulatedGenome, variants: list[PlantedVariant]) -> Iterator[str]:
    """Yield the lines of a VCF with the INFO fields PLANTED (1 or 0), MOTIF and PAIR."""
    contigs = "".join(f"##contig=<ID={name},length={len(text)}>\n" for name, text in genome.sequences.items())
    yield _HEADER.format(contigs=contigs)
    for v in variants:
        info = f"PLANTED={int(v.planted)};MOTIF={v.motif};PAIR={v.pair}"
        yield f"{v.chrom}\t{v.start + 1}\t.\t{v.ref}\t{v.alt}\t.\t.\t{info}\n"


def _motif_sites(genome: SimulatedGenome) -> Iterator[tuple[str, int, Float[np.ndarray, "L 4"], str]]:
    """Yield chromosome, start, weights on the forward strand and name of every planted motif."""
    rows: Iterable[Any] = genome.features.itertuples(index=False)
    for row in rows:
        if row.type == "intron":
            # on the reverse strand the donor lies at the end
            first, last = row.start, row.end - len(signals.DONOR)
            donor, acceptor = (first, row.end - len(signals.ACCEPTOR)) if row.strand == "+" else (last, first)
            sites = [(donor, signals.DONOR, "donor"), (acceptor, signals.ACCEPTOR, "acceptor")]
        elif row.type == "TF_binding_site":
            sites = [(row.start, signals.TF_MOTIFS[row.name], row.name)]
        elif row.type in _MOTIFS:
            sites = [(row.start, _MOTIFS[row.type], row.type)]
        else:
            continue
        for start, weights, name in sites:
            yield row.chrom, start, weights[::-1, ::-1] if row.strand == "-" else weights, name


class _Neutral:
    """Positions of a chromosome that are far from all that was planted."""

    def __init__(self, genome: SimulatedGenome, chrom: str) -> None:
        features = genome.features[genome.features["chrom"] == chrom]
        self.codes = encode(genome.sequences[chrom].upper().encode("ascii"))
        length = len(self.codes)
        self.island = _covered(length, features[features["type"] == "CpG_island"], 0)
        planted = _covered(length, features[~features["type"].isin(_NOT_PLANTED)], _CLEARANCE_BP)
        introns = features[features["type"] == "intron"]
        for strand, (left, right) in (("+", INTRON_ENDS_BP), ("-", INTRON_ENDS_BP[::-1])):
            own = introns[introns["strand"] == strand]
            planted |= _covered(length, own.assign(end=own["start"] + left), _CLEARANCE_BP)
            planted |= _covered(length, own.assign(start=own["end"] - right), _CLEARANCE_BP)
        self.free = ~planted & (self.codes < UNKNOWN)
        # the outermost bases lack a neighbour
        self.free[[0, -1]] = False
        # one number for a base and its two neighbours, digits of five letters
        self.context = np.convolve(self.codes.astype(np.int32), [1, 5, 25], "same")
        self._positions: dict[tuple[int, bool], np.ndarray] = {}

    def take_nearest(self, position: int) -> int | None:
        """Take the nearest free position with the same base and neighbours; return None if there is none."""
        context, island = int(self.context[position]), bool(self.island[position])
        if (context, island) not in self._positions:
            same = self.free & (self.context == context) & (self.island == island)
            self._positions[context, island] = np.flatnonzero(same)
        remaining = self._positions[context, island]
        if not len(remaining):
            return None
        nearest = int(np.argmin(np.abs(remaining - position)))
        self._positions[context, island] = np.delete(remaining, nearest)
        return int(remaining[nearest])


def _covered(length: int, features: Any, margin: int) -> Bool[np.ndarray, " L"]:
    """Return which positions lie in a feature or within ``margin`` of one."""
    covered = np.zeros(length, bool)
    for start, end in zip(features["start"], features["end"], strict=True):
        covered[max(start - margin, 0) : end + margin] = True
    return covered
