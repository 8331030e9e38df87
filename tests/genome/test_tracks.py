import gzip
import multiprocessing
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.bigwig import write_bigwig
from dnar2mae.genome.store import Genome
from dnar2mae.genome.track_writer import write_track
from dnar2mae.genome.tracks import read_track
from tests.genome.helpers import genome_of, write_fasta

NAN = np.nan


@pytest.fixture
def genome(tmp_path):
    """chr1 of 40 bp, chr2 of 30, chr3 of 20."""
    return genome_of(tmp_path, "ACGT" * 10, "ACG" * 10, "TTGCA" * 4)


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def random_values(genome, seed=0):
    """Values of each sequence, with gaps and stretches of one value."""
    rng = np.random.default_rng(seed)
    values = {}
    for name, length in zip(genome.names, genome.lengths.tolist(), strict=True):
        own = np.repeat(rng.normal(size=length).astype(np.float32), rng.integers(1, 4, length))[:length]
        own[rng.random(length) < 0.2] = NAN
        values[name] = own
    return values


class TestBedGraph:
    def test_values_are_nan_between_lines_and_names_may_have_no_chr(self, tmp_path, genome):
        text = "track type=bedGraph\n#c\n2 0 3 -1.5\n2\t3\t5\t7\nchr1 38 40 1e3\nchr1 5 6 2\n".replace(
            "chr1 5 6 2\n", ""
        )
        track = read_track(written(tmp_path, "t.bedGraph.gz", text), genome)
        assert track.classes is None
        np.testing.assert_array_equal(track.values("chr2", 1, 7), np.float32([-1.5, -1.5, 7, 7, NAN, NAN]))
        np.testing.assert_array_equal(track.values("chr1", 36, 40), np.float32([NAN, NAN, 1000, 1000]))
        assert np.isnan(track.values("chr3", 0, 20)).all()
        assert track.values("chr2", 4, 4).shape == (0,)
        assert track.values("chr2", 0, 1).dtype == np.float32

    def test_a_line_of_nan_is_no_value(self, tmp_path, genome):
        track = read_track(written(tmp_path, "t.bdg", "chr1 0 2 nan\nchr1 2 3 4\n"), genome)
        np.testing.assert_array_equal(track.values("chr1", 0, 4), np.float32([NAN, NAN, 4, NAN]))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("chr1 0 5 1\nchr1 4 6 2\n", r"t.bedgraph:2: lines .* not overlap, got 4 after a line up to 5"),
            ("chr1 9 12 1\nchr1 2 3 2\n", r"t.bedgraph:2: lines of a sequence must be in order"),
            ("chr1 -1 5 1\n", r"t.bedgraph:1: a region needs 0 <= start < end <= 40 \(length of chr1\), got -1-5"),
            ("chr1 30 41 1\n", r"t.bedgraph:1: a region needs 0 <= start < end <= 40"),
            ("chr1 1 2\n", r"t.bedgraph:1: a bedGraph line is name, start, end and a number, got 'chr1 1 2'"),
            ("chr1 1 2 high\n", r"t.bedgraph:1: a bedGraph line is"),
            ("chr1 1 2 inf\n", r"t.bedgraph:1: a bedGraph line is"),
            ("chr1 1 2 3 4\n", r"t.bedgraph:1: a bedGraph line is"),
            ("chr1 1 x 3\n", r"t.bedgraph:1: a BED line is name, start, end"),
            ("chr7 1 2 3\nX 1 2 3\n", r"t.bedgraph: a track of another assembly: .* has none of chr7, X"),
            ("", r"t.bedgraph: no region"),
        ],
    )
    def test_refused_in_one_line(self, tmp_path, genome, text, message):
        with pytest.raises(SequenceError, match=message) as error:
            read_track(written(tmp_path, "t.bedgraph", text), genome)
        assert "\n" not in str(error.value)

    def test_lines_of_other_sequences_are_left_out_with_a_warning(self, tmp_path, genome):
        path = written(tmp_path, "t.bedgraph", "chr1 1 2 3\nchr9 0 1 1\nchr9 1 2 1\n")
        with pytest.warns(UserWarning, match="2 of 3 lines are left out: .* has no chr9"):
            assert read_track(path, genome).values("chr1", 1, 2) == 3

    def test_damaged_gzip(self, tmp_path, genome):
        path = written(tmp_path, "t.bedgraph.gz", "chr1 1 2 3\n")
        path.write_bytes(path.read_bytes()[:-8])
        with pytest.raises(SequenceError, match="cannot be read as BED"):
            read_track(path, genome)


