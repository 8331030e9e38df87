"""Percentiles of substitutions among those of the same trinucleotide."""

import numpy as np
import pandas as pd
import pytest

from dnar2mae.errors import ConfigError
from dnar2mae.genome.store import Genome
from dnar2mae.variants import ScoreOptions, calibration, mutagenesis, score_variants, score_vcf
from dnar2mae.variants.calibration import calibrate, draw_sites

from .helpers import record, write_vcf

FEW = ScoreOptions(calibrate=True, calibration_sites=3)
OTHER = str.maketrans("ACGT", "TGCA")


def folded(three):
    return min(three, three[::-1].translate(OTHER))


@pytest.fixture
def short(fasta, tmp_path):
    """A genome whose every site is drawn."""
    bases = fasta.read_text().splitlines()[1]
    one, two = f"{bases[:300]}NN{bases[300:400].lower()}", bases[500:700]
    (tmp_path / "short.fa").write_text(f">one\n{one}\n>two\n{two}\n>e\nA\n")
    return Genome.open(tmp_path / "short.fa")


def test_sites_are_drawn_for_each_trinucleotide(genome):
    contexts, positions = draw_sites(genome, 5, 0)
    assert np.bincount(contexts).tolist() == [5] * 32
    assert len(set(positions.tolist())) == 160
    text = "".join(genome.fetch(name, 0, int(total)) for name, total in zip(genome.names, genome.lengths, strict=True))
    words = [folded(text[p - 1 : p + 2].upper()) for p in positions]
    for context in range(32):
        assert len({word for word, own in zip(words, contexts, strict=True) if own == context}) == 1
    assert len(set(words)) == 32
    again, other = draw_sites(genome, 5, 0)[1], draw_sites(genome, 5, 1)[1]
    assert again.tolist() == positions.tolist() != other.tolist()


def test_percentiles_are_those_among_all_substitutions(single, short):
    options = ScoreOptions(calibrate=True, calibration_sites=200)
    scores, rows = {}, []
    for name, total in zip(short.names, short.lengths.tolist(), strict=True):
        table, text = mutagenesis(single, short, (name, 0, total)), short.fetch(name, 0, total).upper()
        for at in range(1, total - 1):
            three = text[at - 1 : at + 2]
            if "N" not in three:
                for alt in "ACGT".replace(three[1], ""):
                    scores.setdefault(folded(three), []).append(table[at, "ACGT".index(alt)])
                    rows.append((name, at + 1, three[1], alt, folded(three), table[at, "ACGT".index(alt)]))
    rows = rows[::7]
    expected = [100 * np.mean([(other < own) + (other == own) / 2 for other in scores[word]]) for *_, word, own in rows]
    variants = pd.DataFrame([row[:4] for row in rows], columns=["chrom", "pos", "ref", "alt"])
    table = score_variants(single, variants, short, options=options)
    assert list(table) == ["chrom", "pos", "ref", "alt", "llr", "percentile", "status"]
    # rounding can put a score before or after its own in the table, of a few sites where the trinucleotide is rare
    np.testing.assert_allclose(table["percentile"], expected, atol=10)
    assert np.abs(table["percentile"] - expected).mean() < 0.5


def test_what_is_no_substitution_between_known_bases_has_none(single, short):
    text = short.fetch("one", 0, 402)
    rows = [(1, text[0], ""), (300, text[299], ""), (402, text[401], ""), (10, text[9], ""), (10, text[9:11], text[9])]
    rows = [("one", at, ref, alt or "ACGT".replace(ref.upper(), "")[0]) for at, ref, alt in rows]
    table = score_variants(single, pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt"]), short, options=FEW)
    assert (table["status"] == "scored").all()
    assert table["percentile"].notna().tolist() == [False, False, False, True, False]


def test_it_is_kept_with_the_run_and_by_its_settings(single, genome, tmp_path, monkeypatch):
    first = calibrate(single, genome, FEW).scores
    assert len(list((tmp_path / "single" / "calibration").glob("*.npy"))) == 1

    def never(*_):
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr(calibration, "score_blocks", never)
        np.testing.assert_array_equal(calibrate(single, genome, FEW).scores, first)
        for changed in ({"seed": 1}, {"window_bp": 32}, {"both_strands": False}, {"calibration_sites": 4}):
            with pytest.raises(AssertionError, match="computed again"):
                calibrate(single, genome, ScoreOptions(**{"calibrate": True, "calibration_sites": 3} | changed))
        with pytest.raises(AssertionError, match="computed again"):
            calibrate(single.random_like(5), genome, FEW)
    with pytest.raises(ConfigError, match="--calibration-sites must be at least 1, got 0"):
        ScoreOptions(calibration_sites=0)


def test_a_vcf_has_them_as_a_field(single, genome, fasta, tmp_path):
    vcf = write_vcf(tmp_path / "in.vcf", [record(genome, 100), record(genome, 200, genome.fetch("one", 199, 202), "A")])
    score_vcf(single, vcf, tmp_path / "out.vcf", genome=fasta, options=FEW)
    lines = (tmp_path / "out.vcf").read_text().splitlines()
    assert sum(line.startswith("##INFO=<ID=R2MAE_PCT,Number=A,Type=Float,") for line in lines) == 1
    infos = [dict(item.split("=") for item in line.split("\t")[7].split(";")) for line in lines[-2:]]
    assert 0 <= float(infos[0]["R2MAE_PCT"]) <= 100
    assert infos[1]["R2MAE_PCT"] == "."
    score_vcf(single, vcf, tmp_path / "out.tsv", genome=fasta, options=FEW)
    table = pd.read_csv(tmp_path / "out.tsv", sep="\t")
    assert list(table)[-3:] == ["llr", "percentile", "status"]
    assert table["percentile"].notna().tolist() == [True, False]
