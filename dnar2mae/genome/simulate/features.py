"""Annotated features and their GFF3 form."""

from typing import NamedTuple


class Feature(NamedTuple):
    """One line of annotation; coordinates are 0-based half-open."""

    start: int
    end: int
    strand: str
    """``+``, ``-``, or ``.`` where strand has no meaning."""
    type: str
    """A Sequence Ontology term."""
    id: str
    """Unique, but for the parts of one CDS, which share it."""
    parent: str = ""
    name: str = ""
    phase: int | None = None
    """CDS only: bases to skip to the first whole codon, in 0..2."""

    def on_chromosome(self, offset: int, span_bp: int, strand: str) -> "Feature":
        """Move the feature from the coordinates of a gene read 5' to 3' to those of its chromosome.

        Parameters
        ----------
        offset
            Lowest chromosome coordinate of the gene's ``span_bp``.
        span_bp
            Length of the stretch that the present coordinates count in.
        strand
            Strand of the gene.
        """
        if strand == "+":
            return self._replace(start=self.start + offset, end=self.end + offset)
        flipped = {"+": "-", "-": "+", ".": "."}[self.strand]
        start, end = offset + span_bp - self.end, offset + span_bp - self.start
        return self._replace(start=start, end=end, strand=flipped)

    def gff3(self, chrom: str) -> str:
        """Return the feature as a GFF3 line (1-based, inclusive)."""
        pairs = (("ID", self.id), ("Parent", self.parent), ("Name", self.name))
        attributes = ";".join(f"{key}={value}" for key, value in pairs if value)
        phase = "." if self.phase is None else self.phase
        columns = f"{self.start + 1}\t{self.end}\t.\t{self.strand}\t{phase}"
        return f"{chrom}\tdnar2mae\t{self.type}\t{columns}\t{attributes}\n"
