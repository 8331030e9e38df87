"""Annotated sites of known weight matrices: substitutions that break one, and the bases far from all of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dnar2mae.errors import SequenceError
from dnar2mae.genome.alphabet import SOFT_MASK
from dnar2mae.genome.annotation import read_lines
from dnar2mae.genome.intervals import Intervals
from dnar2mae.genome.motifs import Motifs, breaking
from dnar2mae.genome.store import Genome
from dnar2mae.variants.alleles import Variant
from dnar2mae.variants.control_sites import CLEARANCE_BP, Control, Sites
from dnar2mae.variants.matrix_ratios import MATRICES, matrix_ratios


class BindingSites:
    """The sites of weight matrices in a region of a genome.

    Parameters
    ----------
    genome
        The genome.
    annotation
        File whose lines are sites where their name is that of a matrix (GFF3's Name, BED's fourth column), with a
        strand and the matrix's length; other lines are passed over.
    motifs
        The matrices.
    region
        Sorted, disjoint intervals in concatenated coordinates, each inside one sequence.

    Attributes
    ----------
    controls : tuple
        The controls whose sites it has.
    format : str
        Format of the annotation, as it was read.

    Raises
    ------
    SequenceError
        If the file cannot be read, or none of its lines is a site.
    """

    controls: tuple[Control, ...] = ("site_broken",)

    def __init__(self, genome: Genome, annotation: Path, motifs: Motifs, region: Intervals) -> None:
        self.genome, self.region, self._motifs = genome, region, motifs
        placed = read_lines(annotation, genome)
        self.format, lines = placed.format, placed.lines
        self._sites = [
            (int(genome.offsets[genome.index[line.name]]) + line.start, line.strand, motifs.matrices[line.label])
            for line in lines
            if line.strand in ("+", "-")
            and line.end - line.start == len(motifs.matrices.get(line.label, ()))
            and line.end <= genome.lengths[genome.index[line.name]]  # none over an origin
        ]
        if not self._sites:
            wanted, present = (
                ", ".join(list(names)[:3]) for names in (motifs.matrices, {line.label: 0 for line in lines})
            )
            rule = f"a site has a matrix's name ({wanted}), its length and a strand"
            raise SequenceError(f"{annotation}: no site of a matrix: {rule}; got names {present or 'none'}")
        self._near = np.zeros(genome.total_bp, bool)
        for start, _, matrix in self._sites:
            self._near[max(start - CLEARANCE_BP, 0) : start + len(matrix) + CLEARANCE_BP] = True

    def sites(self, control: Control) -> Sites:
        """Return the substitutions that break a site and whose base and flanks lie in the region."""
        position, alt, first = [], [], []
        for start, strand, matrix in self._sites:
            codes = self.genome.span(start, start + len(matrix)) & np.uint8(SOFT_MASK - 1)
            place, base = breaking(matrix[::-1, ::-1] if strand == "-" else matrix, codes)
            position += (start + place).tolist()
            alt += base.tolist()
            first += [start] * len(place)
        same = np.ones(len(position), np.int64)
        # each is the middle base of three, read on the forward strand, and finds its like anywhere
        return Sites(
            np.array(position, np.int64),
            same == 0,
            same,
            np.array(alt, np.uint8),
            np.array(first, np.int64),
            0 * same,
            same * self.genome.total_bp,
        ).inside(self.region)

    def contents(self) -> str:
        """Return in words how much is annotated."""
        return f"sites of the matrices in all of the genome: {len(self._sites):,}"

    def fits(self, control: Control, site: Sites, position: Int64[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
        """Mark bases 10 bp or more from every site."""
        return ~self._near[position]

    def known_ratios(self, variants: Sequence[Variant]) -> dict[str, Float64[np.ndarray, " N"]]:
        """Return the scores by the matrices, whose sites are as frequent as the annotation has them."""
        density = len(self._sites) / self.genome.total_bp
        return {MATRICES: matrix_ratios(self._motifs, density, self.genome, variants)}