class TestBed:
    TEXT = "chr1 2 5 b\nchr1 4 8 b\nchr2 0 1 a\n"

    def test_inside_is_1_and_outside_0(self, tmp_path, genome):
        track = read_track(written(tmp_path, "t.bed", self.TEXT), genome)
        assert track.classes == ("outside", "inside")
        assert track.values("chr1", 0, 10).tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]
        assert track.values("chr2", 0, 2).tolist() == [1, 0]
        assert not track.values("chr3", 0, 20).any()

    def test_classes_by_name(self, tmp_path, genome):
        track = read_track(written(tmp_path, "t.bed", self.TEXT), genome, by_name=True)
        assert track.classes == ("outside", "a", "b")
        assert track.values("chr1", 1, 9).tolist() == [0, 2, 2, 2, 2, 2, 2, 0]
        assert track.values("chr2", 0, 2).tolist() == [1, 0]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("chr2 2 5 a\nchr2 4 8 b\n", r"a base can have one class, and b overlaps another at chr2:4"),
            ("chr1 2 5\n", r"t.bed:1: classes by name need a fourth column, got 3"),
            ("chr1 2 5 outside\n", r"no region may have the name 'outside'"),
        ],
    )
    def test_names_that_make_no_classes(self, tmp_path, genome, text, message):
        with pytest.raises(SequenceError, match=message):
            read_track(written(tmp_path, "t.bed", text), genome, by_name=True)


class TestFeatures:
    GFF = (
        "##gff-version 3\n"
        "chr1\t.\tregion\t1\t40\t.\t+\t.\tID=chr1;Is_circular=true\n"
        "chr1\t.\tgene\t3\t12\t.\t+\t.\tID=g\n"
        "chr1\t.\tCDS\t5\t8\t.\t+\t0\tID=c;Parent=g\n"
        "chr1\t.\tCDS\t39\t42\t.\t-\t0\tID=d\n"
        "chr2\t.\ttRNA\t1\t2\t.\t-\t.\tID=t\n"
    )

    def test_one_feature_on_either_strand_and_over_an_origin(self, tmp_path, genome):
        track = read_track(written(tmp_path, "t.gff3.gz", self.GFF), genome, features=("CDS",))
        assert track.classes == ("outside", "CDS")
        assert np.flatnonzero(track.values("chr1", 0, 40)).tolist() == [0, 1, 4, 5, 6, 7, 38, 39]
        assert not track.values("chr2", 0, 30).any()

    def test_of_overlapping_features_the_first_named_counts(self, tmp_path, genome):
        path = written(tmp_path, "t.gff", self.GFF)
        track = read_track(path, genome, features=("CDS", "gene", "tRNA"))
        assert track.classes == ("outside", "CDS", "gene", "tRNA")
        assert track.values("chr1", 1, 13).tolist() == [1, 2, 2, 1, 1, 1, 1, 2, 2, 2, 2, 0]
        assert track.values("chr2", 0, 3).tolist() == [3, 3, 0]
        swapped = read_track(path, genome, features=("gene", "CDS"))
        assert swapped.values("chr1", 1, 13).tolist() == [2] + [1] * 10 + [0]

    @pytest.mark.parametrize("features", [(), ("exon",), ("CDS", "CDS")])
    def test_features_must_be_of_the_file(self, tmp_path, genome, features):
        message = r"name features that it has, each once; it has CDS \(2\), region \(1\), gene \(1\), tRNA \(1\)"
        with pytest.raises(ConfigError, match=message):
            read_track(written(tmp_path, "t.gff", self.GFF), genome, features=features)

    def test_an_annotation_of_another_assembly(self, tmp_path, genome):
        with pytest.raises(SequenceError, match=r"outside sequence chr2.* is this its assembly\?"):
            read_track(written(tmp_path, "t.gff", "chr2\t.\tCDS\t50\t70\t.\t+\t0\tID=c\n"), genome, features=("CDS",))
        with pytest.raises(SequenceError, match=r"no annotated sequence \(chrX\)"):
            read_track(written(tmp_path, "t.gff", "chrX\t.\tCDS\t5\t7\t.\t+\t0\tID=c\n"), genome, features=("CDS",))


