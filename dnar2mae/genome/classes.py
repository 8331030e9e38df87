"""Classes of bases by an annotation: parts of genes, codon positions, starts, stops, what lies between genes."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from dnar2mae.genome.annotation import Annotation, Span, Transcript, read_annotation
from dnar2mae.genome.codons import STANDARD_CODE, STARTS, makes_stop, read_codons
from dnar2mae.genome.intervals import Intervals, difference, intersection, intervals_of, union
from dnar2mae.genome.store import Genome

UPSTREAM_BP = 100
"""Length of what counts as upstream of a gene."""


def base_classes(path: Path, genome: Genome) -> dict[str, Intervals]:
    """Return the bases of each class, in concatenated coordinates; classes without a base are left out.

    Codon positions are those of codons between the first and the last one. A base that is of two classes in genes that
    overlap is left out of both. Upstream are 100 bp before a gene's first base, as far as they lie in no gene;
    intergenic is what is neither genic nor upstream. Untranslated are exons of coding transcripts that are coding in
    none; splice sites are the first two and last two bases of introns,
    where exons are annotated, that lie in no exon.

    Parameters
    ----------
    path
        GFF3, GTF, BED, GenBank or EMBL file.
    genome
        The genome that it annotates.

    Raises
    ------
    SequenceError
        If the file cannot be read, or does not fit the genome.
    """
    annotation = read_annotation(path, genome)
    transcripts, regions = annotation.transcripts, region_classes(annotation, genome)
    exons = _joined(genome, ((t.name, span) for t in transcripts for span in t.exons))
    sites = _joined(genome, ((t.name, site) for t in transcripts for site in _splice_sites(t)))
    own = _codon_classes(transcripts, genome) | {
        "untranslated": regions["untranslated"],
        "splice sites": difference(sites, exons),
        "upstream": regions["promoter"],
        "intergenic": regions["intergenic"],
    }
    return {name: bases for name, bases in own.items() if len(bases)}


def region_classes(annotation: Annotation, genome: Genome) -> dict[str, Intervals]:
    """Divide all bases of a genome into five classes, in concatenated coordinates; a class may be empty.

    ``coding``: in a coding sequence. ``untranslated``: in an exon of a coding transcript, coding in none. ``genic``: of
    a gene or a mobile element, and neither of these (introns, genes of RNA, pseudogenes). ``promoter``: in no gene, and
    in the 100 bp before the first base of one. ``intergenic``: what is left.

    Parameters
    ----------
    annotation
        Its transcripts.
    genome
        The genome that it annotates.
    """
    transcripts = annotation.transcripts
    coding = _joined(genome, ((t.name, span) for t in transcripts for span in t.coding))
    translated = _joined(genome, ((t.name, span) for t in transcripts if t.coding for span in t.exons))
    genic = _joined(
        genome,
        chain(
            ((name, (start, end)) for name, start, end in annotation.genic),
            ((t.name, span) for t in transcripts for span in t.spans),
        ),
    )
    between = difference(genome.intervals, genic)
    promoter = intersection(_joined(genome, ((t.name, _before(t, genome)) for t in transcripts)), between)
    untranslated = difference(translated, coding)
    return {
        "coding": coding,
        "untranslated": untranslated,
        "genic": difference(difference(genic, coding), untranslated),
        "promoter": promoter,
        "intergenic": difference(between, promoter),
    }


def _codon_classes(transcripts: list[Transcript], genome: Genome) -> dict[str, Intervals]:
    names = [*(f"codon position {i}" for i in (1, 2, 3)), "start codons", "stop codons"]
    found: dict[str, list[np.ndarray]] = {name: [np.zeros(0, np.int64)] for name in names}
    starts = np.array([["ACGT".index(letter) for letter in codon] for codon in STARTS])
    for transcript in transcripts:
        codons = read_codons(transcript, genome)
        if codons is None:
            continue
        has_start = codons.begins and bool((codons.letters[0] == starts).all(1).any())
        has_stop = bool(makes_stop(codons.letters[-1:], transcript.genetic_code or STANDARD_CODE)[0])
        inner = codons.position[int(has_start) : len(codons.position) - has_stop]
        for i, name in enumerate(names[:3]):
            found[name].append(inner[:, i])
        found["start codons"].append(codons.position[: int(has_start)].ravel())
        found["stop codons"].append(codons.position[len(codons.position) - has_stop :].ravel())
    bases = {name: np.concatenate(parts) for name, parts in found.items()}
    sets = {name: union(intervals_of(own, own + 1)) for name, own in bases.items()}
    return {
        name: difference(own, union(np.concatenate([other for key, other in sets.items() if key != name])))
        for name, own in sets.items()
    }


def _joined(genome: Genome, spans: Iterable[tuple[str, Span]]) -> Intervals:
    """Return the union of spans of sequences, none across two sequences."""
    offsets = [(int(genome.offsets[genome.index[name]]), span) for name, span in spans]
    pairs = np.array([(start + offset, end + offset) for offset, (start, end) in offsets], np.int64).reshape(-1, 2)
    return intersection(union(intervals_of(pairs[:, 0], pairs[:, 1])), genome.intervals)


def _before(transcript: Transcript, genome: Genome) -> Span:
    """Return what lies before the first base of a gene, as it is read; none of it goes over an origin."""
    if transcript.strand == "+":
        first = transcript.spans[0][0]
        return max(first - UPSTREAM_BP, 0), first
    last = transcript.spans[-1][1]
    return last, min(last + UPSTREAM_BP, int(genome.lengths[genome.index[transcript.name]]))


def _splice_sites(transcript: Transcript) -> list[Span]:
    if not transcript.exons:  # gaps between coding parts alone may be frameshifts or insertions, as in bacteria
        return []
    return [site for start, end in transcript.introns() for site in ((start, start + 2), (end - 2, end))]
