"""Every substitution of regions, and substitutions that share the passes of a pattern (``--snv fast``)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dnar2mae.cli import main
from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import SOFT_MASK, complement
from dnar2mae.genome.store import Genome
from dnar2mae.genome.window_layout import lay_windows, window_over
from dnar2mae.inference import Model
from dnar2mae.tracks.options import TrackOptions
from dnar2mae.tracks.predictions import period_of
from dnar2mae.tracks.region import region_log_probabilities
from dnar2mae.variants import EverySubstitution, ScoreOptions, mutagenesis, score_variants, score_vcf
from dnar2mae.variants.questions import SNV_OVERLAP_SHARE, SNV_PERIOD
from tests.random_run import write_run

from .helpers import CNN, frame

FAST = ScoreOptions(snv="fast")


@pytest.fixture
def small(tmp_path):
    """Three sequences: one longer than two windows of 64, one with unknown bases and lower case, one of three bases."""
    rng = np.random.default_rng(3)
    letters = ["".join(rng.choice(list("ACGT"), n)) for n in (200, 90)]
    gap = letters[1][:30] + "NNNNN" + letters[1][35:60].lower() + letters[1][60:]
    (tmp_path / "small.fa").write_text(f">a\n{letters[0]}\n>b\n{gap}\n>c\nACG\n")
    return Genome.open(tmp_path / "small.fa")


@pytest.fixture
def model(tmp_path):
    return Model.from_pretrained(write_run(tmp_path / "run", CNN), device="cpu")


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
@pytest.mark.parametrize("window_bp", [7, 64, 200, 300])
def test_the_window_of_a_base_is_that_of_the_layout(small, window_bp, overlap):
    laid = lay_windows(small, small.intervals, window_bp, overlap)
    for number, (start, end) in enumerate(laid.extents.tolist()):
        ((low, high),) = laid.of(number).tolist()
        for position in range(low, high):
            assert window_over(small, position, window_bp, overlap) == (start, end, (low, high))


def test_on_one_strand_fast_scores_are_those_of_tracks(model, small):
    options = TrackOptions(genome=small.path, both_strands=False)
    log_p = region_log_probabilities(model, small, ("a", 0, 200), options)
    expected = log_p - log_p[np.arange(200), small.codes("a", 0, 200)][:, None]
    fast = mutagenesis(model, small, ("a", 0, 200), replace(FAST, both_strands=False))
    np.testing.assert_allclose(fast, expected, atol=1e-5)
    assert period_of(options.pattern_ratio, model.window_bp) == SNV_PERIOD
    assert options.overlap_share == SNV_OVERLAP_SHARE


@pytest.mark.parametrize(("name", "place"), [("a", 60), ("a", 199), ("b", 0), ("b", 40), ("c", 1)])
@torch.inference_mode()
def test_fast_scores_average_both_strands(model, small, name, place):
    number = small.index[name]
    offset = int(small.offsets[number])
    start, end, _ = window_over(small, offset + place, 64, SNV_OVERLAP_SHARE)
    codes, ratios = small.span(start, end) & np.uint8(SOFT_MASK - 1), []
    for strand in (codes, complement(codes[::-1])):
        ids = torch.from_numpy(model.tokenizer.encode(strand)).long()[None]
        along = np.arange(start, end)[:: 1 if strand is codes else -1]
        together = ((along - offset) % SNV_PERIOD == place % SNV_PERIOD) & (strand < 4)
        ids[0, together] = model.tokenizer.vocabulary.mask_id
        at = int(np.flatnonzero(along == offset + place)[0])
        log_p = model.module.logits(model.module(ids))[0, at, model.module.vocabulary.real].log_softmax(-1).numpy()
        ratios.append((log_p - log_p[strand[at]])[:: 1 if strand is codes else -1])
    fast = mutagenesis(model, small, (name, place, place + 1), FAST)
    np.testing.assert_allclose(fast[0], np.mean(ratios, axis=0), atol=1e-5)


def test_a_fast_score_does_not_depend_on_the_others(model, small):
    rows = [
        ("a", place, small.fetch("a", place, place + 1), ("ACGT".replace(small.fetch("a", place, place + 1), "")))
        for place in range(200)
    ]
    together = score_variants(model, frame(rows), small, options=FAST)["llr"]
    apart = [score_variants(model, frame([row]), small, options=FAST)["llr"] for row in rows[::17]]
    np.testing.assert_allclose(pd.concat(apart), together.to_numpy().reshape(200, 3)[::17].ravel(), atol=1e-5)


def test_other_alleles_are_scored_as_ever(model, small):
    rows = [("a", 50, small.fetch("a", 50, 52), ("TTT",)), ("a", 80, small.fetch("a", 80, 83), ("A",))]
    tables = [score_variants(model, frame(rows), small, options=options)["llr"] for options in (FAST, None)]
    np.testing.assert_array_equal(*tables)


def test_fast_needs_single_bases(small, tmp_path):
    model = Model.from_pretrained(write_run(tmp_path / "run", CNN, 3, 1), device="cpu")
    with pytest.raises(ConfigError, match="--snv fast needs a run on single bases, got k = 3"):
        mutagenesis(model, small, ("a", 0, 5), FAST)


def test_percentiles_are_among_scores_of_the_same_kind(model, small):
    options = ScoreOptions(calibrate=True, calibration_sites=2)
    rows = frame([("a", 50, small.fetch("a", 50, 51), ("ACGT".replace(small.fetch("a", 50, 51), "")[0],))])
    exact, fast = (score_variants(model, rows, small, options=replace(options, snv=snv)) for snv in ("exact", "fast"))
    assert exact["percentile"].notna().all()
    assert fast["percentile"].notna().all()
    assert len(list((model_run(model) / "calibration").iterdir())) == 2


def model_run(model):
    return Path(model.source).parents[1] if "checkpoints" in model.source else Path(model.source)


def test_every_substitution_of_a_genome(model, small, tmp_path):
    report = score_vcf(model, EverySubstitution(small), tmp_path / "all.vcf", genome=small, options=FAST)
    assert report.records == small.total_bp - 5
    assert report.alleles == {"scored": 3 * report.records}
    table = score_variants(model, tmp_path / "all.vcf", small, options=FAST)
    assert len(table) == 3 * report.records
    known = table[table["chrom"] == "b"]["pos"]
    assert set(range(31, 36)).isdisjoint(known)
    assert {30, 36} <= set(known)
    lines = (tmp_path / "all.vcf").read_text().splitlines()
    assert "##contig=<ID=a,length=200>" in lines
    written = [
        float(value)
        for line in lines
        if line[0] != "#"
        for value in line.split("R2MAE_LLR=")[1].split(";")[0].split(",")
    ]
    np.testing.assert_allclose(written, table["llr"], rtol=1e-4, atol=1e-5)


class TestCommand:
    def test_regions(self, model, small, tmp_path, capsys):
        bed, out = tmp_path / "r.bed", tmp_path / "o.tsv"
        bed.write_text("a\t10\t13\nb\t28\t40\na\t12\t14\n")
        argv = ["score-variants", model.source, "--genome", small.path, "--every-substitution", "--bed", bed]
        assert main([*map(str, argv), "--snv", "fast", "--out", str(out), "--device", "cpu"]) == 0
        table = pd.read_csv(out, sep="\t")
        assert table.groupby("chrom")["pos"].nunique().to_dict() == {"a": 4, "b": 7}
        assert (table["status"] == "scored").all()
        assert "11 records, 0 REF mismatches; alleles: 33 scored" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            ([], "give one of --vcf"),
            (["--every-substitution", "--vcf", "x.vcf"], "give one of --vcf"),
            (["--vcf", "x.vcf", "--bed", "r.bed"], "--bed has no effect with --vcf"),
            (["--every-substitution", "--indel", "fast"], "--indel has no effect with --every-substitution"),
            (["--every-substitution", "--evaluate", "AF"], "--evaluate has no effect with --every-substitution"),
            (["--every-substitution", "--bed", "none.bed"], "none.bed"),
        ],
    )
    def test_bad_settings(self, model, small, tmp_path, capsys, flags, message):
        argv = ["score-variants", model.source, "--genome", str(small.path), "--out", str(tmp_path / "o.tsv"), *flags]
        assert main(argv) == 2
        assert message in capsys.readouterr().err