def test_options_of_other_formats_and_names_of_none(tmp_path, genome):
    bed, graph = written(tmp_path, "t.bed", "chr1 0 1\n"), written(tmp_path, "t.bedgraph", "chr1 0 1 1\n")
    with pytest.raises(ConfigError, match="features are of GFF3, GTF, GenBank or EMBL, and this is BED"):
        read_track(bed, genome, features=("CDS",))
    with pytest.raises(ConfigError, match="classes by name are of BED, and this is bedGraph"):
        read_track(graph, genome, by_name=True)
    with pytest.raises(ConfigError, match=r"a track's name ends in .bw, .bigwig, .bedgraph"):
        read_track(written(tmp_path, "t.wig", ""), genome)
    for track in (read_track(bed, genome), read_track(graph, genome)):
        with pytest.raises(SequenceError, match="no sequence 'chr8'"):
            track.values("chr8", 0, 1)
        with pytest.raises(SequenceError, match="need 0 <= start <= end <= 40"):
            track.values("chr1", 30, 41)


@pytest.fixture(scope="module")
def painted_genome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("painted")
    return Genome.open(write_fasta(folder / "genome.fa", {"chr1": "A" * 30, "chr2": "C" * 25}), cache_dir=folder)


@given(data=st.data())
def test_intervals_read_as_a_painted_array(painted_genome, data):
    """Any BED of two sequences, against an array in which each region is painted."""
    regions = data.draw(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 24), st.integers(1, 9)), min_size=1))
    painted = np.zeros((2, 30), np.float32)
    lines = []
    for sequence, start, size in regions:
        end = min(start + size, (30, 25)[sequence])
        painted[sequence, start:end] = 1
        lines.append(f"chr{sequence + 1}\t{start}\t{end}\n")
    folder = painted_genome.path.parent
    track = read_track(written(folder, "t.bed", "".join(lines)), painted_genome)
    first, last = sorted(data.draw(st.tuples(st.integers(0, 25), st.integers(0, 25))))
    for sequence in (0, 1):
        np.testing.assert_array_equal(
            track.values(f"chr{sequence + 1}", first, last), painted[sequence, first:last], strict=True
        )


