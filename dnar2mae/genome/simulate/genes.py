"""Genes: promoter, untranslated regions, exons and introns, planted on background read 5' to 3'."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from dnar2mae.genome.alphabet import complement, encode
from dnar2mae.genome.simulate import signals
from dnar2mae.genome.simulate.draws import Draws, boundaries
from dnar2mae.genome.simulate.features import Feature

UPSTREAM_BP = 450
"""Bases of a promoter before the transcription start site (TSS)."""
DOWNSTREAM_BP = 50
"""Bases of a promoter from the TSS on."""
TATA_START = (-33, -27)
"""The TATA box begins at this offset from the TSS (0 is the TSS itself); the end is excluded."""
TF_REGION = (-420, -60)
TF_SLOT_BP = 40
CPG_ISLAND_START = -430
UTR5_BP = (60, 200)
UTR3_BP = (100, 300)
CODONS = (100, 500)
"""Start and stop codon included."""
INTRON_BP = (80, 600)
INTRON_ENDS_BP = (10, 50)
"""Bases at the 5' and 3' end of an intron that hold its splicing signals."""

_CODONS, _CODON_SHARES = signals.codon_usage()
_CODON_BOUNDARIES = boundaries(_CODON_SHARES)
_STOPS = np.stack([encode(stop.encode()) for stop in signals.STOPS.split()])


class Gene(NamedTuple):
    """A gene before its position is drawn; coordinates count from the promoter's first base, 5' to 3'."""

    utr5_bp: int
    utr3_bp: int
    cds: np.ndarray
    """Base codes of the spliced coding sequence, from start to stop codon."""
    cuts: list[int]
    """Where introns interrupt ``cds``, ascending."""
    introns_bp: list[int]

    @property
    def span_bp(self) -> int:
        """Length from the promoter's first base to the end of the 3' UTR."""
        return UPSTREAM_BP + self.utr5_bp + len(self.cds) + sum(self.introns_bp) + self.utr3_bp

    def coding(self) -> list[tuple[int, int]]:
        """Return start and end of the coding part of each exon."""
        bounds = [0, *self.cuts, len(self.cds)]
        shift, parts = UPSTREAM_BP + self.utr5_bp, []
        for begin, end, intron_bp in zip(bounds, bounds[1:], [*self.introns_bp, 0], strict=False):
            parts.append((begin + shift, end + shift))
            shift += intron_bp
        return parts

    def introns(self) -> list[tuple[int, int]]:
        """Return start and end of each intron."""
        coding = self.coding()
        return [(left[1], right[0]) for left, right in zip(coding, coding[1:], strict=False)]


