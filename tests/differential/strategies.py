"""Files that hypothesis writes in the legal spellings of each format, with what no library need read: the dressing."""

import gzip
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from hypothesis import strategies as st

IUPAC = "ACGTURYSWKMBDHVN"
NAMES = ("chr1", "2", "chrM", "NC_000913.3", "gi|49175990|ref", "HLA*01:01", "scaffold_7;x", "track7")


class Dressing(NamedTuple):
    """How a text becomes a file."""

    newline: str
    mark: bool
    """Begins with a byte order mark."""
    members: int
    """Gzip members; 0 leaves the file plain."""
    ends_in_newline: bool

    def write(self, text: str, path: Path) -> Path:
        """Write a text whose lines end in a line feed."""
        text = text if self.ends_in_newline else text.removesuffix("\n")
        data = b"\xef\xbb\xbf" * self.mark + text.replace("\n", self.newline).encode()
        if self.members:
            size = -(-len(data) // self.members)
            data = b"".join(gzip.compress(data[i : i + size], 1) for i in range(0, len(data), size))
        path.write_bytes(data)
        return path


dressings = st.builds(
    Dressing, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.sampled_from([0, 0, 1, 3]), st.booleans()
)


def wrapped(letters: str, widths: list[int]) -> list[str]:
    """Cut letters into lines of these lengths, in turn."""
    lines, start, turn = [], 0, 0
    while start < len(letters):
        lines.append(letters[start : start + widths[turn % len(widths)]])
        start, turn = start + len(lines[-1]), turn + 1
    return lines


letters = st.one_of(
    st.text(IUPAC + IUPAC.lower(), min_size=1, max_size=80),
    st.builds(
        lambda unit, count: unit * count, st.sampled_from(["ACGT", "acgtN", "NNNNNNA", "XXgx"]), st.integers(1, 40)
    ),
)


class Fasta(NamedTuple):
    """A FASTA file."""

    text: str
    is_even: bool
    """Lines of a record are equally long but for its last: pyfaidx asks for that."""


@st.composite
def fastas(draw: st.DrawFn) -> Fasta:
    """Draw records with descriptions, soft wrapping, blank lines and white space."""
    is_even = draw(st.booleans())
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    text = "" if is_even else draw(st.sampled_from(["", "\n", " \n\n"]))
    for name in names:
        text += f">{name}{draw(st.sampled_from(['', ' ', ' Homo > sapiens', chr(9) + 'len=5']))}\n"
        widths = draw(st.lists(st.integers(1, 70), min_size=1, max_size=1 if is_even else 4))
        ends = ["\n"] if is_even else draw(st.lists(st.sampled_from(["\n", "\n\n", " \n"]), min_size=1, max_size=3))
        lines = wrapped("A" + draw(letters), widths)
        text += "".join(line + ends[i % len(ends)] for i, line in enumerate(lines))
    return Fasta(text, is_even)


class Location(NamedTuple):
    """A location of a feature table."""

    text: str
    is_whole: bool
    """Every part is on the record, on one strand and in order, if need be over the origin."""


@st.composite
def spans(draw: st.DrawFn, length: int, most: int = 4) -> list[tuple[int, int]]:
    """Draw intervals in order, 1-based, that do not overlap."""
    ends = sorted(draw(st.lists(st.integers(1, length), min_size=2, max_size=2 * most, unique=True)))
    return list(zip(ends[::2], ends[1::2], strict=False))


@st.composite
def locations(draw: st.DrawFn, length: int, is_circular: bool) -> Location:
    """Draw a location in one of its legal spellings."""
    parts = draw(spans(length))
    if (
        is_circular and len(parts) > 1 and draw(st.booleans())
    ):  # over the origin: what comes before it stands at the end of the sequence
        turn = draw(st.integers(1, len(parts) - 1))
        parts = parts[turn:] + parts[:turn]
    texts = [draw(_spelled(start, end, length)) for start, end in parts]
    reverse = draw(st.sampled_from(["no", "outside", "inside"]))
    fault = draw(st.sampled_from(["", "", "", "remote", "mixed"]))
    if reverse == "inside":
        texts = [f"complement({text})" for text in texts[::-1]]
    if fault == "remote":
        texts.insert(draw(st.integers(0, len(texts))), "J00194.1:100..202")
    if fault == "mixed" and len(texts) > 1 and reverse != "outside":
        texts[0] = texts[0][11:-1] if reverse == "inside" else f"complement({texts[0]})"
    operator = draw(st.sampled_from(["join", "order"]))
    text = f"{operator}({','.join(texts)})" if len(texts) > 1 else texts[0]
    text = f"complement({text})" if reverse == "outside" else text
    is_mixed = fault == "mixed" and len(texts) > 1 and reverse != "outside"
    return Location(text, fault != "remote" and not is_mixed)


def _spelled(start: int, end: int, length: int) -> st.SearchStrategy[str]:
    spellings = [f"{start}..{end}", f"<{start}..{end}", f"{start}..>{end}", f"<{start}..>{end}"]
    if start + 1 < end:
        spellings.append(f"({start}.{start + 1})..{end}")
        spellings.append(f"{start}..({end - 1}.{end})")
    return st.sampled_from(spellings)


class Record(NamedTuple):
    """A record with a feature table."""

    text: str
    kind: str
    """genbank or embl."""
    whole: list[bool]
    """Of each CDS, whether all of it is here."""


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Draw GenBank and EMBL files of one to three records."""
    kind = draw(st.sampled_from(["genbank", "embl"]))
    text, whole = "", []
    for name in draw(st.lists(st.sampled_from(["AB1.1", "NC_2.3", "X3.1"]), min_size=1, max_size=3, unique=True)):
        bases = "a" + draw(st.text("acgtnryswkmbdhv", min_size=19, max_size=200))
        is_circular, table = draw(st.booleans()), ""
        for number in range(draw(st.integers(0, 3))):
            location = draw(locations(len(bases), is_circular))
            qualifiers = draw(st.lists(st.sampled_from(_QUALIFIERS), max_size=3, unique=True))
            key = draw(st.sampled_from(["CDS", "CDS", "misc_feature"]))
            table += _feature(key, location.text, [*qualifiers, f'/locus_tag="{name}_{number}"'])
            whole += [location.is_whole] * (key == "CDS")
        text += (_genbank if kind == "genbank" else _embl)(name, bases, table, is_circular)
    return Record(text, kind, whole)


_QUALIFIERS = (
    "/codon_start=2",
    "/codon_start=3",
    "/transl_table=4",
    "/pseudo",
    '/note="a ""quoted"" phrase; 1..5 of join(7..9), over more than one line of the table"',
    '/note="/gene looks like a qualifier"',
    '/product="x"',
)


def _feature(key: str, location: str, qualifiers: list[str]) -> str:
    """Return the lines of a feature; locations are broken after a comma, texts after a space."""
    lines = [line for value in (location, *qualifiers) for line in _broken(value, "," if value is location else " ")]
    heads = [f"     {key:<16}"] + [" " * 21] * (len(lines) - 1)
    return "".join(f"{head}{line}\n" for head, line in zip(heads, lines, strict=True))


def _broken(value: str, after: str) -> list[str]:
    lines = [""]
    for piece in value.split(after):
        if len(lines[-1]) + len(piece) > 50:
            lines.append("")
        lines[-1] += piece + after
    lines[-1] = lines[-1][: -len(after)]
    return [line.rstrip() for line in lines]


def _genbank(name: str, bases: str, table: str, is_circular: bool) -> str:
    topology = "circular" if is_circular else "linear"
    accession, _, version = name.rpartition(".")
    text = f"LOCUS       {accession:<16} {len(bases):>11} bp    DNA     {topology:<8} BCT 01-JAN-2000\n"
    text += f"DEFINITION  A record.\nACCESSION   {accession}\nVERSION     {accession}.{version}\n"
    text += f"FEATURES             Location/Qualifiers\n     source          1..{len(bases)}\n{table}ORIGIN\n"
    for start in range(0, len(bases), 60):
        groups = (bases[i : i + 10] for i in range(start, min(start + 60, len(bases)), 10))
        text += f"{start + 1:>9} {' '.join(groups)}\n"
    return text + "//\n"


def _embl(name: str, bases: str, table: str, is_circular: bool) -> str:
    topology = "circular" if is_circular else "linear"
    accession, _, version = name.rpartition(".")
    text = f"ID   {accession}; SV {version}; {topology}; genomic DNA; STD; PRO; {len(bases)} BP.\nXX\n"
    text += f"AC   {accession};\nXX\nDE   A record.\nXX\nFH   Key             Location/Qualifiers\nFH\n"
    table = f"     source          1..{len(bases)}\n{table}"
    text += "".join(f"FT{line[2:]}\n" for line in table.splitlines()) + "XX\n"
    text += f"SQ   Sequence {len(bases)} BP; 1 A; 0 C; 0 G; 0 T; 0 other;\n"
    for start in range(0, len(bases), 60):
        line = bases[start : start + 60]
        groups = " ".join(line[i : i + 10] for i in range(0, len(line), 10))
        text += f"     {groups:<66}{start + len(line):>9}\n"
    return text + "//\n"


class Gff(NamedTuple):
    """A GFF3 or GTF file."""

    text: str
    dialect: str


LENGTHS = {name: 2000 for name in NAMES}
"""Of the sequences that GFF, GTF and BED files refer to."""
_NOTES = ("Note=a b", "Dbxref=A:1,B:2", 'Note=the "big" one', 'tag "x y"', "Name=n%2C")
_IDS = ("t1", "t 2", "rna-NM_1.2", "a,b", "x;y", "p=q", "50%", "ümlaut", 'say "so"')


@st.composite
def gff3s(draw: st.DrawFn) -> Gff:
    """Draw genes with transcripts, exons of several transcripts and coding sequences over several lines."""
    lines = draw(st.sampled_from([["##gff-version 3"], ["##gff-version 3.1.26", "#!assembly x"], []]))[:]
    end_of_line = draw(st.sampled_from(["", ";"]))
    for number, name in enumerate(draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))):
        # an ID is that of one feature in all of a file
        ids = [f"{own}-{number}" for own in draw(st.lists(st.sampled_from(_IDS), min_size=1, max_size=3, unique=True))]
        strand, gene = draw(st.sampled_from("+-")), f"g{number}"
        rows = [("gene", 1, 2000, [("ID", [gene])])]
        rows += [("mRNA", 1, 2000, [("ID", [own]), ("Parent", [gene])]) for own in ids]
        for start, end in draw(spans(2000)):
            parents = draw(st.lists(st.sampled_from(ids), min_size=1, max_size=3, unique=True))
            rows.append(("exon", start, end, [("Parent", parents)]))
        rows += [("CDS", *span, [("ID", [f"c{number}"]), ("Parent", [ids[0]])]) for span in draw(spans(2000))]
        for kind, start, end, pairs in draw(st.permutations(rows)) if draw(st.booleans()) else rows:
            attributes = draw(_gff3_attributes(pairs)) + end_of_line
            phase = draw(st.sampled_from("012")) if kind == "CDS" else "."
            seqid = quote(name, safe="|*:;._")
            lines.append(f"{seqid}\tx y\t{kind}\t{start}\t{end}\t.\t{strand}\t{phase}\t{attributes}")
    text = draw(_interrupted(lines, ["###", "# a comment", "", "#ID=x"]))
    return Gff(text + draw(st.sampled_from(["", "###\n", "##FASTA\n>chr1\nACGT\n", ">chr1 x\nACGT\n"])), "GFF3")


@st.composite
def _gff3_attributes(draw: st.DrawFn, pairs: list[tuple[str, list[str]]]) -> str:
    extra = draw(st.lists(st.sampled_from(_NOTES), max_size=2, unique_by=lambda note: note[:4]))
    safe = draw(st.sampled_from([' :"', ": "]))  # other characters may be escaped that need not be
    return ";".join([*(f"{key}={','.join(quote(value, safe) for value in values)}" for key, values in pairs), *extra])


@st.composite
def _interrupted(draw: st.DrawFn, lines: list[str], others: list[str]) -> str:
    """Put comments and blank lines between lines."""
    for _ in range(draw(st.integers(0, 4))):
        lines.insert(draw(st.integers(1, len(lines))), draw(st.sampled_from(others)))
    return "".join(f"{line}\n" for line in lines)


@st.composite
def gtfs(draw: st.DrawFn) -> Gff:
    """Draw transcripts with exons and coding parts, with or without quotes."""
    lines = draw(st.sampled_from([["#!genome-build x"], ["##gff-version 2"], ["##description: y"]]))[:]
    is_quoted, separator = draw(st.booleans()), draw(st.sampled_from(["; ", ";"]))
    # gffutils takes both from what most lines of a file have
    end_of_line, note = draw(st.sampled_from([";", ""])), is_quoted and separator == "; " and draw(st.booleans())
    ids = st.sampled_from(["t1", "ENST0.1", "x_y", "a|b", "p=q"] + ["a b"] * is_quoted)
    extra = ['tag "basic"' if is_quoted else "tag basic", "exon_number 1"] + ['n "50%"'] * is_quoted
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)):
        for own in draw(st.lists(ids, min_size=1, max_size=2, unique=True)):
            transcript, strand = f"{own}-{name[:2]}", draw(st.sampled_from("+-"))
            rows = [(kind, *span) for kind in ("exon", "CDS") for span in draw(spans(2000))]
            rows = [*([("transcript", 1, 2000)] * draw(st.integers(0, 1))), *rows]
            for kind, start, end in rows:
                values = (f'"g{name[:2]}"', f'"{transcript}"') if is_quoted else (f"g{name[:2]}", transcript)
                pairs = [f"gene_id {values[0]}", f"transcript_id {values[1]}"]
                pairs += draw(st.lists(st.sampled_from(extra), max_size=2, unique=True))
                pairs += ['note "x; y"'] * note
                phase = draw(st.sampled_from("012")) if kind == "CDS" else "."
                attributes = separator.join(pairs) + end_of_line
                lines.append(f"{name}\tx\t{kind}\t{start}\t{end}\t0.5\t{strand}\t{phase}\t{attributes}")
    return Gff(draw(_interrupted(lines, ["# a comment", ""])), "GTF")


class Bed(NamedTuple):
    """A BED file."""

    text: str
    columns: int
    others: list[int]
    """Numbers of the lines, from 0, that are no regions."""


@st.composite
def beds(draw: st.DrawFn) -> Bed:
    """Draw regions of three to twelve columns, by tabs or spaces, some of length 0."""
    columns, separator = draw(st.sampled_from([3, 4, 5, 6, 9, 12])), draw(st.sampled_from(["\t", " "]))
    lines, others = [], []
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.integers(0, 4)) == 0:
            others.append(len(lines))
            lines.append(
                draw(st.sampled_from(["# x", "#chrom\tstart\tend", "track name=x y=z", "browser position x", ""]))
            )
            continue
        start, end = sorted(draw(st.tuples(st.integers(0, 2000), st.integers(0, 2000))))
        fields = [draw(st.sampled_from(NAMES)), str(start), str(end), f"n{start}", "0", draw(st.sampled_from("+-"))]
        first = draw(st.integers(1, max(end - start, 1)))
        blocks = [(first, 0), (end - start - first, first)] if first < end - start else [(end - start, 0)]
        sizes, starts = (",".join(map(str, column)) + "," for column in zip(*blocks, strict=True))
        fields += [str(start), str(end), "255,0,0", str(len(blocks)), sizes, starts]
        lines.append(separator.join(fields[:columns]))
    return Bed("".join(f"{line}\n" for line in lines), columns, others)
