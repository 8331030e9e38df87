"""FASTA, plain and compressed, against Biopython's parser and, where it accepts the file, pyfaidx."""

import gzip
import io
import re
import shutil
import warnings
from codecs import BOM_UTF8
from pathlib import Path

from Bio.bgzf import BgzfWriter
from Bio.SeqIO.FastaIO import SimpleFastaParser
from pyfaidx import Faidx, FastaIndexingError, FetchError
from pyfaidx import UnsupportedCompressionFormat as Unsupported

from dnar2mae.genome.store import Genome

from .common import TO_STORE, Refused, reading

_PLAIN = b">chr1 first\nACGTNacgtn\nACG\n>2\nRYSWKMBDHVUuXx\n\n>chrM\r\nTTT\r\n"
_VALID = re.compile(rb"(>[!-~]+( [ -~]*)?\n([ACGTUNRYSWKMBDHVXacgtunryswkmbdhvx]+\n)+)+")


def _bgzip(data: bytes) -> bytes:
    file = io.BytesIO()
    with BgzfWriter(fileobj=file) as writer:
        writer.write(data)
        writer.flush()
        writer._handle.write(bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000"))
        whole = file.getvalue()
    return whole


SEEDS = [
    _PLAIN,
    gzip.compress(_PLAIN, mtime=0),
    _bgzip(_PLAIN),
    b"\n\n" + _PLAIN,
    b">a\rAC\rGT",
    BOM_UTF8 + b">a\nAC\n",
    b">x\nAC GT\n>y z\nA>C\n",
]


def check(data: bytes, folder: Path) -> None:
    path, cache = folder / "input.fa", folder / "cache"
    path.write_bytes(data)
    shutil.rmtree(cache, ignore_errors=True)
    try:
        with warnings.catch_warnings(), reading(path):
            warnings.filterwarnings("ignore", message=".*sequences are empty")
            genome = Genome.open(path, cache_dir=cache, progress=False)
            found = [(name, genome.fetch(name, 0, int(genome.lengths[i]))) for i, name in enumerate(genome.names)]
    except Refused:
        assert not cache.exists() or not list((cache / "genomes").iterdir()), (
            "a cache of a refused file was left behind"
        )
        assert not _surely_valid(data), "a valid file was refused"
        return
    assert found == _biopython(data)
    if _even(data):
        _compare_with_pyfaidx(path, dict(found))


def _surely_valid(data: bytes) -> bool:
    names = re.findall(rb"(?m)^>(\S+)", data)
    known = re.search(rb"(?m)^[^>\n]*[ACGTUacgtu]", data)
    return bool(_VALID.fullmatch(data)) and len(set(names)) == len(names) and known is not None


def _even(data: bytes) -> bool:
    """Lines of one record are equally long but for its last, and end alike; pyfaidx misses some that are not."""
    end = b"\r\n" if b"\r\n" in data else b"\n"
    bare = data.replace(end, b"")
    records = data.removesuffix(end).split(end + b">")
    lengths = [[len(line) for line in record.split(end)[1:]] for record in records]
    even = all(len(set(own[:-1])) <= 1 and own[-1] <= own[0] for own in lengths if own)
    return even and b"\r" not in bare and b"\n" not in bare


def _biopython(data: bytes) -> list[tuple[str, str]]:
    plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    text = io.TextIOWrapper(
        io.BytesIO(plain.removeprefix(BOM_UTF8).lstrip(b" \t\r\n\v\f")), encoding="utf-8", errors="replace"
    )
    parsed = SimpleFastaParser(text)
    return [(title.split(maxsplit=1)[0], "".join(letters.split()).translate(TO_STORE)) for title, letters in parsed]


def _compare_with_pyfaidx(path: Path, found: dict[str, str]) -> None:
    path.with_name("input.fa.fai").unlink(missing_ok=True)
    try:
        index = Faidx(str(path), rebuild=True)
    except (FastaIndexingError, Unsupported, OSError, ValueError, RuntimeError):  # it is stricter about line lengths
        return
    finally:
        path.with_name("input.fa.fai").unlink(missing_ok=True)
    with index:
        for name, entry in index.index.items():
            if name in found and entry.rlen == len(found[name]) > 0:
                try:
                    letters = index.fetch(name, 1, entry.rlen).seq
                except FetchError:
                    continue
                if letters.isalpha():
                    assert letters.translate(TO_STORE) == found[name]
