"""VCF files in the spellings that the format allows, and a plain reading of what a record says about a genome."""

import gzip
from typing import NamedTuple

from hypothesis import strategies as st

SEQUENCES = {
    "chr1": "GCAAAAAAAATGACACACACACGTTTACGACGACGACGGATTACANNNACgtacgtTGCATGCCGGAAATTTCCCRYACGT" * 3,
    "2": "TTTTTTTTTTACGGGGGCATCATCATCAGATA",
    "chrM": "ACGTNNACGTTGCA",
}
COLUMNS = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"]
OTHERS = [
    "<DEL>",
    "<DUP:TANDEM>",
    "<*>",
    "<NON_REF>",
    "*",
    "G]chr1:198]",
    "]2:7]A",
    "[chr1:3[T",
    "G.",
    ".G",
    "<INS:ME>",
]
INFOS = [
    "AF=0.10",
    "AF=1e-05",
    "AF=.,0.5",
    "DB",
    "SVTYPE=DEL",
    "END=90",
    "NOTE=a b",
    'NOTE="x,y"',
    "NOTE=a%3Bb=c",
    "X=",
]
HEADERS = [
    '##INFO=<ID=AF,Number=A,Type=Float,Description="Frequency, by \\"allele\\" > 0">',
    '##INFO=<Number=0,ID=DB,Type=Flag,Description="dbSNP">',
    '##INFO=<ID=SVTYPE,Number=1,Type=String,Description="kind",Source="s",Version="3">',
    '##INFO=<ID=END,Number=1,Type=Integer,Description="end">',
    '##INFO=<ID=NOTE,Number=.,Type=String,Description="text">',
    '##INFO=<ID=X,Number=1,Type=String,Description="">',
]
MORE_HEADERS = [
    "##contig=<ID=chr1,length=243>",
    "##contig=<ID=2>",
    '##FILTER=<ID=q10,Description="low">',
    '##ALT=<ID=DEL,Description="Deletion">',
    "##source=a \u00e9 tool=1;2",
    "##META=<ID=Assay,Type=String,Number=.,Values=[a, b]>",
    "##bcftools_viewCommand=view in.vcf; Date=Mon",
    '##INFO=<ID=R2MAE_LLR,Number=A,Type=Float,Description="earlier">',
]


class Written(NamedTuple):
    """A VCF file."""

    lines: list[str]
    """Its lines without their ends, header first."""
    num_header: int
    content: bytes
    """Its bytes, not compressed."""
    stored: bytes
    """Its bytes as they are on disk."""
    suffix: str


@st.composite
def alleles(draw, contig, start):
    """REF, and ALT as it is written, of a site: changes of the genome, and alleles that are no bases."""
    sequence = SEQUENCES.get(contig, SEQUENCES["2"])
    ref = sequence[start : start + draw(st.integers(1, 6))] or "A"
    bases = st.text("ACGTacgt", min_size=1, max_size=5)
    changed = st.one_of(
        bases,
        st.sampled_from(["A", "C", "G", "T", "N", "acn", "R"]),
        st.just(ref[0]),
        st.just(ref),
        st.builds(lambda more: ref + more, bases),
        st.builds(lambda more: ref[0] + more + ref[1:], bases),
        st.integers(1, 6).map(lambda n: ref + ref[-n:]),
    )
    alts = draw(st.lists(changed | st.sampled_from(OTHERS), max_size=3))
    if draw(st.integers(0, 9)) == 0:
        ref = draw(bases | st.just("N"))
    if draw(st.integers(0, 4)) == 0:
        ref = ref.lower()
    return ref, ",".join(alts) or "."


@st.composite
def records(draw, num_samples):
    """A line of a site."""
    contig = draw(st.sampled_from(["chr1"] * 4 + ["1", "2", "chr2", "chrM", "MT", "HLA-A*01:01", "X"]))
    start = draw(st.integers(0, 45 if contig in ("2", "chr2") else 100) | st.integers(235, 250))
    ref, alt = draw(alleles(contig, start))
    name = draw(st.sampled_from([".", "rs1", "rs1;rs2", "a:b", "id-\u00e9"]))
    quality = draw(st.sampled_from([".", "10", "1e-3", "29.50", "0", "1.5E+2"]))
    passed = draw(st.sampled_from([".", "PASS", "q10"]))
    info = ";".join(draw(st.lists(st.sampled_from(INFOS), max_size=3, unique_by=lambda i: i.partition("=")[0]))) or "."
    if draw(st.integers(0, 9)) == 0:
        info = ";".join(filter(lambda item: item != ".", (info, "R2MAE_LLR=0.5")))
    columns = [contig, str(start + 1), name, ref, alt, quality, passed, info]
    if num_samples:
        columns.append(draw(st.sampled_from(["GT", "GT:DP"])))
        columns += draw(st.lists(st.sampled_from(["0|1", "./.", "."]), min_size=num_samples, max_size=num_samples))
    return "\t".join(columns)


