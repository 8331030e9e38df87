import pytest

from dnar2mae.genome.store import aliases


@pytest.mark.parametrize(("name", "others"), [("1", {"chr1"}), ("chr1", {"1"}), ("chrX", {"X"})])
def test_with_and_without_chr(name, others):
    assert aliases(name)[0] == name
    assert set(aliases(name)[1:]) == others


def test_a_mitochondrion_has_more_names():
    assert {"MT", "chrM", "Mito"} <= set(aliases("M"))
    assert {"MT", "M"} <= set(aliases("chrM"))
    assert len(set(aliases("MT"))) == len(aliases("MT"))
