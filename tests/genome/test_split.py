import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dnar2mae.errors import SequenceError
from dnar2mae.genome.intervals import size
from dnar2mae.genome.split import split
from dnar2mae.genome.store import Genome
from dnar2mae.genome.windows import TiledSource, WindowSource

from .helpers import config, genome_of, write_fasta


def mark(genome, intervals):
    marked = np.zeros(genome.total_bp, bool)
    for start, end in intervals:
        marked[start:end] = True
    return marked


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 900), min_size=1, max_size=6),
    window=st.integers(8, 60),
    share=st.floats(0.01, 0.5),
    blocks=st.integers(1, 6),
)
def test_no_held_out_base_is_near_a_training_base(tmp_path_factory, lengths, window, share, blocks):
    genome = genome_of(tmp_path_factory.mktemp("g"), *("A" * n for n in lengths))
    settings = config(window_bp=window, validation_share=share, validation_blocks=blocks)
    try:
        parts = split([genome], settings)
    except SequenceError as error:
        assume("nothing is" not in str(error) and "no sequence is" not in str(error))
        raise
    train, held = mark(genome, parts.training[0]), mark(genome, parts.validation[0])
    for start, end in zip(genome.offsets[:-1], genome.offsets[1:], strict=True):
        t, v = np.flatnonzero(train[start:end]), np.flatnonzero(held[start:end])
        if len(t) and len(v):
            assert np.abs(t[:, None] - v).min() > window
            assert len(v) <= (end - start) * share + blocks
            assert len(v) >= (end - start) * share - blocks
        elif end - start >= 1:
            assert len(t) == end - start or len(v) == end - start  # whole sequences, one way or the other
        for intervals in (parts.training[0], parts.validation[0]):
            inside = (intervals[:, 0] >= start) & (intervals[:, 0] < end)
            assert (intervals[inside, 1] <= end).all()


def test_blocks(tmp_path):
    genome = genome_of(tmp_path, "A" * 1000)
    parts = split([genome], config(window_bp=10, validation_share=0.1, validation_blocks=2))
    assert parts.training[0].tolist() == [[0, 440], [510, 940]]
    assert parts.validation[0].tolist() == [[450, 500], [950, 1000]]
    most = split([genome], config(window_bp=40, validation_share=0.1, validation_blocks=9))
    assert most.validation[0].tolist() == [[450, 500], [950, 1000]]  # no more than have room for a window
    assert {part.dtype for part in (*parts.training, *parts.validation)} == {np.dtype(np.int64)}


@pytest.mark.parametrize(("length", "has_room"), [(30, True), (29, False)])
def test_a_sequence_has_room_for_a_gap_a_training_and_a_held_out_window(tmp_path, length, has_room):
    parts = split([genome_of(tmp_path, "A" * length, "A" * 200)], config(window_bp=10, validation_share=0.35))
    inside = [start < length for part in (parts.training[0], parts.validation[0]) for start, _ in part.tolist()]
    assert sum(inside) == 1 + has_room


def test_a_segment_in_the_middle_has_three_windows_of_training_bases(tmp_path):
    genome = genome_of(tmp_path, "A" * 120)
    parts = split([genome], config(window_bp=10, validation_share=0.25, validation_blocks=9))
    assert parts.training[0].tolist() == [[0, 20], [50, 60], [90, 100]]
    assert parts.validation[0].tolist() == [[30, 40], [70, 80], [110, 120]]


def test_short_sequences_are_held_out_whole_at_random(tmp_path):
    genome = genome_of(tmp_path, *["ACGT" * 5] * 2000)
    parts = split([genome], config(window_bp=16, validation_share=0.2))
    assert 300 < len(parts.validation[0]) < 500
    assert len(parts.validation[0]) + len(parts.training[0]) == 2000
    again = split([genome], config(window_bp=17, validation_share=0.2))
    np.testing.assert_array_equal(again.validation[0], parts.validation[0])
    # a release that held out others could not be compared with runs of the one before
    assert (parts.validation[0][:6, 0] // 20).tolist() == [0, 10, 19, 25, 41, 45]
    two = split([genome, genome], config(window_bp=16, validation_share=0.2))
    assert not np.array_equal(*two.validation)


def test_named_sequences(tmp_path):
    a = genome_of(tmp_path, "A" * 100, "A" * 100, "A" * 100, name="a.fa")
    b = genome_of(tmp_path, "A" * 100, "A" * 100, name="b.fa")
    parts = split([a, b], config(window_bp=10, validation=("chr2", "a:chr3"), test=("b:chr1",)))
    assert [x.tolist() for x in parts.validation] == [[[100, 200], [200, 300]], [[100, 200]]]
    assert [x.tolist() for x in parts.training] == [[[0, 100]], []]
    test_only = split([a], config(window_bp=10, test=("chr1",)))
    assert test_only.training[0].tolist() == [[100, 180], [200, 280]]
    assert test_only.validation[0].tolist() == [[190, 200], [290, 300]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": ("Chr1",)}, "--data.validation: .*no sequence 'Chr1'; did you mean chr1"),
        ({"test": ("c",)}, "--data.test: .*no sequence 'c'"),
        ({"validation": ("chr1", "chr2")}, "nothing is left to train on: every sequence is held out"),
        (
            {"validation": ("chr1", "chr2")},
            "name fewer .* --data.test, or lower --data.validation-share or --data.window-bp$",
        ),
        ({"window_bp": 200}, "nothing is held out: .* has 1000 bp, .* set --data.window-bp to at most 100 or name"),
        ({"window_bp": 1000}, r"genome.fa: nothing is held out"),
        ({"window_bp": 1001}, r"genome.fa: no sequence is as long as a window: the longest has 1000 bp"),
    ],
)
def test_errors(tmp_path, settings, message):
    genome = genome_of(tmp_path, "A" * 1000, "A" * 10)
    with pytest.raises(SequenceError, match=message):
        split([genome], config(**{"window_bp": 10} | settings))


@pytest.mark.parametrize("name", ["lambda_virus.fa", "NC_001422_1.fna"])
def test_small_phages(data, name):
    genome = Genome.open(data / "genomes" / name)
    settings = config(window_bp=512)
    parts = split([genome], settings)
    assert size(parts.validation[0]) == int(genome.total_bp * 0.1)
    assert WindowSource([genome], parts.training, settings).codes(np.arange(4)).shape == (4, 512)
    assert len(TiledSource([genome], parts.validation, settings)) >= 2


def test_whole_sequences_of_length_zero(tmp_path):
    path = write_fasta(tmp_path / "a.fa", {"none": "", "a": "A" * 500, "end": ""})
    with pytest.warns(UserWarning, match="empty"):
        genome = Genome.open(path)
    parts = split([genome], config(window_bp=20))
    assert (parts.training[0].tolist(), parts.validation[0].tolist()) == ([[0, 430]], [[450, 500]])