@st.composite
def vcf_files(draw, compressed=("", "gzip", "bgzip")):
    """A whole file."""
    samples = draw(st.sampled_from([[], [], ["NA1"], ["s 1", "NA-2.x"]]))
    header = ["##fileformat=VCFv4." + draw(st.sampled_from("12345"))]
    header += draw(st.permutations(HEADERS + draw(st.lists(st.sampled_from(MORE_HEADERS), unique=True))))
    header.append("\t".join([*COLUMNS, *(["FORMAT"] if samples else []), *samples]))
    lines = header + draw(st.lists(records(len(samples)), min_size=1, max_size=8))
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    text = end.join(lines) + draw(st.sampled_from([end, end, ""]))
    way = draw(st.sampled_from(compressed))
    stored = {"": bytes, "gzip": _members, "bgzip": _bgzip}[way](text.encode())
    return Written(lines, len(header), text.encode(), stored, ".vcf.gz" if way else ".vcf")


def _members(content):
    """Gzip of two members, as concatenated files are."""
    return gzip.compress(content[:70]) + gzip.compress(content[70:])


def _bgzip(content):
    from io import BytesIO

    from Bio.bgzf import BgzfWriter

    stream = BytesIO()
    writer = BgzfWriter(fileobj=stream, mode="wb")
    for start in range(0, len(content), 100):
        writer.write(content[start : start + 100])
        writer.flush()
    writer._handle.write(bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000"))
    return stream.getvalue()


def plain_site(columns, longest_bp, sequences=SEQUENCES):
    """Alleles that can be scored, statuses and whether REF is wrong, of a line's columns, letter by letter."""
    contig, position, _, ref, alt = columns[:5]
    alts = [] if alt in (".", "") else [allele.upper() for allele in alt.split(",")]
    names = [contig, f"chr{contig}", contig.removeprefix("chr"), *(["chrM"] if contig in ("M", "MT") else [])]
    name = next((n for n in names if n in sequences), None)
    start, ref = int(position) - 1, ref.upper() or "."
    if name is None:
        return (), ["no_contig"] * len(alts), False
    whole = "".join(base if base in "ACGT" else "N" for base in sequences[name].upper())
    if start < 0 or start + len(ref) > len(whole):
        return (), ["outside"] * len(alts), False
    found = whole[start : start + len(ref)]
    if {*ref, *found} - {*"ACGT"}:
        return (), ["ref_unknown"] * len(alts), False
    if ref != found:
        return (), ["ref_mismatch"] * len(alts), True
    kept, statuses = [], []
    for allele in alts:
        if not allele or {*allele} - {*"ACGT"}:
            statuses.append("alt_unknown")
            continue
        change = leftmost(whole, start, ref, allele)
        is_long = max(len(change[1]), len(change[2])) > longest_bp
        statuses.append("alt_is_ref" if allele == ref else "too_long" if is_long else "scored")
        kept += [(name, *change)] if statuses[-1] == "scored" else []
    return tuple(kept), statuses, False


def leftmost(whole, start, ref, alt):
    """Start, bases removed and bases put in, from the two whole sequences: first what their ends share goes."""
    other = whole[:start] + alt + whole[start + len(ref) :]
    end = 0
    # an N is no base that could be moved past
    while end < min(len(whole), len(other)) and whole[-1 - end] == other[-1 - end]:
        if whole[-1 - end] == "N" and end >= len(whole) - start - len(ref):
            break
        end += 1
    begin = 0
    while begin < min(len(whole), len(other)) - end and whole[begin] == other[begin]:
        begin += 1
    return begin, whole[begin : len(whole) - end], other[begin : len(other) - end]
