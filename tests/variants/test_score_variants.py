"""``score_variants``: tables in memory and files, and what is asked of all of their rows."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from dnar2mae import score_variants
from dnar2mae.cli import main
from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.inference import Model
from dnar2mae.variants import Measured, ReadOptions, ScoreOptions, score_vcf
from dnar2mae.variants.evaluation import spearman
from tests.random_run import write_run

from .helpers import LAYOUT, record, write_vcf
from .test_vcf import mixed_records

COLUMNS = ["chrom", "pos", "ref", "alt"]


def substitutions(genome, positions):
    """A table of substitutions, positions from 1."""
    refs = [genome.fetch("one", at - 1, at) for at in positions]
    rows = [("one", at, ref, "ACGT".replace(ref, "")[at % 3]) for at, ref in zip(positions, refs, strict=True)]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_a_table_keeps_its_order_index_and_columns(single, genome):
    rows = substitutions(genome, [700, 20, 300]).assign(note=["a", None, "c"], llr=9.0)
    rows.index = ["x", "y", "x"]
    rows.loc["y", "alt"] = "T,<DEL>," + rows.loc["y", "alt"]
    before = rows.copy()
    table = score_variants(single, rows, genome)
    pd.testing.assert_frame_equal(rows, before)
    assert table.index.tolist() == ["x", "y", "y", "y", "x"]
    assert list(table) == [*COLUMNS, "note", "llr", "status"]
    assert table["alt"].tolist()[1:4] == before.loc["y", "alt"].split(",")
    assert table["status"].tolist()[2] == "alt_unknown"
    assert table["pos"].dtype == before["pos"].dtype
    plain = score_variants(single, before.iloc[[0, 2]].reset_index(), genome)
    np.testing.assert_allclose(table["llr"].iloc[[0, 4]], plain["llr"], atol=1e-6)
    assert len(score_variants(single, rows.iloc[:0], genome)) == 0


def test_a_file_gives_what_the_command_writes(single, genome, fasta, tmp_path):
    vcf = write_vcf(tmp_path / "in.vcf", [row for row, _ in mixed_records(genome)])
    score_vcf(single, vcf, tmp_path / "out.tsv", genome=fasta)
    written = pd.read_csv(tmp_path / "out.tsv", sep="\t", keep_default_na=False)
    table = score_variants(single, vcf, fasta)
    pd.testing.assert_frame_equal(table.drop(columns="llr"), written.drop(columns="llr"))
    np.testing.assert_allclose(table["llr"], pd.to_numeric(written["llr"], errors="coerce"), rtol=1e-5, atol=1e-6)
    rows = substitutions(genome, range(100, 110)).rename(columns={"chrom": "Chromosome", "alt": "Alternate"})
    rows.to_csv(tmp_path / "in.csv", index=False)
    of_file, of_frame = (score_variants(single, source, genome) for source in (tmp_path / "in.csv", rows))
    pd.testing.assert_frame_equal(of_file.astype({"pos": int}), of_frame)


@pytest.mark.slow  # two processes that import torch
def test_processes_give_the_same_scores(single, genome, monkeypatch):
    monkeypatch.setattr("dnar2mae.variants.blocks.BLOCK", 8)
    rows = substitutions(genome, range(1000, 1060))
    here, there = (score_variants(single, rows, genome, options=ScoreOptions(workers=n)) for n in (0, 2))
    pd.testing.assert_frame_equal(here, there, atol=1e-6)
    with pytest.raises(ConfigError, match="--workers must be at least 0, got -1"):
        ScoreOptions(workers=-1)
    monkeypatch.setattr(Model, "device", torch.device("cuda"))
    with pytest.raises(ConfigError, match="--workers are for --device cpu: .* is on cuda"):
        score_variants(single, rows, genome, options=ScoreOptions(workers=2))


def test_positions_that_count_from_0_are_told_by_ref(single, genome, fasta, tmp_path):
    rows = substitutions(genome, range(100, 160))
    shifted = rows.assign(pos=rows["pos"] - 1)
    wrong = r"positions count from 0: give --zero-based; REF differs from .* at \d+ of 60 records, first one:\d+ has"
    with pytest.warns(UserWarning, match=f"variants: {wrong}"):
        assert "ref_mismatch" in set(score_variants(single, shifted, genome)["status"])
    found = score_variants(single, shifted, genome, zero_based=True)
    np.testing.assert_array_equal(found["llr"], score_variants(single, rows, genome)["llr"])
    with pytest.warns(UserWarning, match="positions count from 1: leave out --zero-based"):
        score_variants(single, rows, genome, zero_based=True)
    shifted.to_csv(tmp_path / "in.csv", index=False)
    with pytest.raises(SequenceError, match=f"in.csv: {wrong}"):
        score_vcf(single, tmp_path / "in.csv", tmp_path / "out.tsv", genome=fasta)
    reading = ReadOptions(zero_based=True)
    report = score_vcf(single, tmp_path / "in.csv", tmp_path / "out.tsv", genome=fasta, reading=reading)
    assert report.alleles == {"scored": 60}
    vcf = write_vcf(tmp_path / "in.vcf", [record(genome, 100)])
    with pytest.raises(ConfigError, match="--zero-based is for tables: positions of a VCF such as .*in.vcf count from"):
        score_vcf(single, vcf, tmp_path / "out.tsv", genome=fasta, reading=reading)


def test_what_is_no_table_is_refused(single, genome, flipped):
    rows = substitutions(genome, range(100, 160))
    with pytest.raises(SequenceError, match="variants: expected a column alt or alternative"):
        score_variants(single, rows[COLUMNS[:3]], genome)
    with pytest.warns(UserWarning, match="no record lies on a sequence of the genome: .*no sequence 'nine'"):
        assert set(score_variants(single, rows.assign(chrom="nine"), genome)["status"]) == {"no_contig"}
    with pytest.warns(UserWarning, match="is it the right genome"):
        assert {"ref_mismatch"} < set(score_variants(single, rows, flipped)["status"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score_variants(single, rows, genome.path)


@pytest.mark.parametrize("ties", [False, True])
def test_spearman(ties):
    rng = np.random.default_rng(0)
    first = rng.normal(size=200)
    second = first + rng.normal(size=200)
    if ties:
        first, second = first.round(), second.round()
    found = spearman(first, second)
    assert found.value == pytest.approx(spearmanr(first, second)[0])
    resampled = [spearmanr(first[i], second[i])[0] for i in rng.integers(0, 200, (500, 200))]
    np.testing.assert_allclose([found.low, found.high], np.quantile(resampled, [0.025, 0.975]), atol=0.03)
    assert np.isnan(spearman(first, np.zeros(200)).value)
    assert spearman(first, first).value == 1


def test_numbers_of_an_assay_are_compared(genome, fasta, tmp_path, capsys):
    run = write_run(tmp_path / "run", LAYOUT)
    model = Model.from_pretrained(run, device="cpu")
    rows = substitutions(genome, range(200, 230))
    scores = score_variants(model, rows, genome)["llr"].to_numpy()
    effect = scores + np.random.default_rng(0).normal(size=30) * 0.1
    rows = rows.assign(effect=[f"{value:.6f}" for value in effect])
    rows.loc[3:5, "effect"] = ["NA", "", "inf"]
    rows.to_csv(tmp_path / "in.csv", index=False)
    command = ["score-variants", run, "--genome", fasta, "--vcf", tmp_path / "in.csv", "--out", tmp_path / "o.tsv"]
    assert main([*map(str, command), "--correlate", "effect"]) == 0
    kept = np.delete(np.arange(30), [3, 4, 5])
    expected = spearman(scores[kept], effect[kept])
    assert f"Spearman {expected}, 27 alleles with a number" in capsys.readouterr().out
    for flags, message in (
        (["--correlate", "effect", "--evaluate", "effect"], "give either --evaluate (groups) or --correlate (numbers)"),
        (["--correlate", "chrom"], "--correlate chrom needs at least 4 scored variants with a number, got 0"),
        (["--correlate", "other"], f"--correlate must name a column of {tmp_path / 'in.csv'}, got other"),
        (["--seed", "3"], "--seed has no effect without --calibrate: leave it out"),
    ):
        assert main([*map(str, command), *flags]) == 2
        assert message in capsys.readouterr().err
    report = score_vcf(model, tmp_path / "in.csv", tmp_path / "o.tsv", genome=fasta, labels=Measured(field="effect"))
    assert report.metrics["Spearman"] == expected
    assert report.measured == 27
