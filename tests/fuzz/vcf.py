"""VCF files against pysam and a plain reading of alleles; what is written keeps the lines that were read."""

from pathlib import Path

import numpy as np
import pysam

from dnar2mae.storage.compressed import open_maybe_gzip
from dnar2mae.variants.alleles import Variant, judge
from dnar2mae.variants.files import VcfFile, field_names
from dnar2mae.variants.options import ScoreOptions
from dnar2mae.variants.scores import Scores
from tests.differential.vcf_files import plain_site

from .common import LENGTHS, Refused, genome, reading

_HEAD = b'##fileformat=VCFv4.2\n##contig=<ID=chr1,length=300>\n##INFO=<ID=AF,Number=A,Type=Float,Description="x">\n'
_COLUMNS = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
_OURS = (b"##INFO=<ID=R2MAE_", b"##dnar2mae_model=")
_MARK = "\ufeff".encode()
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
            with file.writer(out, field_names(ScoreOptions()), "fuzz") as writer:
                for record in file.records():
                    site = judge(reference, Variant(record.chrom, record.pos - 1, record.ref, record.alts), _LONGEST_BP)
                    assert tuple(site) == plain_site(record.columns, _LONGEST_BP, _SEQUENCES)
                    nothing = np.full(len(site.statuses), np.nan)
                    writer.write(record, Scores(nothing, nothing, nothing), site.statuses)
                    records.append(record)
    except Refused:
        assert not out.exists(), "an output of a refused file was left behind"
        return
    lines = [line for line in out.read_bytes().split(b"\n") if not line.startswith(_OURS)]
    with open_maybe_gzip(path) as stream:
        given = [line for line in stream.read().removeprefix(_MARK).split(b"\n") if not line.startswith(_OURS)]
    given = given[: len(file.header)] + [line for line in given[len(file.header) :] if line.rstrip(b"\r")]
    assert [_kept(line) for line in lines[: len(given)]] == [_kept(line) for line in given]
    _compare_with_pysam(path, file, records)


def _kept(line: bytes) -> list[bytes]:
    """Columns of a line that scoring does not change."""
    columns = line.rstrip(b"\r").split(b"\t")
    return columns[:7] + columns[8:]


def _compare_with_pysam(path: Path, file: VcfFile, records: list) -> None:
    """Where pysam reads the whole file, too, it must find the same records."""
    before = pysam.set_verbosity(0)
    try:
        with pysam.VariantFile(str(path)) as other:
            found = [(r.chrom, r.pos, r.id, r.ref, _written(r.alts)) for r in other]
    except (OSError, ValueError, NotImplementedError, OverflowError):
        return
    finally:
        pysam.set_verbosity(before)
    ours = [(r.chrom, r.pos, None if r.id in (".", "") else r.id, r.ref, _written(r.alts)) for r in records]
    assert ours == found


def _written(alts: tuple[str, ...] | None) -> list[str]:
    """Alleles without those that nothing is written for, which htslib calls a dot."""
    return [allele for allele in alts or () if allele not in ("", ".")]
