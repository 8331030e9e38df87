""".2bit files in either byte order and version: what is read as a whole and part by part agrees."""

import tempfile
from pathlib import Path

from dnar2mae.genome.readers import SequenceFile
from tests.genome.twobit_writer import write_twobit

from .common import Refused, reading

_SEQUENCES = {"chr1": "ACGTNNNNacgtnnACG", "2": "GGGGGGGG", "chrM": "ttt"}
# what a file says of its sequences may be far more than the file holds
_MOST_BP, _PART_BP = 10_000, 7


def _written(order: str, version: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_twobit(Path(folder) / "g.2bit", _SEQUENCES, order=order, version=version).read_bytes()


SEEDS = [_written(order, version) for version in (0, 1) for order in "<>"]


def check(data: bytes, folder: Path) -> None:
    path = folder / "input.2bit"
    path.write_bytes(data)
    found = {}
    try:
        with reading(path), SequenceFile(path) as source:
            twobit = source.twobit()
            for name in twobit.offsets if twobit else ():
                record = twobit.record(name)
                size = min(record.size, _MOST_BP)
                whole = twobit.letters(record, 0, size).tobytes()
                parts = [twobit.letters(record, at, min(at + _PART_BP, size)) for at in range(0, size, _PART_BP)]
                assert whole == b"".join(part.tobytes() for part in parts)
                found[name] = whole.decode()
    except Refused:
        assert data not in SEEDS, "a valid file was refused"
        return
    assert data not in SEEDS or found == _SEQUENCES