def draw_gene(draws: Draws, max_introns: int) -> Gene:
    """Draw the lengths, the coding sequence and the positions of up to ``max_introns`` introns of a gene."""
    num_codons = draws.length(*CODONS)
    sense = _CODONS[draws.pick(_CODON_BOUNDARIES, num_codons - 2)].reshape(-1)
    stop = _STOPS[draws.pick(boundaries(np.array(signals.STOP_SHARES)), 1)[0]]
    cds = np.concatenate([encode(b"ATG"), sense, stop])
    num_introns = draws.integer(0, min(max_introns, num_codons // 40) + 1)
    return Gene(
        utr5_bp=draws.length(*UTR5_BP),
        utr3_bp=draws.length(*UTR3_BP),
        cds=cds,
        cuts=_draw_cuts(draws, cds, num_introns),
        introns_bp=[draws.length(*INTRON_BP) for _ in range(num_introns)],
    )


def _draw_cuts(draws: Draws, cds: np.ndarray, num_introns: int) -> list[int]:
    """Draw positions of introns: evenly spaced to a quarter exon, where the exon ends in AG (if anywhere near)."""
    exon_bp = len(cds) // (num_introns + 1)
    cuts = []
    for middle in range(exon_bp, exon_bp * num_introns + 1, exon_bp):
        window = np.arange(middle - exon_bp // 4, middle + exon_bp // 4)
        # A is 0, G is 2
        after_ag = window[(cds[window - 2] == 0) & (cds[window - 1] == 2)]
        sites = after_ag if len(after_ag) else window
        cuts.append(int(sites[draws.integer(0, len(sites))]))
    return cuts


def plant_gene(
    canvas: UInt8[np.ndarray, " span"], gene: Gene, draws: Draws, gene_id: str, island: bool
) -> list[Feature]:
    """Write a gene over background.

    Parameters
    ----------
    canvas
        Base codes of the gene's ``span_bp``, 5' to 3'; changed in place.
    gene
        What to write.
    draws
        Stream of the chromosome.
    gene_id
        GFF3 ID; those of the gene's parts begin with it.
    island
        Put the promoter and the 5' UTR in a CpG island.

    Returns
    -------
    list[Feature]
        In the coordinates of the canvas, parents before children.
    """
    features = _transcript(gene, gene_id)
    if island:
        start, end = UPSTREAM_BP + CPG_ISLAND_START, UPSTREAM_BP + gene.utr5_bp
        canvas[start:end] = draws.bases(np.tile(boundaries(signals.CPG_ISLAND), (end - start, 1)))
        features.append(Feature(start, end, ".", "CpG_island", f"{gene_id}.island"))
    coding = gene.coding()
    canvas[np.concatenate([np.arange(*part) for part in coding])] = gene.cds
    _write(canvas, draws, signals.KOZAK, coding[0][0] - len(signals.KOZAK))
    features += _plant_promoter(canvas, draws, gene_id)
    for number, (start, end) in enumerate(gene.introns(), 1):
        features += _plant_intron(canvas, draws, (start, end), gene_id, number)
    start = len(canvas) - draws.integer(20, 30)
    end = _write(canvas, draws, signals.POLYA_SIGNAL, start)
    features.append(Feature(start, end, "+", "polyA_signal_sequence", f"{gene_id}.polya", f"{gene_id}.mrna"))
    return features


def _transcript(gene: Gene, gene_id: str) -> list[Feature]:
    tss, end, mrna = UPSTREAM_BP, gene.span_bp, f"{gene_id}.mrna"
    coding = gene.coding()
    starts = [tss, *(start for start, _ in coding[1:])]
    ends = [*(stop for _, stop in coding[:-1]), end]
    features = [
        Feature(tss, end, "+", "gene", gene_id, "", gene_id),
        Feature(tss, end, "+", "mRNA", mrna, gene_id, gene_id),
        Feature(tss, tss + 1, "+", "TSS", f"{gene_id}.tss", mrna),
        Feature(tss, coding[0][0], "+", "five_prime_UTR", f"{gene_id}.utr5", mrna),
        Feature(coding[-1][1], end, "+", "three_prime_UTR", f"{gene_id}.utr3", mrna),
    ]
    for number, (start, stop) in enumerate(zip(starts, ends, strict=True), 1):
        features.append(Feature(start, stop, "+", "exon", f"{gene_id}.exon{number}", mrna))
    for (start, stop), cut in zip(coding, [0, *gene.cuts], strict=True):
        features.append(Feature(start, stop, "+", "CDS", f"{gene_id}.cds", mrna, phase=-cut % 3))
    return features


def _plant_promoter(canvas: np.ndarray, draws: Draws, gene_id: str) -> list[Feature]:
    tss, promoter = UPSTREAM_BP, f"{gene_id}.promoter"
    features = [Feature(0, tss + DOWNSTREAM_BP, "+", "promoter", promoter, "", gene_id)]
    start = tss + draws.integer(*TATA_START)
    end = _write(canvas, draws, signals.TATA_BOX, start)
    features.append(Feature(start, end, "+", "TATA_box", f"{promoter}.tata", promoter))
    start = tss - 2
    end = _write(canvas, draws, signals.INITIATOR, start)
    features.append(Feature(start, end, "+", "INR_motif", f"{promoter}.inr", promoter))
    slots = np.arange(tss + TF_REGION[0], tss + TF_REGION[1], TF_SLOT_BP)
    chosen = np.argsort(draws.units(len(slots)), kind="stable")[: draws.integer(2, 6)]
    for number, start in enumerate(slots[chosen].tolist(), 1):
        slot = start, start + TF_SLOT_BP
        features.append(plant_tf_site(canvas, draws, slot, f"{promoter}.tf{number}", promoter))
    return features


def plant_tf_site(
    canvas: UInt8[np.ndarray, " L"], draws: Draws, slot: tuple[int, int], site_id: str, parent: str = ""
) -> Feature:
    """Write a site of any of the matrices, on either strand, somewhere between a slot's start and end."""
    name = list(signals.TF_MOTIFS)[draws.integer(0, len(signals.TF_MOTIFS))]
    motif, strand = signals.TF_MOTIFS[name], "+-"[draws.integer(0, 2)]
    start = slot[0] + draws.integer(0, slot[1] - slot[0] - len(motif) + 1)
    return Feature(start, _write(canvas, draws, motif, start, strand), strand, "TF_binding_site", site_id, parent, name)


def _plant_intron(
    canvas: np.ndarray, draws: Draws, intron: tuple[int, int], gene_id: str, number: int
) -> list[Feature]:
    """Write the donor, and from the 3' end: acceptor, polypyrimidine tract, 4 to 12 bases, branch site."""
    (start, end), mrna = intron, f"{gene_id}.mrna"
    _write(canvas, draws, signals.DONOR, start)
    acceptor = end - len(signals.ACCEPTOR)
    _write(canvas, draws, signals.ACCEPTOR, acceptor)
    tract = acceptor - len(signals.POLYPYRIMIDINE)
    _write(canvas, draws, signals.POLYPYRIMIDINE, tract)
    branch = tract - draws.integer(4, 13) - len(signals.BRANCH_SITE)
    branch_end = _write(canvas, draws, signals.BRANCH_SITE, branch)
    return [
        Feature(start, end, "+", "intron", f"{gene_id}.intron{number}", mrna),
        Feature(branch, branch_end, "+", "branch_site", f"{gene_id}.branch{number}", mrna),
        Feature(tract, acceptor, "+", "polypyrimidine_tract", f"{gene_id}.tract{number}", mrna),
    ]


def _write(canvas: np.ndarray, draws: Draws, motif: np.ndarray, start: int, strand: str = "+") -> int:
    """Write a site drawn from a position weight matrix and return its end."""
    site = draws.bases(boundaries(motif))
    end = start + len(site)
    canvas[start:end] = site if strand == "+" else complement(site[::-1])
    return end
