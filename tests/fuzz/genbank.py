"""GenBank and EMBL files, their sequences and their features, against Biopython's full parser."""

import shutil
import warnings
from pathlib import Path

from Bio import SeqIO

from dnar2mae.genome.annotation import read_annotation
from dnar2mae.genome.store import Genome

from .common import TO_STORE, Refused, genome, reading

_GENBANK = b"""LOCUS       chr1                      60 bp    DNA     circular BCT 01-JAN-2000
DEFINITION  A small record.
ACCESSION   chr1
VERSION     chr1
FEATURES             Location/Qualifiers
     source          1..60
                     /organism="none"
     gene            1..12
                     /locus_tag="t1"
     CDS             complement(join(1..6,9..12))
                     /locus_tag="t1"
     tRNA            order(20..30)
ORIGIN
        1 acgtacgtac gtacgtacgt nnnnnacgta cgtacgtacg tacgtacgta cgtacgtacg
//
"""
_EMBL = b"""ID   chr1; SV 1; linear; DNA; STD; PRO; 12 BP.
XX
AC   chr1;
XX
DE   A small record.
XX
FH   Key             Location/Qualifiers
FT   gene            1..12
SQ   Sequence 12 BP; 3 A; 3 C; 3 G; 3 T; 0 other;
     acgtacgtac gt                                                            12
//
"""
SEEDS = [_GENBANK, _EMBL, _GENBANK + _GENBANK.replace(b"chr1", b"chrX")]


def check(data: bytes, folder: Path) -> None:
    path = folder / "input.gb"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _check_sequences(path, folder / "cache")
        try:
            with reading(path):
                annotation = read_annotation(path, genome(folder))
        except Refused:
            return
        lengths = dict(zip(genome(folder).names, genome(folder).lengths.tolist(), strict=True))
        for transcript in annotation.transcripts:
            for start, end in (*transcript.spans, *transcript.exons, *transcript.coding):
                assert 0 <= start < end <= lengths[transcript.name]


def _check_sequences(path: Path, cache: Path) -> None:
    shutil.rmtree(cache, ignore_errors=True)
    try:
        with reading(path):
            found = Genome.open(path, cache_dir=cache, progress=False)
            letters = {name: found.fetch(name, 0, int(found.lengths[i])) for i, name in enumerate(found.names)}
    except Refused:
        assert not cache.exists() or not list((cache / "genomes").iterdir())
        return
    data = path.read_bytes()
    kind = "genbank" if data.lstrip().startswith(b"LOCUS") else "embl"
    if data[:2] == b"\x1f\x8b" or data.lstrip().startswith(b">"):
        return
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            expected = {record.id: str(record.seq).upper().translate(TO_STORE) for record in SeqIO.parse(file, kind)}
    except Exception:  # noqa: BLE001 (Biopython may stumble over features, which ours leaves out)
        return
    if not all(name.split() for name in expected):  # no name but in what ours, which leaves features out, takes for one
        return
    names = {name.split()[0]: text for name, text in expected.items()}
    assert letters == {name: "".join(text.split()) for name, text in names.items()}
