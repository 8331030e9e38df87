"""BED regions against a plain reading of clean lines, merged by bioframe."""

import gzip
import re
import warnings
from pathlib import Path

import bioframe

from dnar2mae.genome.bed import read_bed

from .common import Refused, genome, reading

_LINE = re.compile(rb"(chr1|2|chrM)\t(\d{1,4})\t(\d{1,4})")
_PLAIN = b"track name=x\n#c\nchr1\t0\t10\tname\nchr1 5 20\n\n1\t250\t300\n2\t1\t2\nchrM\t0\t60\n"
SEEDS = [_PLAIN, gzip.compress(_PLAIN, mtime=0), b"chr1\t0\t10\nchr1\t10\t20\nchr1\t30\t40\n", b"genome:chr1\t0\t1\n"]


def check(data: bytes, folder: Path) -> None:
    reference = genome(folder)
    path = folder / "input.bed"
    path.write_bytes(data)
    rows = [_LINE.fullmatch(line) for line in data.removesuffix(b"\n").split(b"\n")]
    clean = [(m[1].decode(), int(m[2]), int(m[3])) for m in rows if m]
    lengths = dict(zip(reference.names, reference.lengths.tolist(), strict=True))
    clean_only = len(clean) == len(rows)
    clean = [row for row in clean if row[1] != row[2]]  # insertion points are skipped
    is_valid = clean_only and all(start < end <= lengths[name] for name, start, end in clean)
    try:
        with warnings.catch_warnings(), reading(path):
            warnings.filterwarnings("ignore", message=".*(hold no base|are left out)")
            (regions,) = read_bed(path, [reference])
    except Refused:
        assert not (is_valid and clean), "a valid file was refused"
        return
    assert (regions[:, 0] < regions[:, 1]).all()
    assert (regions[1:, 0] >= regions[:-1, 1]).all()
    assert ((regions >= 0) & (regions <= reference.total_bp)).all()
    if clean_only:
        assert is_valid, "a region outside its sequence was accepted"
        merged = bioframe.merge(bioframe.from_any(clean), min_dist=0)
        found = {(reference.names[reference.sequence_of(r[:1])[0]], *r.tolist()) for r in regions}
        offsets = dict(zip(reference.names, reference.offsets.tolist(), strict=False))
        assert found == {(c, s + offsets[c], e + offsets[c]) for c, s, e in merged[["chrom", "start", "end"]].values}