@pytest.mark.parametrize("suffix", [".bw", ".bigWig", ".bedgraph"])
class TestWriting:
    @pytest.fixture(autouse=True)
    def _package(self, suffix):
        if suffix != ".bedgraph":
            pytest.importorskip("pybigtools", reason="bigWig needs pybigtools")

    def test_what_is_written_is_read(self, tmp_path, genome, suffix):
        values, out = random_values(genome), tmp_path / "new" / f"t{suffix}"
        chunks = [(n, s, v[s : s + 7]) for n, v in values.items() for s in range(0, len(v), 7)]
        write_track(out, genome, iter(chunks))
        track = read_track(out, genome)
        for name, expected in values.items():
            np.testing.assert_array_equal(track.values(name, 0, len(expected)), expected, strict=True)
            np.testing.assert_array_equal(track.values(name, 3, 11), expected[3:11], strict=True)
        assert [path.name for path in out.parent.iterdir()] == [out.name]

    def test_what_has_no_value_is_not_written(self, tmp_path, genome, suffix):
        values = np.float32([NAN, 1, 1, np.inf, 2, NAN])
        write_track(tmp_path / f"t{suffix}", genome, [("chr2", 4, values), ("chr3", 1, values[:0])])
        expected = np.full(30, NAN, np.float32)
        expected[[5, 6, 8]] = 1, 1, 2
        np.testing.assert_array_equal(read_track(tmp_path / f"t{suffix}", genome).values("chr2", 0, 30), expected)

    @pytest.mark.parametrize(
        ("chunks", "message"),
        [
            ([("chr1", 4, 3), ("chr1", 6, 3)], "values must come in the genome's order, got chr1:6"),
            ([("chr2", 0, 3), ("chr1", 0, 3)], "values must come in the genome's order, got chr1:0"),
            ([("chr1", 38, 3)], "need 0 <= start <= end <= 40"),
            ([("chr8", 0, 3)], "no sequence 'chr8'"),
            ([], "no base has a value"),
        ],
    )
    def test_nothing_is_left_of_what_cannot_be_written(self, tmp_path, genome, suffix, chunks, message):
        with pytest.raises(SequenceError, match=message):
            write_track(tmp_path / f"t{suffix}", genome, [(n, s, np.ones(k, np.float32)) for n, s, k in chunks])
        assert not list(tmp_path.glob("*t*.b*"))

    def test_an_error_of_the_one_who_computes_comes_through(self, tmp_path, genome, suffix):
        def chunks():
            yield "chr1", 0, np.ones(3, np.float32)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_track(tmp_path / f"t{suffix}", genome, chunks())
        assert not list(tmp_path.glob("*t*.b*"))


def test_bedgraph_lines_are_runs_of_equal_values(tmp_path, genome):
    write_track(tmp_path / "t.bedgraph", genome, [("chr2", 2, np.float32([0.1, 0.1, NAN, NAN, 1 / 3, 2]))])
    assert (tmp_path / "t.bedgraph").read_text() == "chr2\t2\t4\t0.1\nchr2\t6\t7\t0.33333334\nchr2\t7\t8\t2.0\n"


def test_other_suffixes_are_not_written(tmp_path, genome):
    with pytest.raises(ConfigError, match=r"must end in .bw, .bigwig, .bedgraph, got .*t.wig"):
        write_track(tmp_path / "t.wig", genome, [])


def values_of_child(track, queue):
    queue.put(track.values("chr1", 0, 40))


