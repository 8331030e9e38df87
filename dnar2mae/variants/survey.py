"""All records beside their genome, before any work: a wrong genome or wrong counting shows in many, a typo in one."""

from collections.abc import Iterable
from dataclasses import dataclass

from dnar2mae.genome.store import Genome
from dnar2mae.variants.alleles import Site, Variant, judge
from dnar2mae.variants.files import Record

MAX_MISMATCH_SHARE = 0.01
"""Share of REF mismatches above which the genome is taken to be the wrong one."""
_NO_POSITION = "no_position"


@dataclass(kw_only=True, slots=True)
class Survey:
    """Counts of records."""

    records: int = 0
    mismatches: int = 0
    """Their REF is not the genome's."""
    shifted: int = 0
    """Of these, REF is what the genome has one base later (earlier if positions are said to count from 0)."""
    placed: int = 0
    """They name a sequence of the genome."""
    without_position: int = 0
    first: str = ""
    """The first mismatch, in words."""
    last_name: str = ""
    """Sequence that the last record names."""

    def add(self, record: Record, site: Site, genome: Genome, *, zero_based: bool) -> None:
        """Count a record."""
        self.records += 1
        self.placed += genome.find(record.chrom) is not None
        self.without_position += record.pos is None
        self.last_name = record.chrom
        if not site.mismatch or record.pos is None:
            return
        self.mismatches += 1
        name, start = genome.find(record.chrom) or "", record.pos - (not zero_based)
        self.shifted += not judge_record(record, genome, 1, zero_based=not zero_based).mismatch
        if not self.first:
            letters = genome.fetch(name, start, start + len(record.ref)).upper()
            self.first = f"{record.chrom}:{record.pos} has {record.ref}, the genome {letters}"

    def fault(self, genome: Genome, *, zero_based: bool) -> str | None:
        """Return in a line why no score would mean what it should; None if nothing speaks against them."""
        if self.records == 0:
            return "no record in this file"
        if not self.placed:
            return f"no record lies on a sequence of the genome: {genome.unknown(self.last_name)}"
        if self.mismatches <= MAX_MISMATCH_SHARE * self.placed:
            return None
        if self.shifted == self.mismatches and self.shifted > 1:
            there, advice = ("1: leave out", "earlier") if zero_based else ("0: give", "later")
            return (
                f"positions count from {there} --zero-based; REF differs from {genome.path} at {self.mismatches} of "
                f"{self.placed} records, first {self.first}, and is what stands one base {advice} at each of these"
            )
        return (
            f"REF differs from {genome.path} at {self.mismatches} of {self.placed} records, first {self.first}; is it "
            "the right genome?"
        )

    def note(self) -> str | None:
        """Return in a line what is amiss with some of the records."""
        if not self.without_position:
            return None
        return f"{self.without_position} of {self.records} rows have no position: they are not scored"


def survey(records: Iterable[Record], genome: Genome, longest: int, *, zero_based: bool) -> Survey:
    """Count all records."""
    counts = Survey()
    for record in records:
        counts.add(record, judge_record(record, genome, longest, zero_based=zero_based), genome, zero_based=zero_based)
    return counts


def judge_record(record: Record, genome: Genome, longest: int, *, zero_based: bool) -> Site:
    """Compare a record with the genome, as :func:`dnar2mae.variants.alleles.judge` does."""
    if record.pos is None:
        return Site((), [_NO_POSITION] * len(record.alts))
    variant = Variant(record.chrom, record.pos - (not zero_based), record.ref, record.alts)
    return judge(genome, variant, longest)
