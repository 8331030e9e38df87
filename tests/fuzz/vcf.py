"""VCF files against a plain reading of clean lines; what is written keeps the columns that were read."""

import re
from pathlib import Path

import numpy as np

from dnar2mae.variants.files import VcfFile
from dnar2mae.variants.scores import Scores, Variant
from dnar2mae.variants.vcf import _judge

from .common import LENGTHS, Refused, genome, reading

_HEAD = b'##fileformat=VCFv4.2\n##contig=<ID=chr1,length=300>\n##INFO=<ID=AF,Number=A,Type=Float,Description="x">\n'
_COLUMNS = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
_CLEAN = re.compile(rb"chr1\t([1-9]\d{0,2})\t\.\t([ACGT]+)\t([ACGT]+)\t\.\t\.\t\.")
_SEQUENCES = {name: ("ACGTTGCANN" * 40)[:length] for name, length in LENGTHS.items()}
_LONGEST_BP = 64
_EVERY_STATUS = [
    (b"chr1", 0, b"A", b"C"),
    (b"chr1", 297, b"CA", b"C,<DEL>," + b"T" * 65),
    (b"1", 300, b"N", b"A"),
    (b"chr1", 301, b"A", b"C"),
    (b"chrM", 2, b"G", b"A"),
    (b"X", 1, b"A", b"C,T"),
]
SEEDS = [
    _HEAD + _COLUMNS + b"chr1\t1\trs1\tA\tC,G\t10\tPASS\tAF=0.1,0.2\nchr1\t4\t.\tTT\t<DEL>\t.\t.\t.\n",
    _HEAD + _COLUMNS + b"chr1\t1\t.\tA\tC\t.\t.\t.\nchr1\t250\t.\tG\tGA\t.\t.\t.\n",
    _HEAD + _COLUMNS[:-1] + b"\tFORMAT\ts1\nchr1\t3\t.\tG\t.\t.\t.\t.\tGT\t0/1\n2\t9\t.\tN\t*\t.\t.\t.\tGT\t.\n",
    _HEAD + _COLUMNS + b"chr1\t3\t.\tN\t\t.\t.\t.\nchr1\t1\t\t.\t\t.\t.\t.\n",
    _HEAD + _COLUMNS + b"".join(b"%s\t%d\t.\t%s\t%s\t.\t.\t.\n" % line for line in _EVERY_STATUS),
]


def check(data: bytes, folder: Path) -> None:
    reference = genome(folder)
    path, out = folder / "input.vcf", folder / "output.vcf"
    path.write_bytes(data)
    out.unlink(missing_ok=True)
    records = []
    try:
        with reading(path):
            file = VcfFile(path)
            with file.writer(out, distance=False, source="fuzz") as writer:
                for record in file.records():
                    columns = str(record).rstrip("\n").split("\t")
                    site = _judge(record, reference, _LONGEST_BP)
                    assert tuple(site) == _plain(*columns[:2], columns[3], record.alts or ())
                    nothing = np.full(len(site.statuses), np.nan)
                    writer.write(record, Scores(nothing, nothing), site.statuses)
                    records.append(columns)
    except Refused:
        assert not out.exists(), "an output of a refused file was left behind"
        return
    written = out.read_bytes().decode().partition("\n#CHROM\t")[2]
    lines = [line.split("\t") for line in written.removesuffix("\n").split("\n")[1:]]
    assert [line[:7] + line[8:] for line in lines] == [record[:7] + record[8:] for record in records]
    body = data.partition(_COLUMNS)[2].removesuffix(b"\n").split(b"\n")
    if data.startswith(_HEAD + _COLUMNS) and all(map(_CLEAN.fullmatch, body)):
        assert [line.decode().split("\t")[:7] for line in body] == [line[:7] for line in lines]


def _plain(contig: str, position: str, ref: str, alleles: tuple[str, ...]) -> tuple[Variant | None, list[str], bool]:
    """Variant, statuses and mismatch of a line, read letter by letter (an empty ALT is an allele "." to htslib)."""
    alts = [allele.upper() for allele in alleles]
    name = next((n for n in (contig, f"chr{contig}", contig.removeprefix("chr")) if n in LENGTHS), None)
    start, ref = int(position) - 1, ref.upper()
    if name is None:
        return None, ["no_contig"] * len(alts), False
    found = _SEQUENCES[name][start : start + len(ref)] if start >= 0 else ""
    if len(found) < len(ref):
        return None, ["outside"] * len(alts), False
    if {*ref, *found} - {*"ACGT"}:
        return None, ["ref_unknown"] * len(alts), False
    if ref != found:
        return None, ["ref_mismatch"] * len(alts), True
    if len(ref) > _LONGEST_BP:
        return None, ["too_long"] * len(alts), False
    statuses = [
        "too_long" if len(a) > _LONGEST_BP else "alt_unknown" if {*a} - {*"ACGT"} or not a else "scored" for a in alts
    ]
    scored = tuple(a for a, status in zip(alts, statuses, strict=True) if status == "scored")
    return Variant(name, start, ref, scored) if scored else None, statuses, False
