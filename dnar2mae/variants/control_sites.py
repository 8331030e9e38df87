"""Substitutions that break what an annotation says, and the bases where the same ones break nothing annotated."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from dnar2mae.genome.alphabet import SOFT_MASK, complement, encode
from dnar2mae.genome.annotation import Transcript
from dnar2mae.genome.codons import STANDARD_CODE, STARTS, Codons, makes_stop, read_codons
from dnar2mae.genome.intervals import Intervals
from dnar2mae.genome.store import Genome
from dnar2mae.variants.alleles import Variant

Control = Literal["stop_gained", "splice_broken", "start_lost", "site_broken"]
CONTROLS: tuple[Control, ...] = get_args(Control)
FLANK_BP = 2
"""Bases on either side of a changed one that decide what the change means."""
CLEARANCE_BP = 10
"""Bases on either side of a splice or binding site that are left alone: its consensus may be longer than it says."""
_PROTECTED = 1 << 6
_START_WORDS = np.array([encode(word.encode()) for word in STARTS])


class Sites(NamedTuple):
    """Substitutions, each one base of a word that is read on one strand."""

    position: Int64[np.ndarray, " N"]
    """Changed base, in concatenated coordinates."""
    is_reverse: Bool[np.ndarray, " N"]
    """The word is read on the reverse strand."""
    place: Int64[np.ndarray, " N"]
    """Place of the changed base among the three of its word, from 0."""
    alt: UInt8[np.ndarray, " N"]
    """New base, as a code, as read."""
    first: Int64[np.ndarray, " N"]
    """Number that the substitutions of one codon or splice site share."""
    low: Int64[np.ndarray, " N"]
    high: Int64[np.ndarray, " N"]
    """Where to look for the same word elsewhere."""

    def inside(self, region: Intervals) -> "Sites":
        """Return those whose base and flanks lie in sorted, disjoint intervals; each finds its like in its own."""
        index = np.maximum(np.searchsorted(region[:, 0], self.position, side="right") - 1, 0)
        start, end = region[index, 0] + FLANK_BP, region[index, 1] - FLANK_BP
        keep = (self.position >= start) & (self.position < end)
        low, high = np.maximum(self.low, start), np.minimum(self.high, end)
        return Sites(*(column[keep] for column in self._replace(low=low, high=high)))


class AnnotatedBases:
    """What is annotated at the bases of a region of a genome.

    Parameters
    ----------
    genome
        The genome.
    transcripts
        Its transcripts; those outside the region are passed over.
    region
        Sorted, disjoint intervals in concatenated coordinates, each inside one sequence.

    Attributes
    ----------
    controls : tuple
        The controls whose sites it has.
    num_coding, num_unreadable : int
        Coding sequences in the region, and those of them without a frame that fits (see ``read_codons``).

    Raises
    ------
    SequenceError
        If a genetic code has no known table.

    Notes
    -----
    Takes a byte for each base of the pages of memory that coding sequence or a splice site lies on.
    """

    controls: tuple[Control, ...] = ("stop_gained", "splice_broken", "start_lost")

    def __init__(self, genome: Genome, transcripts: Sequence[Transcript], region: Intervals) -> None:
        self.genome, self.region = genome, region
        # bits 0 to 2: first, second or third base of a codon of the forward strand; bits 3 to 5: of the reverse strand
        self._flags = np.zeros(genome.total_bp, np.uint8)
        self.transcripts = [t for t in transcripts if self._touches(t)]
        self._readable: list[tuple[Transcript, Codons]] = []
        for transcript in self.transcripts:
            self._protect_splice_sites(transcript)
            codons = read_codons(transcript, genome) if transcript.coding else None
            if codons is not None:
                self._mark(codons, transcript)
                self._readable.append((transcript, codons))
        self.num_coding = sum(bool(t.coding) for t in self.transcripts)
        self.num_unreadable = self.num_coding - len(self._readable)
        self._codes = {_code(transcript) for transcript, _ in self._readable}

    def contents(self) -> str:
        """Return in words how much is annotated in the region."""
        introns = sum(len(t.introns()) for t in self.transcripts)
        coding = f"coding sequences: {self.num_coding} (left out, since no frame fits: {self.num_unreadable})"
        return f"{coding}; introns: {introns}"

    def _touches(self, transcript: Transcript) -> bool:
        offset = self._offset(transcript)
        return any(self._meets_region(offset + start, offset + end) for start, end in transcript.spans)

    def _meets_region(self, start: int, end: int) -> bool:
        index = np.searchsorted(self.region[:, 1], start, side="right")
        return bool(index < len(self.region) and self.region[index, 0] < end)

    def _offset(self, transcript: Transcript) -> int:
        return int(self.genome.offsets[self.genome.index[transcript.name]])

    def _protect_splice_sites(self, transcript: Transcript) -> None:
        offset = self._offset(transcript)
        for intron in transcript.introns():
            for boundary in intron:
                at = offset + boundary
                self._flags[max(at - CLEARANCE_BP, 0) : at + CLEARANCE_BP] |= _PROTECTED

    def _mark(self, codons: Codons, transcript: Transcript) -> None:
        for place in range(3):
            self._flags[codons.position[:, place]] |= 1 << (place + 3 * (transcript.strand == "-"))
        # a codon that an intron cuts is no word of the genome; the first and the last are start and stop
        whole = (np.abs(np.diff(codons.position)) == 1).all(1)
        whole[0] &= not codons.begins
        whole[-1] &= not makes_stop(codons.letters[-1:], _code(transcript))[0]
        self._flags[codons.position[~whole].ravel()] |= _PROTECTED

    def sites(self, control: Control) -> Sites:
        """Return the substitutions of a control whose base and flanks lie in the region, in no particular order."""
        of_control = {"stop_gained": self._stops, "splice_broken": self._splice_sites, "start_lost": self._starts}
        parts = list(of_control[control]())
        if not parts:
            none = np.empty(0, np.int64)
            return Sites(none, none == 1, none, none.astype(np.uint8), none, none, none)
        sites = Sites(*(np.concatenate(columns) for columns in zip(*parts, strict=True))).inside(self.region)
        if control != "stop_gained":
            return sites
        # a stop codon in what is a start or beside a splice site would break two things
        return Sites(*(column[self._flags[sites.position] < _PROTECTED] for column in sites))

    def _stops(self) -> Iterator[Sites]:
        for transcript, codons in self._readable:
            whole = (np.abs(np.diff(codons.position)) == 1).all(1)
            whole[-1] = False
            changed = _substitutions(codons.letters[whole])
            yield _coding_sites(codons.position[whole], makes_stop(changed, _code(transcript)), transcript)

    def _starts(self) -> Iterator[Sites]:
        for transcript, codons in self._readable:
            position, letters = codons.position[:1], codons.letters[:1]
            if codons.begins and _is_start(letters)[0] and (np.abs(np.diff(position)) == 1).all():
                yield _coding_sites(position, ~_is_start(_substitutions(letters)), transcript)

    def _splice_sites(self) -> Iterator[Sites]:
        for transcript in self.transcripts:
            is_reverse, offset = transcript.strand == "-", self._offset(transcript)
            for intron in transcript.introns():
                start, end = next(span for span in transcript.spans if span[0] <= intron[0] and intron[1] <= span[1])
                five, three = intron[::-1] if is_reverse else intron
                step = -1 if is_reverse else 1
                # the first two and the last two bases, as read: a boundary lies before a base of the forward strand
                ends = {"GT": five - is_reverse, "AG": three - is_reverse - 2 * step}
                for motif, at in ends.items():
                    position = np.array([at, at + step], np.int64) + offset
                    if (self.around(position, is_reverse)[:, FLANK_BP] == encode(motif.encode())).all():
                        yield _splice_sites_of(position, motif, is_reverse, [offset + start, offset + end])

    def around(
        self, position: Int64[np.ndarray, " N"], is_reverse: Bool[np.ndarray, " N"] | bool
    ) -> UInt8[np.ndarray, "N 5"]:
        """Return each base between two on either side, as read; unknown ones beyond the ends of the genome."""
        at = np.clip(position - FLANK_BP, 0, max(self.genome.total_bp - 2 * FLANK_BP - 1, 0))
        codes = self.genome.windows(at, 2 * FLANK_BP + 1) & np.uint8(SOFT_MASK - 1)
        return np.where(np.asarray(is_reverse)[..., None], complement(codes[:, ::-1]), codes)

    def known_ratios(self, variants: Sequence[Variant]) -> dict[str, Float64[np.ndarray, " N"]]:
        """Return none: what a coding sequence allows has no known probabilities."""
        return {}

    def fits(self, control: Control, site: Sites, position: Int64[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
        """Mark bases where a site's substitution breaks nothing annotated; of a codon's, those in another frame."""
        harmless = self._is_harmless(position, bool(site.is_reverse), int(site.alt))
        if control == "splice_broken":
            return harmless
        frames = self._flags[position] >> (3 * bool(site.is_reverse)) & 7
        return harmless & (frames > 0) & (frames >> int(site.place) & 1 == 0)

    def _is_harmless(self, position: Int64[np.ndarray, " N"], is_reverse: bool, alt: int) -> Bool[np.ndarray, " N"]:
        """Mark bases of no start, stop or splice site where a new base, as read, makes no stop codon in any frame."""
        flags = self._flags[position]
        harmless = flags < _PROTECTED
        for reverse in (False, True):
            words = self.around(position, reverse)
            words[:, FLANK_BP] = alt if reverse == is_reverse else 3 - alt
            for place in range(3):
                is_codon = flags >> (place + 3 * reverse) & 1 == 1
                word = words[:, FLANK_BP - place : FLANK_BP - place + 3]
                for code in self._codes:
                    harmless &= ~(is_codon & makes_stop(word, code))
        return harmless


def _code(transcript: Transcript) -> int:
    return transcript.genetic_code or STANDARD_CODE


def _substitutions(letters: UInt8[np.ndarray, "C 3"]) -> UInt8[np.ndarray, "C 3 4 3"]:
    """Return each codon with each of its bases replaced by A, C, G and T."""
    changed = np.repeat(letters[:, None, None], 3, axis=1).repeat(4, axis=2)
    for place in range(3):
        changed[:, place, :, place] = np.arange(4)
    return changed


def _is_start(words: UInt8[np.ndarray, "*N 3"]) -> Bool[np.ndarray, "*N"]:
    return (words[..., None, :] == _START_WORDS).all(-1).any(-1)


def _coding_sites(
    position: Int64[np.ndarray, "C 3"], breaks: Bool[np.ndarray, "C 3 4"], transcript: Transcript
) -> Sites:
    """Return the substitutions of codons that are marked, by place and new base."""
    codon, place, alt = np.nonzero(breaks)
    reverse = np.full(len(codon), transcript.strand == "-")
    anywhere = np.zeros(len(codon), np.int64), np.full(len(codon), np.iinfo(np.int64).max)
    return Sites(position[codon, place], reverse, place, alt.astype(np.uint8), position[codon, 0], *anywhere)


def _splice_sites_of(position: Int64[np.ndarray, " 2"], motif: str, is_reverse: bool, span: list[int]) -> Sites:
    """Return the substitutions of GT or AG, each as the middle base of three; its like is sought in the transcript."""
    # GC is the second most common donor
    changes = [(i, alt) for i, ref in enumerate(motif) for alt in "ACGT" if alt != ref and motif[:i] + alt != "GC"]
    base, alt = np.array([(i, "ACGT".index(letter)) for i, letter in changes], np.int64).T
    same = np.ones(len(base), np.int64)
    return Sites(
        position[base],
        same == is_reverse,
        same,
        alt.astype(np.uint8),
        same * position[0],
        same * span[0],
        same * span[1],
    )
