"""Write .2bit files in all their spellings, for tests; UCSC's faToTwoBit writes version 0 in its machine's order."""

import itertools
import struct
from pathlib import Path


def runs(letters: str, is_in) -> list[tuple[int, int]]:
    """Return start and length of the runs of letters that ``is_in`` holds for."""
    found, at = [], 0
    for key, group in itertools.groupby(letters, is_in):
        length = len(list(group))
        if key:
            found.append((at, length))
        at += length
    return found


def write_twobit(path: Path, sequences: dict[str, str], *, order: str = "<", version: int = 0) -> Path:
    """Write sequences of A, C, G, T and N, in either case."""

    def numbers(*values: int) -> bytes:
        return struct.pack(f"{order}{len(values)}I", *values)

    width = 8 if version else 4
    header = numbers(0x1A412743, version, len(sequences), 0)
    index_size = sum(1 + len(name.encode()) + width for name in sequences)
    records, index, at = [], [], len(header) + index_size
    for name, letters in sequences.items():
        blocks = b""
        for block in (runs(letters, lambda x: x in "Nn"), runs(letters, str.islower)):
            blocks += numbers(len(block), *(start for start, _ in block), *(length for _, length in block))
        digits = ["TCAG".find(letter) % 4 for letter in letters.upper().replace("N", "T")] + [0] * (-len(letters) % 4)
        packed = bytes(
            digits[i] << 6 | digits[i + 1] << 4 | digits[i + 2] << 2 | digits[i + 3] for i in range(0, len(digits), 4)
        )
        records.append(numbers(len(letters)) + blocks + numbers(0) + packed)
        encoded = name.encode()
        index.append(bytes([len(encoded)]) + encoded + struct.pack(f"{order}{'Q' if version else 'I'}", at))
        at += len(records[-1])
    path.write_bytes(header + b"".join(index) + b"".join(records))
    return path
