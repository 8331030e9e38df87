import os
import shutil

import numpy as np
import pytest

from dnar2mae.errors import SequenceError
from dnar2mae.genome import regions
from dnar2mae.genome.readers import SequenceFile
from dnar2mae.genome.store import Genome
from dnar2mae.storage.cache import default_cache

from .helpers import random_bases, with_n, write_fasta

RNG = np.random.default_rng(3)
SEQUENCES = {"chr1": with_n(RNG, 3000), "2": random_bases(RNG, 500, "ACGTacgt"), "MT": random_bases(RNG, 90)}


def plain(folder):
    return write_fasta(folder / "genome.fa", SEQUENCES)


def indexed(folder):
    path = plain(folder)
    __import__("pysam").faidx(str(path))
    return path


def bgzipped(folder):
    pysam = pytest.importorskip("pysam")
    pysam.tabix_compress(str(plain(folder)), str(folder / "genome.fa.gz"))
    pysam.faidx(str(folder / "genome.fa.gz"))
    return folder / "genome.fa.gz"


def gzipped(folder):
    path = bgzipped(folder)
    (folder / "genome.fa.gz.gzi").unlink()
    return path


def twobit(folder):
    from .twobit_writer import write_twobit

    return write_twobit(folder / "genome.2bit", SEQUENCES)


SOURCES = {make.__name__: make for make in (plain, indexed, bgzipped, gzipped, twobit)}


@pytest.fixture(params=SOURCES)
def genome(request, tmp_path):
    if request.param != "plain":
        pytest.importorskip("pysam")
    return SOURCES[request.param](tmp_path)


def letters(path):
    opened = Genome.open(path)
    return {
        name: opened.fetch(name, 0, length) for name, length in zip(opened.names, opened.lengths.tolist(), strict=True)
    }


def known(name, start, end):
    """Return a part of a sequence, counted from 1 with its end, as genomes keep it."""
    return SEQUENCES[name][start - 1 : end]


def test_a_region_counts_from_one_and_has_its_end(genome):
    assert letters(f"{genome}:chr1:11-20") == {"chr1:11-20": known("chr1", 11, 20)}
    assert letters(f"{genome}:chr1:1-3000") == {"chr1:1-3000": SEQUENCES["chr1"]}
    assert letters(f"{genome}:2:500-500") == {"2:500-500": known("2", 500, 500)}
    assert not default_cache().exists()


def test_whole_sequences_open_ends_thousands_and_several_regions(genome):
    assert letters(f"{genome}:2") == {"2": SEQUENCES["2"]}
    assert letters(f"{genome}:chr1:2,991-") == {"chr1:2991-": known("chr1", 2991, 3000)}
    found = letters(f"{genome}:MT:5-9,chr1:1,001-2,000,2,chr1:1,500-1,510")
    assert found == {
        "MT:5-9": known("MT", 5, 9),
        "chr1:1001-2000": known("chr1", 1001, 2000),
        "2": SEQUENCES["2"],
        "chr1:1500-1510": known("chr1", 1500, 1510),
    }


def test_usual_names_of_a_sequence(genome):
    assert letters(f"{genome}:1:5-9") == {"1:5-9": known("chr1", 5, 9)}
    assert letters(f"{genome}:chr2:5-9,chrM:1-4") == {"chr2:5-9": known("2", 5, 9), "chrM:1-4": known("MT", 1, 4)}


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("chrX:1-5", r"genome[^:]*: no sequence 'chrX'; did you mean chr1"),
        ("unplaced:1-5", r"no sequence 'unplaced'; it has chr1, 2, MT$"),
        ("2:400-501", r"2:400-501 goes beyond the end of 2, which has 500 bp"),
        ("2:501-", r"2:501- goes beyond the end of 2, which has 500 bp"),
        ("chr2:9-900", r"chr2:9-900 goes beyond the end of 2, which has 500 bp"),
        ("2:0-5", r"a region is NAME, NAME:START- or NAME:START-END, from 1 and .*, got 2:0-5"),
        ("2:9-5", r"a region is .*, got 2:9-5"),
        ("", r"a region is .*, got nothing"),
        ("2:1-5,", r"a region is .*, got nothing"),
        ("2:5", r"no sequence '2:5'; it has chr1, 2, MT$"),
        ("2:5-7,2:5-7", r"sequence 2: the name '2:5-7' occurs twice"),
    ],
)
def test_errors_are_one_line(genome, region, message):
    with pytest.raises(SequenceError, match=message) as error:
        Genome.open(f"{genome}:{region}")
    assert "\n" not in str(error.value)
    assert str(genome) in str(error.value)


def test_the_stream_stops_behind_the_region(tmp_path, monkeypatch):
    path = plain(tmp_path)
    path.write_bytes(path.read_bytes() + b">broken\n****\n")
    assert letters(f"{path}:2:1-9") == {"2:1-9": known("2", 1, 9)}
    with pytest.raises(SequenceError, match=r"has '\*' at base"):
        Genome.open(path)


