import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnar2mae.errors import SequenceError
from dnar2mae.genome.bed import bed_lines, read_bed
from dnar2mae.genome.intervals import difference, intersection, intervals_of, size, union

from .helpers import genome_of

PAIRS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=12)


def intervals(pairs):
    return intervals_of([s for s, _ in pairs], [s + n for s, n in pairs])


def positions(array):
    return {p for start, end in array.tolist() for p in range(start, end)}


class TestAlgebra:
    @given(PAIRS)
    def test_union(self, pairs):
        merged = union(intervals(pairs))
        assert positions(merged) == positions(intervals(pairs))
        assert (merged[1:, 0] > merged[:-1, 1]).all()
        assert size(merged) == len(positions(merged))

    @given(PAIRS, PAIRS)
    def test_intersection_and_difference(self, a, b):
        first, second = union(intervals(a)), union(intervals(b))
        both, rest = intersection(first, second), difference(first, second)
        assert positions(both) == positions(first) & positions(second)
        assert positions(rest) == positions(first) - positions(second)
        for result in (both, rest):
            assert (result[1:, 0] >= result[:-1, 1]).all()
            assert (result[:, 0] < result[:, 1]).all()


class TestBed:
    def test_regions_are_merged_inside_sequences(self, tmp_path):
        genome = genome_of(tmp_path, "A" * 100, "A" * 50)
        bed = tmp_path / "a.bed"
        text = (
            "# comment\nbrowser position chr1\ntrack name=x\n\n"
            "chr2\t0\t10\tname\t0\t+\nchr1 90 100\nchr1\t10\t20\r\n1\t15\t30\nchr1\t30\t31\n"
        )
        bed.write_text(text, newline="")
        (regions,) = read_bed(bed, [genome])
        assert regions.tolist() == [[10, 31], [90, 100], [100, 110]]
        (tmp_path / "b").write_bytes(gzip.compress(text.encode()))
        np.testing.assert_array_equal(read_bed(tmp_path / "b", [genome])[0], regions)

    def test_names_in_several_genomes(self, tmp_path):
        a, b = genome_of(tmp_path, "ACGT", name="a.fa"), genome_of(tmp_path, "ACGT", "ACGT", name="b.fa")
        bed = tmp_path / "a.bed"
        bed.write_text("b:chr1\t1\t2\nchr2\t0\t1\na:1\t0\t3\n")
        first, second = read_bed(bed, [a, b])
        assert (first.tolist(), second.tolist()) == ([[0, 3]], [[1, 2], [4, 5]])
        bed.write_text("chr1\t1\t2\n")
        with pytest.raises(SequenceError, match=r"a.bed:1: chr1 is a sequence of several genomes \(a, b\)"):
            read_bed(bed, [a, b])

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("chr1\t0\t1\nchr1\t5\t12\n", r":2: a region needs 0 <= start < end <= 10 .* got 5-12"),
            ("chr1\t0\t1\x1c\tn\n", r":1: a BED line is name, start, end"),
            ("chr1\t0\t" + "9" * 5000 + "\n", r":1: a BED line is name, start, end"),
            ("chr1\t0\t1_0\n", r":1: a BED line is name, start, end"),
            ("chr1\t7\t3\n", r":1: a region needs"),
            ("chr1\t-1\t3\n", r":1: a region needs"),
            ("chr1\t0\t11\n", r":1: a region needs"),
            ("chr1\t1.5\t3\n", r":1: a BED line is name, start, end, got 'chr1\\t1.5"),
            ("chr1\t1\n", r":1: a BED line is name, start, end"),
            ("# none\n", r"no region in this BED file"),
        ],
    )
    def test_errors(self, tmp_path, text, message):
        genome = genome_of(tmp_path, "A" * 10)
        (tmp_path / "a.bed").write_text(text)
        with pytest.raises(SequenceError, match="a.bed.*" + message):
            read_bed(tmp_path / "a.bed", [genome])

    def test_sequences_that_no_genome_has_are_counted_and_left_out(self, tmp_path):
        a, b = genome_of(tmp_path, "A" * 10, name="a.fa"), genome_of(tmp_path, "A" * 10, "A" * 10, name="b.fa")
        bed = tmp_path / "a.bed"
        bed.write_text("chr2\t1\t2\nchr3\t0\t100\nchrUn_1\t0\t9\nchr3\t5\t7\n")
        with pytest.warns(UserWarning, match=r"a.bed: 3 of 4 regions are left out: no genome has chr3, chrUn_1$"):
            first, second = read_bed(bed, [a, b])
        assert (first.tolist(), second.tolist()) == ([], [[11, 12]])

    def test_a_mitochondrion_is_found_by_any_of_its_names(self, tmp_path):
        genome = genome_of(tmp_path, "A" * 10)
        genome.index["Mito"] = 0
        (tmp_path / "a.bed").write_text("chrM\t0\t1\n")
        assert read_bed(tmp_path / "a.bed", [genome])[0].tolist() == [[0, 1]]

    def test_columns_are_separated_by_tabs_or_by_white_space(self, tmp_path):
        (tmp_path / "a.bed").write_text("chr1\t0\t1\ta gene\t0\t-\nchr1 1\t2\nchr1 2 3 name 0 -\n")
        lines = list(bed_lines(tmp_path / "a.bed"))
        assert [(line.start, line.end) for line in lines] == [(0, 1), (1, 2), (2, 3)]
        assert [line.fields[3:] for line in lines] == [["a gene", "0", "-"], [], ["name", "0", "-"]]
        assert lines[2].where.endswith("a.bed:3")

    def test_insertion_points_are_skipped_with_their_number(self, tmp_path):
        genome = genome_of(tmp_path, "A" * 10)
        (tmp_path / "a.bed").write_text("chr1\t0\t1\nchr1\t5\t5\nchr1\t7\t7\nchr1\t8\t9\n")
        with pytest.warns(UserWarning, match=r"a.bed: 2 of the regions hold no base \(start = end\); skipped"):
            assert read_bed(tmp_path / "a.bed", [genome])[0].tolist() == [[0, 1], [8, 9]]
        (tmp_path / "a.bed").write_text("chr1\t5\t5\n")
        with pytest.warns(UserWarning, match="1 of the"), pytest.raises(SequenceError, match="no region in this BED"):
            read_bed(tmp_path / "a.bed", [genome])

    def test_unreadable(self, tmp_path):
        genome = genome_of(tmp_path, "ACGT")
        with pytest.raises(SequenceError, match="none.bed: cannot be read as BED"):
            read_bed(tmp_path / "none.bed", [genome])
        (tmp_path / "cut.bed.gz").write_bytes(gzip.compress(b"chr1\t0\t1\n" * 50)[:30])
        with pytest.raises(SequenceError, match="cut.bed.gz: cannot be read as BED"):
            read_bed(tmp_path / "cut.bed.gz", [genome])
