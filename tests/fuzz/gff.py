"""GFF3 and GTF files, and BED12 as annotation, against bioframe's reading of clean lines."""

import re
import warnings
from pathlib import Path

import bioframe

from dnar2mae.genome.annotation import read_annotation

from .common import LENGTHS, Refused, genome, reading

_LINE = re.compile(
    rb"(chr1|2|chrM)\t\w+\t(gene|mRNA|exon|CDS|repeat)\t\d{1,4}\t\d{1,4}\t\.\t[+-]\t[.012]\t(ID=\w+|Parent=\w+)"
)
_GFF = (
    b"##gff-version 3\nchr1\tx\tgene\t1\t90\t.\t+\t.\tID=g\nchr1\tx\tmRNA\t1\t90\t.\t+\t.\tID=t;Parent=g\n"
    b"chr1\tx\texon\t1\t30\t.\t+\t.\tParent=t\nchr1\tx\tCDS\t4\t30\t.\t+\t0\tParent=t\n2\tx\trepeat\t1\t9\t.\t-\t.\tID=r\n"
)
_GTF = (
    b'1\tx\tgene\t1\t90\t.\t+\t.\tgene_id "g";\n1\tx\ttranscript\t1\t90\t.\t+\t.\tgene_id "g"; transcript_id "t";\n'
    b'1\tx\texon\t1\t30\t.\t+\t.\tgene_id "g"; transcript_id "t";\n'
)
_BED12 = b"chr1\t0\t90\tn\t0\t+\t3\t60\t0\t2\t30,40,\t0,50,\n"
SEEDS = [
    b"\0" + _GFF,
    b"\0" + _GTF,
    b"\1" + _BED12,
    b"\1chr1\t0\t9\tn\t0\t+\n",
    b"\0" + _GFF + b"##FASTA\n>chr1\nACGT\n",
    b"\0chr1\tx\tregion\t1\t300\t.\t+\t.\tIs_circular=true\n" + _GFF.replace(b"\t90\t", b"\t390\t"),
    b"\0" + _GTF.replace(b'"', b"") + b'chr1\tx\tCDS\t1\t30\t.\t+\t0\tParent=a%2Cb,c;note="d"\n',
]


def check(data: bytes, folder: Path) -> None:
    """The first byte says whether the file's name ends in ``.gff3`` or ``.bed``."""
    reference = genome(folder)
    kind, data = data[:1], data[1:]
    path = folder / ("input.bed" if kind == b"\1" else "input.gff3")
    path.write_bytes(data)
    try:
        with warnings.catch_warnings(), reading(path):
            warnings.filterwarnings("ignore", message=".*hold no base")
            annotation = read_annotation(path, reference)
    except Refused:
        return
    for transcript in annotation.transcripts:
        assert transcript.strand in ("+", "-")
        for start, end in (*transcript.spans, *transcript.exons, *transcript.coding):
            assert 0 <= start < end <= LENGTHS[transcript.name]
        for start, end in (*transcript.exons, *transcript.coding):
            assert any(first <= start < end <= last for first, last in transcript.spans)
    lines = data.removesuffix(b"\n").split(b"\n")
    if kind != b"\1" and all(_LINE.fullmatch(line) for line in lines):
        table = bioframe.read_table(str(path), schema="gff", dtype={"chrom": str})
        table = table[table["feature"].isin(["gene", "mRNA", "exon", "CDS"])]
        within = [(c, s - 1, e) for c, s, e in table[["chrom", "start", "end"]].values if not s - 1 < LENGTHS[c] < e]
        assert annotation.genic == within
