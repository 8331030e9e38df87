"""Files of .2bit as py2bit and twobitreader read them."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnar2mae.genome.readers import SequenceFile
from dnar2mae.genome.store import Genome
from tests.genome.twobit_writer import write_twobit

# runs, as soft-masking and assembly gaps make them, and single letters
_PARTS = st.one_of(
    st.text("ACGTacgt", min_size=1, max_size=30),
    st.builds(lambda letter, count: letter * count, st.sampled_from("Nnag"), st.integers(1, 40)),
)
_LETTERS = st.lists(_PARTS, min_size=1, max_size=8).map("".join)
_NAMES = st.text(st.characters(codec="ascii", exclude_categories=("C", "Z")), min_size=1, max_size=20)
_FILES = st.dictionaries(_NAMES, _LETTERS, min_size=1, max_size=4)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("twobit") / "genome.2bit"


@settings(max_examples=60, derandomize=True)
@given(sequences=_FILES, data=st.data())
def test_sequences_and_regions(path, sequences, data):
    py2bit, twobitreader = pytest.importorskip("py2bit"), pytest.importorskip("twobitreader")
    # py2bit reads its machine's byte order only
    write_twobit(path, sequences, order="<" if sys.byteorder == "little" else ">")
    upper, exact = py2bit.open(str(path), True), twobitreader.TwoBitFile(str(path))
    with SequenceFile(path) as source:
        twobit = source.twobit()
        assert upper.chroms() == {name: twobit.record(name).size for name in twobit.offsets}
        for name in sequences:
            record = twobit.record(name)
            start = data.draw(st.integers(0, record.size - 1))
            end = data.draw(st.integers(start + 1, record.size))
            for left, right in ((0, record.size), (start, end)):
                ours = twobit.letters(record, left, right).tobytes().decode()
                # of masked N py2bit makes upper-case ones; UCSC's twoBitToFa, and twobitreader, do not
                assert ours.replace("n", "N") == upper.sequence(name, left, right)
                assert ours == exact[name][left:right]
    upper.close()


@settings(max_examples=30, derandomize=True)
@given(sequences=_FILES, order=st.sampled_from("<>"), version=st.integers(0, 1))
def test_what_was_written_is_read(path, sequences, order, version):
    sequences["known"] = "A"
    genome = Genome.open(write_twobit(path, sequences, order=order, version=version), progress=False)
    sizes = zip(genome.names, genome.lengths.tolist(), strict=True)
    assert {name: genome.fetch(name, 0, size) for name, size in sizes} == sequences
