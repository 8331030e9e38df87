import gzip

import numpy as np
import pytest
from Bio import motifs as biopython

from dnar2mae.errors import SequenceError
from dnar2mae.genome.alphabet import encode
from dnar2mae.genome.motifs import breaking, read_motifs
from dnar2mae.genome.simulate.signals import TF_MOTIFS, pwm, tf_motifs


def test_what_is_written_is_read_here_and_by_biopython(tmp_path):
    written = tf_motifs(0.42)
    (tmp_path / "m.meme").write_text("".join(written.lines()))
    with gzip.open(tmp_path / "m.meme.gz", "wt") as file:
        file.writelines(written.lines())
    for name in ("m.meme", "m.meme.gz"):
        found = read_motifs(tmp_path / name)
        np.testing.assert_allclose(found.background, [0.29, 0.21, 0.21, 0.29])
        assert list(found.matrices) == list(TF_MOTIFS)
        for motif, matrix in found.matrices.items():
            np.testing.assert_allclose(matrix, TF_MOTIFS[motif], atol=1e-6)
    with (tmp_path / "m.meme").open() as file:
        theirs = list(biopython.parse(file, "minimal"))
    assert [motif.name for motif in theirs] == list(TF_MOTIFS)
    for motif in theirs:
        columns = np.array([motif.pwm[letter] for letter in "ACGT"]).T
        np.testing.assert_allclose(columns, TF_MOTIFS[motif.name], atol=1e-4)


HEAD = "MEME version 4\n\nMOTIF MA0001.1 SP1\nletter-probability matrix: alength= 4 w= 2 nsites= 20 E= 0\n"


def test_columns_of_other_programs(tmp_path):
    (tmp_path / "m.meme").write_text(HEAD + "  0.333\t0.333  0.333 0.000\n 0 0 0 1\nURL http://example.org\n")
    found = read_motifs(tmp_path / "m.meme")
    assert list(found.matrices) == ["MA0001.1"]
    np.testing.assert_allclose(found.matrices["MA0001.1"], [[1 / 3, 1 / 3, 1 / 3, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(found.background, [0.25] * 4)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (">MA0001.1\nA [1 2]\n", "m.meme: no line begins with 'letter-probability matrix': expected a file in MEME's"),
        (HEAD + "0.1 0.2 0.3 0.9\n", r"m.meme:5: expected probabilities of A, C, G and T that sum to 1, got \['0.1'"),
        (HEAD + "1 0 0 0\na b c d\n", r"m.meme:6: expected probabilities .* got \['a', 'b', 'c', 'd'\]"),
        (HEAD + "-1 1 1 0\n", "m.meme:5: expected probabilities"),
        (HEAD + "\n", "m.meme:4: the matrix of 'MA0001.1' must have 2 rows of four probabilities, got 0"),
        (HEAD + "0 0 0 1\n0 0 1", "m.meme:4: the matrix of 'MA0001.1' must have 2 rows of four probabilities, got 1"),
        (HEAD.replace(" w= 2", ""), "m.meme:4: the matrix of 'MA0001.1' must have a row of four probabilities, got 0"),
        (HEAD + "0 0 0 1\n0 0 0 1\n" + HEAD, "m.meme:10: a second matrix of 'MA0001.1': names must differ"),
        ("A 0.5 C 0 G 0 T 0.5\n" + HEAD, "m.meme:1: background frequencies must be > 0, got A 0.5 C 0 G 0 T 0.5"),
        (None, "m.meme: cannot be read"),
    ],
)
def test_bad_files(tmp_path, text, rule):
    if text is not None:
        (tmp_path / "m.meme").write_text(text)
    with pytest.raises(SequenceError, match=rule):
        read_motifs(tmp_path / "m.meme")


def test_what_breaks_a_site():
    place, base = breaking(pwm("ATr"), encode(b"ANG"))
    # the unknown base is in no state to be broken, and r is weak
    assert [(p, "ACGT"[b]) for p, b in zip(place, base, strict=True)] == [(0, "C"), (0, "G"), (0, "T")]
    assert not len(breaking(pwm("ATr"), encode(b"CCG"))[0])
