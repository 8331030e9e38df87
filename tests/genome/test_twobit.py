import gzip
from contextlib import suppress

import numpy as np
import pytest

from dnar2mae.errors import SequenceError
from dnar2mae.genome import twobit
from dnar2mae.genome.readers import SequenceFile
from dnar2mae.genome.store import Genome

from .helpers import random_bases, with_n
from .twobit_writer import write_twobit

RNG = np.random.default_rng(5)
SEQUENCES = {
    "chr1": with_n(RNG, 1003),
    "soft": "ac" + random_bases(RNG, 50, "ACGTacgtNn") + "n",
    "one": "G",
    "allN": "NNNNN",
}


def letters(path):
    genome = Genome.open(path)
    return {name: genome.fetch(name, 0, int(n)) for name, n in zip(genome.names, genome.lengths, strict=True)}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("chunk", [1 << 20, 7, 64])
def test_all_spellings(tmp_path, monkeypatch, order, version, chunk):
    monkeypatch.setattr(twobit, "_CHUNK_BP", chunk)
    path = write_twobit(tmp_path / "genome.2bit", SEQUENCES, order=order, version=version)
    assert letters(path) == SEQUENCES
    assert Genome.open(path).stem == "genome"


def test_an_empty_sequence_warns(tmp_path):
    path = write_twobit(tmp_path / "g.2bit", {"a": "ACGT", "b": ""})
    with pytest.warns(UserWarning, match="1 of 2 sequences are empty: b"):
        assert letters(path) == {"a": "ACGT", "b": ""}


def test_damage_is_one_line(tmp_path):
    whole = write_twobit(tmp_path / "whole.2bit", SEQUENCES).read_bytes()
    path = tmp_path / "g.2bit"
    for length in (5, 20, 40, 70, 100, 300, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(SequenceError, match="g.2bit: truncated .2bit file; get it again"):
            Genome.open(path)
    path.write_bytes(whole[:4] + b"\2" + whole[5:])
    with pytest.raises(SequenceError, match="g.2bit: a .2bit file of version 2; 0 and 1 are known"):
        Genome.open(path)
    path.write_bytes(whole.replace(b"\4soft", b"\4chr1"))
    with pytest.raises(SequenceError, match="g.2bit: the name 'chr1' occurs twice"):
        Genome.open(path)
    run = SEQUENCES["chr1"].index("N").to_bytes(4, "little")
    path.write_bytes(whole.replace(run, (1003).to_bytes(4, "little"), 1))
    with pytest.raises(SequenceError, match="g.2bit: damaged: a run of chr1 goes beyond its 1003 bp"):
        Genome.open(path)
    path.write_bytes(b"\n" + whole)
    with pytest.raises(SequenceError, match="g.2bit: not a sequence file"):
        Genome.open(path)
    path.write_bytes(gzip.compress(whole))
    with pytest.raises(SequenceError, match="g.2bit: a .2bit file within gzip: unpack it first"):
        Genome.open(path)


def test_any_bytes_behind_the_signature_are_read_or_refused(tmp_path):
    whole = bytearray(write_twobit(tmp_path / "whole.2bit", SEQUENCES).read_bytes())
    path = tmp_path / "g.2bit"
    for _ in range(300):
        damaged = bytearray(whole)
        for at in RNG.integers(4, len(whole), 3):
            damaged[at] = RNG.integers(0, 256)
        path.write_bytes(damaged)
        # any other error than ours fails
        with suppress(SequenceError), SequenceFile(path) as source:
            for _ in source:
                pass
