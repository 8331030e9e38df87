import pickle

import numpy as np
import pytest
from Bio.Seq import Seq
from hypothesis import given, settings
from hypothesis import strategies as st

from dnar2mae.errors import SequenceError
from dnar2mae.genome import store
from dnar2mae.genome.alphabet import decode
from dnar2mae.genome.eligible import eligible_starts, rich_in_n
from dnar2mae.genome.intervals import intervals_of, size
from dnar2mae.genome.split import split
from dnar2mae.genome.windows import TiledSource, WindowSource

from .helpers import config, genome_of, locate, random_bases, with_n


def whole(genome):
    return [genome.intervals]


def set_of(intervals):
    return {p for start, end in intervals.tolist() for p in range(start, end)}


class TestEligible:
    @settings(max_examples=300, deadline=None)
    @given(
        is_n=st.lists(st.booleans(), min_size=1, max_size=60)
        | st.lists(st.integers(0, 12), min_size=1, max_size=8).map(
            lambda runs: [i % 2 == 1 for i, n in enumerate(runs) for _ in range(n)]
        ),
        window=st.integers(1, 20),
        most=st.integers(0, 20),
    )
    def test_rich_in_n_is_exact(self, is_n, window, most):
        padded = np.concatenate([[False], is_n, [False]]).astype(int)
        edges = np.flatnonzero(np.diff(padded))
        got = rich_in_n(intervals_of(edges[::2], edges[1::2]), window, most)
        count = np.convolve(np.pad(np.array(is_n, int), window), np.ones(window, int), "valid")
        assert set_of(got) == set(np.flatnonzero(count > most) - window)

    @pytest.mark.parametrize("seed", range(8))
    def test_all_rules_by_brute_force(self, tmp_path, seed):
        rng = np.random.default_rng(seed)
        window, share = int(rng.integers(8, 30)), float(rng.choice([0.0, 0.1, 0.29, 0.5, 0.9]))
        lengths = rng.integers(1, 300, 4).tolist() + [400]
        sequences = [with_n(rng, n, 3) for n in lengths]
        genome = genome_of(tmp_path, *sequences)
        lines, regions = {"include": [], "exclude": []}, {"include": [], "exclude": []}
        for kind, region_lines in lines.items():
            for _ in range(6 if kind == "include" else 2):
                i = int(rng.integers(5))
                start = int(rng.integers(lengths[i]))
                end = int(rng.integers(start + 1, min(lengths[i], start + 60) + 1))
                region_lines.append(f"chr{i + 1}\t{start}\t{end}\n")
                regions[kind].append((i, start, end))
            (tmp_path / f"{kind}.bed").write_text("".join(region_lines))
        rules = {kind: str(tmp_path / f"{kind}.bed") for kind in lines if rng.random() < 0.8}
        expected = set()
        for i, sequence in enumerate(sequences):
            inside, outside = np.zeros(len(sequence), bool), np.zeros(len(sequence), bool)
            for j, start, end in regions["include"]:
                inside[start:end] |= i == j
            for j, start, end in regions["exclude"]:
                outside[start:end] |= i == j
            runs = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]]))).reshape(-1, 2)
            centred = {
                min(max(start - (window - (end - start)) // 2, 0), len(sequence) - window)
                for start, end in runs.tolist()
                if end - start < window
            }
            for start in range(len(sequence) - window + 1):
                part = slice(start, start + window)
                if sequence[part].count("N") / window > share:
                    continue
                if "include" in rules and not (inside[part].all() or start in centred):
                    continue
                if "exclude" in rules and outside[part].any():
                    continue
                expected.add(int(genome.offsets[i]) + start)
        settings = config(window_bp=window, max_n_share=share, **rules)
        try:
            (found,) = eligible_starts([genome], whole(genome), settings)
        except SequenceError:
            assert not expected
            return
        assert set_of(found.starts) == expected
        removed = sum(n for name, n in found.report.items() if name.startswith("removed_by"))
        assert found.report["possible"] - removed == found.report["eligible"] == len(expected)
        assert found.report["short_sequences"] == sum(n < window for n in lengths)
        source = TiledSource([genome], whole(genome), settings)
        starts = np.unique(source._start)
        assert set(starts.tolist()) <= expected
        assert (np.diff(starts) >= window).all()

    @pytest.mark.parametrize(
        ("sequence", "rules", "message"),
        [
            ("ACGT", {}, "no window of 10 bp fits: 1 sequences are shorter, and the longest has 4 bp"),
            ("NNNNNNNNNNNA", {}, "no window of 10 bp is left of 3: --data.max-n-share removed 3"),
            ("A" * 20, {"exclude": "a.bed"}, "is left of 11: --data.exclude removed 11"),
            ("A" * 9 + "N" * 11, {"include": "a.bed"}, "include removed 10, --data.max-n-share removed 1"),
        ],
    )
    def test_nothing_left(self, tmp_path, sequence, rules, message):
        (tmp_path / "a.bed").write_text("chr1\t9\t11\n")
        genome = genome_of(tmp_path, sequence)
        settings = config(window_bp=10, **{name: str(tmp_path / bed) for name, bed in rules.items()})
        for source in (WindowSource, TiledSource):
            with pytest.raises(SequenceError, match=message):
                source([genome], whole(genome), settings)


@pytest.fixture
def genome(tmp_path):
    rng = np.random.default_rng(0)
    return genome_of(tmp_path, with_n(rng, 900), random_bases(rng, 400, "ACGTacgt"), random_bases(rng, 20))


class TestWindowSource:
    def test_windows_are_where_they_say(self, genome):
        source = WindowSource([genome], whole(genome), config(window_bp=50), seed=3)
        ids = np.arange(500)
        at, codes = locate(source, ids), source.codes(ids)
        assert at.reverse.any()
        assert not at.reverse.all()
        for i in ids:
            name = genome.names[at.sequence[i]]
            forward = genome.fetch(name, int(at.start[i]), int(at.start[i]) + 50)
            letters = str(Seq(forward).reverse_complement()) if at.reverse[i] else forward
            assert decode(codes[i]) == letters
            assert letters.upper().count("N") <= 5

    def test_pure(self, genome):
        source = WindowSource([genome], whole(genome), config(window_bp=50), seed=3)
        ids = np.array([5, 2**40, 0, 7, 5])
        together = source.codes(ids)
        np.testing.assert_array_equal(together, np.concatenate([source.codes(ids[i : i + 1]) for i in range(5)]))
        np.testing.assert_array_equal(together[::-1], source.codes(ids[::-1].copy()))
        np.testing.assert_array_equal(together, pickle.loads(pickle.dumps(source)).codes(ids))
        other = WindowSource([genome], whole(genome), config(window_bp=50), seed=4)
        assert (other.codes(ids) != together).any()

    def test_large_genomes_are_read_without_mapping(self, genome, monkeypatch):
        source = WindowSource([genome], whole(genome), config(window_bp=50))
        mapped = source.codes(np.arange(100))
        monkeypatch.setattr(store, "_RESIDENT_BYTES", 100)
        np.testing.assert_array_equal(source.codes(np.arange(100)), mapped)

    def test_starts_are_uniform(self, genome):
        settings = config(window_bp=50)
        source = WindowSource([genome], whole(genome), settings, seed=1)
        n = 200_000
        at = locate(source, np.arange(n))
        (eligible,) = eligible_starts([genome], whole(genome), settings)
        starts = np.array(sorted(set_of(eligible.starts)))
        seen = np.bincount(at.start + genome.offsets[at.sequence], minlength=genome.total_bp)
        assert seen.sum() == seen[starts].sum()
        chi2 = ((seen[starts] - n / len(starts)) ** 2).sum() / (n / len(starts))
        degrees = len(starts) - 1
        assert abs(chi2 - degrees) < 5 * np.sqrt(2 * degrees)
        assert abs(at.reverse.mean() - 0.5) < 5 * 0.5 / np.sqrt(n)

    def test_strand_plus_only(self, genome):
        source = WindowSource([genome], whole(genome), config(window_bp=50, reverse_complement=False))
        assert not locate(source, np.arange(200)).reverse.any()

    @pytest.mark.parametrize("weights", [(), (1.0, 2.0, 5.0)])
    def test_genomes_by_weight(self, tmp_path, weights):
        rng = np.random.default_rng(0)
        lengths = (1000, 10, 400)
        genomes = [genome_of(tmp_path, random_bases(rng, n), name=f"{n}.fa") for n in lengths]
        settings = config(window_bp=20)
        if weights:
            settings = type(settings)(genomes=("a", "b", "c"), weights=weights, window_bp=20)
        source = WindowSource(genomes, [g.intervals for g in genomes], settings)
        n = 20_000
        at = locate(source, np.arange(n))
        share = np.bincount(at.genome, minlength=3) / n
        expected = [1 / 6, 0, 5 / 6] if weights else [981 / 1362, 0, 381 / 1362]  # the second has no window
        np.testing.assert_allclose(share, expected, atol=5 * 0.5 / np.sqrt(n))
        codes = source.codes(np.arange(50))
        for i in range(50):
            start = int(at.start[i])
            strand = "-" if at.reverse[i] else "+"
            assert decode(codes[i]) == genomes[at.genome[i]].fetch("chr1", start, start + 20, strand)
        assert list(source.report()) == [str(g.path) for g in genomes]

    def test_training_windows_stay_away_from_held_out_bases(self, genome):
        settings = config(window_bp=30, validation_blocks=2)
        parts = split([genome], settings)
        source = WindowSource([genome], parts.training, settings)
        at = locate(source, np.arange(3000))
        first = at.start + genome.offsets[at.sequence]
        for start, end in parts.validation[0]:
            near = (first + 30 + 30 > start) & (first - 30 < end)
            same = genome.sequence_of(np.array([start]))[0] == at.sequence
            assert not (near & same).any()

    def test_coverage(self, genome):
        settings = config(window_bp=50)
        source = WindowSource([genome], whole(genome), settings)
        covered = set_of(source.coverage()[0])
        starts = set_of(source._starts[0])
        assert covered == {p for start in starts for p in range(start, start + 50)}


class TestTiledSource:
    def test_tiles(self, tmp_path):
        genome = genome_of(tmp_path, random_bases(np.random.default_rng(0), 1000))
        source = TiledSource([genome], [intervals_of([100, 500], [165, 545])], config(window_bp=20))
        assert len(source) == 10
        at = locate(source, np.arange(10))
        assert at.start.tolist() == [100, 100, 120, 120, 140, 140, 500, 500, 520, 520]
        assert at.reverse.tolist() == [False, True] * 5
        assert decode(source.codes(np.array([3]))[0]) == genome.fetch("chr1", 120, 140, "-")
        assert size(source.coverage()[0]) == 100
        plus = TiledSource([genome], [genome.intervals], config(window_bp=20, reverse_complement=False))
        assert (len(plus), locate(plus, np.arange(50)).reverse.any()) == (50, False)
