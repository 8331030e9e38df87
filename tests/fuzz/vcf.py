"""VCF files against a plain reading of clean lines; what is written keeps the columns that were read."""

import re
from pathlib import Path

import numpy as np

from dnar2mae.variants.scores import Scores
from dnar2mae.variants.vcf import _judge
from dnar2mae.variants.vcf_io import VcfFile

from .common import Refused, genome, reading

_HEAD = b'##fileformat=VCFv4.2\n##contig=<ID=chr1,length=300>\n##INFO=<ID=AF,Number=A,Type=Float,Description="x">\n'
_COLUMNS = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
_CLEAN = re.compile(rb"chr1\t([1-9]\d{0,2})\t\.\t([ACGT]+)\t([ACGT]+)\t\.\t\.\t\.")
SEEDS = [
    _HEAD + _COLUMNS + b"chr1\t1\trs1\tA\tC,G\t10\tPASS\tAF=0.1,0.2\nchr1\t4\t.\tTT\t<DEL>\t.\t.\t.\n",
    _HEAD + _COLUMNS + b"chr1\t1\t.\tA\tC\t.\t.\t.\nchr1\t250\t.\tG\tGA\t.\t.\t.\n",
    _HEAD + _COLUMNS[:-1] + b"\tFORMAT\ts1\nchr1\t3\t.\tG\t.\t.\t.\t.\tGT\t0/1\n2\t9\t.\tN\t*\t.\t.\t.\tGT\t.\n",
]


def check(data: bytes, folder: Path) -> None:
    reference = genome(folder)
    path, out = folder / "input.vcf", folder / "output.vcf"
    path.write_bytes(data)
    out.unlink(missing_ok=True)
    records = []
    try:
        with reading():
            file = VcfFile(path)
            with file.writer(out, distance=False, source="fuzz") as writer:
                for record in file.records():
                    site = _judge(record, reference, 64)
                    nothing = np.full(len(site.statuses), np.nan)
                    writer.write(record, Scores(nothing, nothing), site.statuses)
                    records.append(str(record).rstrip("\n").split("\t"))
    except Refused:
        assert not out.exists(), "an output of a refused file was left behind"
        return
    written = out.read_bytes().decode().partition("\n#CHROM\t")[2]
    lines = [line.split("\t") for line in written.removesuffix("\n").split("\n")[1:]]
    assert [line[:7] + line[8:] for line in lines] == [record[:7] + record[8:] for record in records]
    body = data.partition(_COLUMNS)[2].removesuffix(b"\n").split(b"\n")
    if data.startswith(_HEAD + _COLUMNS) and all(map(_CLEAN.fullmatch, body)):
        assert [line.decode().split("\t")[:7] for line in body] == [line[:7] for line in lines]