def test_the_index_is_used(tmp_path, monkeypatch):
    pytest.importorskip("pysam")
    path = indexed(tmp_path)
    monkeypatch.setattr(regions, "_of_stream", None)
    assert letters(f"{path}:2:1-9") == {"2:1-9": known("2", 1, 9)}
    os.utime(path, ns=(2**62, 2**62))
    monkeypatch.undo()
    with pytest.warns(UserWarning, match=r"genome.fa.fai: older than the file, and not used; run samtools faidx"):
        assert letters(f"{path}:2:1-9") == {"2:1-9": known("2", 1, 9)}


def test_an_index_of_another_file_is_an_error(tmp_path):
    (tmp_path / "genome.fa").write_text(">2\nACGT\n")
    (tmp_path / "genome.fa.fai").write_text("2\t400\t3\t60\t61\n")
    with pytest.raises(SequenceError, match="genome.fa: cannot be read by its index genome.fa.fai; remove it, or run"):
        Genome.open(f"{tmp_path / 'genome.fa'}:2:100-200")
    (tmp_path / "genome.fa.fai").write_text("nonsense\n")
    with pytest.raises(SequenceError, match="genome.fa: cannot be read by its index"):
        Genome.open(f"{tmp_path / 'genome.fa'}:2:1-2")


def test_without_pyfaidx_the_file_is_read(tmp_path, monkeypatch):
    pytest.importorskip("pysam")
    path = indexed(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "pyfaidx", None)
    with pytest.warns(UserWarning, match=r"pip install 'dnar2mae\[regions\]'"):
        assert letters(f"{path}:2:1-9") == {"2:1-9": known("2", 1, 9)}


def test_names_with_colons(tmp_path):
    path = write_fasta(tmp_path / "a:chr1:1-2", {"HLA:A*01:01": "ACGTAC", "s:2-3": "GGGG", "s": "ACGT"})
    assert set(letters(path)) == {"HLA:A*01:01", "s:2-3", "s"}
    assert letters(f"{path}:HLA:A*01:01:2-4") == {"HLA:A*01:01:2-4": "CGT"}
    assert letters(f"{path}:HLA:A*01:01") == {"HLA:A*01:01": "ACGTAC"}
    assert letters(f"{path}:s:2-3") == {"s:2-3": "GGGG"}
    shutil.copy(path, tmp_path / "a")
    assert letters(f"{tmp_path / 'a'}:s:1-2") == {"s:1-2": "AC"}
    with pytest.raises(SequenceError, match=r"b:chr1:1-2: no such file"):
        Genome.open(tmp_path / "b:chr1:1-2")


def test_addresses_have_colons_of_their_own():
    split = regions.split_regions
    assert split("https://host:80/a/genome.fa.gz") is None
    assert split("https://host:80/a/b:c?d=e:f") is None
    file, (region,) = split("https:/host:80/g.fa.gz:chr1:5-9")
    assert (file, region.name, region.start, region.end) == ("https:/host:80/g.fa.gz", "chr1", 4, 9)
    for text in (f"s3://b/g.2bit#sha256={'0' * 64}:1", f"s3://b/g.2bit:1#sha256={'0' * 64}"):
        file, (region,) = split(text)
        assert (file, region.name) == (f"s3://b/g.2bit#sha256={'0' * 64}", "1")
    assert split("https://host/g.fas:1")[0] == "https://host/g.fas"


def test_a_region_is_a_genome_like_any_other(genome, tmp_path):
    import pickle

    part = Genome.open(f"{genome}:chr1:101-600")
    whole = Genome.open(write_fasta(tmp_path / "part.fa", {"chr1:101-600": known("chr1", 101, 600)}))
    assert part.summary() == whole.summary()
    assert part.n_runs.tolist() == whole.n_runs.tolist()
    starts = np.array([0, 7, 480])
    np.testing.assert_array_equal(part.windows(starts, 20), whole.windows(starts, 20))
    again = pickle.loads(pickle.dumps(part))
    assert again.fetch("chr1:101-600", 3, 9) == part.fetch("chr1:101-600", 3, 9)
    assert again.fingerprint() == part.fingerprint() != Genome.open(f"{genome}:chr1:101-601").fingerprint()


def test_a_region_without_a_known_base_is_an_error(tmp_path):
    path = write_fasta(tmp_path / "n.fa", {"s": "ACGT" + "N" * 20})
    with pytest.raises(SequenceError, match="n.fa:s:5-9: .*no known base"):
        Genome.open(f"{path}:s:5-9")


def test_two_files_are_told_by_content(tmp_path):
    path = twobit(tmp_path).rename(tmp_path / "genome.fa")
    with SequenceFile(path) as source:
        assert source.format == "twobit"
    assert letters(path) == SEQUENCES