class TestBigWig:
    pytest.importorskip("pybigtools", reason="bigWig needs pybigtools")

    @pytest.fixture
    def path(self, tmp_path, genome):
        write_track(tmp_path / "t.bw", genome, list((n, 0, v) for n, v in random_values(genome).items()))
        return tmp_path / "t.bw"

    def test_names_through_aliases_and_sequences_it_lacks(self, tmp_path, genome):
        write_bigwig(tmp_path / "t.bw", {"2": 30, "chr9": 7}, iter([("2", 1, 3, 0.5), ("chr9", 0, 1, 1.0)]))
        with pytest.warns(UserWarning, match="1 of 2 sequences are left out: .* has no chr9"):
            track = read_track(tmp_path / "t.bw", genome)
        np.testing.assert_array_equal(track.values("chr2", 0, 4), np.float32([NAN, 0.5, 0.5, NAN]))
        assert np.isnan(track.values("chr1", 0, 40)).all()
        assert len(track.values("chr2", 4, 4)) == 0

    @pytest.mark.parametrize(
        ("lengths", "message"),
        [
            ({"chr1": 41}, r"chr1 has 41 bp, in .* 40: a track of another assembly"),
            ({"chrX": 40}, r"a track of another assembly: .* has none of chrX"),
        ],
    )
    def test_of_another_assembly(self, tmp_path, genome, lengths, message):
        write_bigwig(tmp_path / "t.bw", lengths, iter([(next(iter(lengths)), 0, 1, 1.0)]))
        with pytest.raises(SequenceError, match=message):
            read_track(tmp_path / "t.bw", genome)

    def test_coordinates_and_names_are_checked(self, path, genome):
        track = read_track(path, genome)
        with pytest.raises(SequenceError, match="need 0 <= start <= end <= 40"):
            track.values("chr1", -5, 10)
        with pytest.raises(SequenceError, match="no sequence 'chr8'"):
            track.values("chr8", 0, 1)

    def test_missing_cut_and_other_files(self, path, genome, tmp_path):
        content = path.read_bytes()
        with pytest.raises(SequenceError, match="none.bw: cannot be read as bigWig; damaged. No such file"):
            read_track(tmp_path / "none.bw", genome)
        for name, damaged in {"cut": content[: len(content) // 2], "head": content[:10]}.items():
            (tmp_path / f"{name}.bw").write_bytes(damaged)
            with pytest.raises(SequenceError, match=f"{name}.bw: cannot be read as bigWig; damaged"):
                read_track(tmp_path / f"{name}.bw", genome)
        (tmp_path / "text.bw").write_text("chr1 0 1 1\n")
        with pytest.raises(SequenceError, match="text.bw: does not begin as bigWig does"):
            read_track(tmp_path / "text.bw", genome)

    def test_a_damaged_block_is_an_error_where_it_is_read(self, path, genome, tmp_path):
        content = bytearray(path.read_bytes())
        # where the header says that the data begin: their number in 8 bytes, then a block of zlib for each sequence
        data = int.from_bytes(content[16:24], "little") + 8
        content[data + 10 : data + 50] = bytes(40)
        (tmp_path / "bad.bw").write_bytes(content)
        track = read_track(tmp_path / "bad.bw", genome)
        with pytest.raises(SequenceError, match="bad.bw: cannot be read as bigWig; damaged"):
            track.values("chr1", 0, 40)
        assert len(track.values("chr3", 0, 20)) == 20

    def test_other_processes_read_the_same(self, path, genome):
        track = read_track(path, genome)
        expected = track.values("chr1", 0, 40)
        again = pickle.loads(pickle.dumps(track))
        np.testing.assert_array_equal(again.values("chr1", 0, 40), expected)
        if sys.platform == "linux":
            context = multiprocessing.get_context("fork")
            queue = context.Queue()
            children = [context.Process(target=values_of_child, args=(track, queue)) for _ in range(2)]
            for child in children:
                child.start()
            for _ in children:
                np.testing.assert_array_equal(queue.get(timeout=60), expected)
            for child in children:
                child.join()

    def test_without_the_package(self, path, genome, monkeypatch):
        monkeypatch.setitem(sys.modules, "pybigtools", None)
        with pytest.raises(ConfigError, match=r"needs the package pybigtools: pip install 'dnar2mae\[tracks\]'"):
            read_track(path, genome)


def test_a_large_bigwig_is_not_read_whole(tmp_path):
    """Reading a thousand bases of a million takes memory for neither the file nor the sequence."""
    pytest.importorskip("pybigtools", reason="bigWig needs pybigtools")
    import tracemalloc

    genome = Genome.open(write_fasta(tmp_path / "genome.fa", {"chr1": "ACGT" * 250_000}))
    values = np.random.default_rng(0).random(1_000_000).astype(np.float32)
    write_track(tmp_path / "t.bw", genome, [("chr1", 0, values)])
    track = read_track(tmp_path / "t.bw", genome)
    tracemalloc.start()
    part = track.values("chr1", 500_000, 501_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(part, values[500_000:501_000])
    assert peak < 100_000
