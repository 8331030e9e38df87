import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.tokenizers import KmerTokenizer

SIZES = [(k, s) for k in range(1, 9) for s in range(1, k + 1)]
dna = st.text(alphabet="ACGT", min_size=8, max_size=120)


@given(sequence=dna, size=st.sampled_from(SIZES))
def test_decode_returns_the_covered_bases(sequence, size):
    tokenizer = KmerTokenizer(*size)
    decoded = tokenizer.decode(tokenizer.encode_text(sequence))
    covered = (tokenizer.num_tokens(len(sequence)) - 1) * tokenizer.stride + tokenizer.k
    assert decoded == sequence[:covered]
    assert len(sequence) - covered < tokenizer.stride


@given(sequence=st.text(alphabet="ACGTNacgtnRYKM", min_size=8, max_size=80), size=st.sampled_from(SIZES))
def test_tokens_agree_with_their_text(sequence, size):
    tokenizer = KmerTokenizer(*size)
    names = tokenizer.tokens()
    for t, token in enumerate(tokenizer.encode_text(sequence)):
        kmer = sequence[t * tokenizer.stride :][: tokenizer.k].upper()
        assert names[token] == (kmer if set(kmer) <= set("ACGT") else "[UNK]")


@pytest.mark.parametrize(("k", "size"), [(1, 8), (2, 24), (3, 72), (6, 4104), (8, 65544)])
def test_vocabulary_size_is_a_multiple_of_eight(k, size):
    tokenizer = KmerTokenizer(k)
    assert tokenizer.vocabulary.size == size == len(tokenizer.tokens()) == len(set(tokenizer.tokens()))


def test_batches_case_and_unknown_bases():
    tokenizer = KmerTokenizer(3, 1)
    codes = np.array([[0, 1, 2, 3, 4, 0, 1, 2], [8, 9, 10, 11, 0, 0, 1, 2]], np.uint8)
    ids = tokenizer.encode(codes)
    assert ids.dtype == np.int32
    assert ids.shape == (2, 6)
    assert (ids[0] == 2).tolist() == [False, False, True, True, True, False]
    assert np.array_equal(ids[1, :2], ids[0, :2])
    assert tokenizer.lower_case(codes)[1].tolist() == [True, True, True, True, False, False]
    assert tokenizer.decode(ids[0]) == "ACGTNACG"[:4] + "N" + "ACG"


def test_what_is_too_short_gives_no_tokens():
    tokenizer = KmerTokenizer(6)
    assert tokenizer.encode_text("ACG").size == 0
    assert tokenizer.decode(np.array([], np.int64)) == ""


def test_uracil_is_thymine():
    tokenizer = KmerTokenizer()
    assert tokenizer.encode_text("ACGU").tolist() == tokenizer.encode_text("acgt").tolist()


@pytest.mark.parametrize(
    ("k", "stride", "message"),
    [
        (0, None, r"--tokenizer.k must be in 1..8, got 0"),
        (9, None, "1..8"),
        (3, 4, r"--tokenizer.stride .* 1..3 \(k\), got 4"),
    ],
)
def test_bad_sizes(k, stride, message):
    with pytest.raises(ConfigError, match=message):
        KmerTokenizer(k, stride)


def test_protein_letters_are_refused():
    with pytest.raises(SequenceError, match="position 3: expected a nucleotide letter, got 'E'"):
        KmerTokenizer().encode_text("ACEG")
