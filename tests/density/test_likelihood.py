import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dnar2mae.cli import main
from dnar2mae.config import ModelConfig
from dnar2mae.density.chain_rule import token_bits
from dnar2mae.density.counts import next_base, window_bits
from dnar2mae.density.hidden import evaluation_plan
from dnar2mae.density.likelihood import check_track, likelihood
from dnar2mae.density.options import LikelihoodOptions
from dnar2mae.density.strands import BothStrands
from dnar2mae.density.windows import windows_of
from dnar2mae.errors import ConfigError
from dnar2mae.genome.markov import MarkovCounts
from dnar2mae.inference import load
from dnar2mae.inference.predictions import masked_log_probabilities
from dnar2mae.masking import fixed_masks
from dnar2mae.models import MaskedModel
from dnar2mae.training.validation import masked_sums
from tests.density.oracle import VOCABULARY, Bases, Oracle, exact_predictor, markov_bases

FOUR = LikelihoodOptions(num_windows=4, bound=2)


def test_the_report_of_a_run_has_the_bound_and_the_printed_one_too(run_of, capsys):
    from dnar2mae.cli.summary import print_summary

    folder, result = run_of("dna")
    bound = json.loads((folder / "summary.json").read_text())["bound"]
    assert bound["value"] == pytest.approx(result.curve["0.5"], abs=0.1)
    assert 0 < bound["standard_error"] < 0.1
    assert bound["extrapolated"] == "uniform:0.05,0.5 never trains above 0.5"
    assert set(bound["curve"]) == {"0.85", "0.95"}
    assert set(result.curve) == {"0.05", "0.15", "0.3", "0.5", "0.7"}
    print_summary(result)
    printed = capsys.readouterr().out
    assert f"needs at most {bound['value']:.4f}" in printed
    assert "extrapolated: uniform:0.05,0.5 never trains above 0.5" in printed
    assert "mask ratio 0.95" in printed


@pytest.mark.parametrize("kind", ["text", "text bpe", "dna bpe", "dna 3-mers"])
def test_the_bound_of_other_tokens_is_near_their_losses(run_of, kind):
    _, result = run_of(kind)
    low, high = min(result.curve.values()), max(*result.curve.values(), *result.bound["curve"].values())
    assert 0.9 * low < result.bound["value"] < 1.1 * high


def test_what_predicts_numbers_has_no_bound(run_of, capsys):
    _, result = run_of("image")
    assert result.bound == {"not_reported": "its head predicts numbers, not probabilities of tokens"}
    with pytest.raises(ConfigError, match="a density needs a head with probabilities of tokens .* --modality image"):
        likelihood(load(run_of("image")[0], device="cpu"), FOUR)


def test_left_to_right_bits_are_those_of_one_masked_prediction_after_the_other(trained):
    found = likelihood(trained, FOUR)
    windows = trained.modality.validation
    codes = windows.windows.codes(np.array([0]))[0]
    ids = trained.modality.tokenizer.encode(codes)
    rows = [np.where(np.arange(len(ids)) < at, ids, 1) for at in range(len(ids))]
    each = masked_log_probabilities(trained.model, rows, [np.array([at]) for at in range(len(ids))])
    bits = [-float(p[0, base]) / math.log(2) for p, base in zip(each, codes, strict=True)]
    first = found.table.iloc[0]
    assert first["bits"] == pytest.approx(sum(bits), abs=1e-3)
    assert first["units"] == 64
    track = found.track[(found.track["name"] == first["name"]) & (found.track["start"] >= first["start"])].iloc[:64]
    assert track["bits"].to_numpy() == pytest.approx(bits, abs=1e-4)
    total = found.totals
    assert total["exact"]["bits"] == pytest.approx(found.table["bits"].sum())
    assert total["exact"]["value"] == pytest.approx(found.table["bits"].sum() / 256)
    assert total["bound"]["value"] == pytest.approx(total["exact"]["value"], abs=0.1)


def test_both_strands_are_the_mean_of_their_probabilities(trained, run_of, genome, tmp_path):
    bases = markov_bases(40, 24)
    plan, ids = evaluation_plan(VOCABULARY), np.arange(40)
    mirror = Oracle(lambda bases, visible: exact_predictor((3 - bases).flip(1), visible.flip(1)).flip(1, 2))
    # of one strand the source, of the other its opposite: the mean is half of each
    both = BothStrands(Oracle(exact_predictor))
    ours, theirs, mean = (
        token_bits(model, Bases(bases), ids[:8], "left-to-right") for model in (Oracle(exact_predictor), mirror, both)
    )
    wanted = -np.log2((2.0 ** -np.stack(ours) + 2.0 ** -np.stack(theirs)) / 2)
    assert np.stack(mean) == pytest.approx(wanted, abs=1e-9)
    name, bed = trained.modality.genomes[0].names[0], tmp_path / "two.bed"
    bed.write_text(f"{name}\t0\t64\n{name}\t100\t130\n")
    windows = windows_of(trained, genome, bed, 0)
    model, half = BothStrands(trained.model), fixed_masks(plan, 0.5)
    together = masked_sums(model, windows.source, half, windows.sample_ids)
    alone = [masked_sums(model, windows.source, half, windows.sample_ids[at : at + 1]) for at in (0, 1)]
    assert together == pytest.approx(np.concatenate(alone, axis=1), abs=1e-4)  # padding stays at the end
    options = LikelihoodOptions(num_windows=4, bound=1, both_strands=True)
    found, one = likelihood(trained, options), likelihood(trained, replace(options, both_strands=False))
    assert "each base by the mean of the probabilities on both strands" in found.lines()
    assert found.totals["bound"]["value"] != one.totals["bound"]["value"]
    assert found.totals["exact"]["value"] == pytest.approx(one.totals["exact"]["value"], abs=0.05)
    with pytest.raises(ConfigError, match="--both-strands needs a run on single bases"):
        likelihood(load(run_of("dna 3-mers")[0], device="cpu"), LikelihoodOptions(both_strands=True))


def test_where_strands_share_the_weights_one_is_computed(trained, monkeypatch):
    sizes = ModelConfig(backbone="cnn", width=16, depth=2, mlp_width=16, strand_symmetric=True)
    model = MaskedModel.of_tokens(sizes, VOCABULARY, trained.modality.layout)
    model.reset_parameters(torch.Generator().manual_seed(0))
    trained = replace(trained, model=model)
    options = LikelihoodOptions(order="none", num_windows=4, bound=2, both_strands=True)
    with monkeypatch.context() as patch:
        patch.setattr("dnar2mae.density.likelihood.BothStrands", None)
        one = likelihood(trained, options).totals["bound"]["value"]
    monkeypatch.setattr(MaskedModel, "is_strand_symmetric", False)
    mean = likelihood(trained, options).totals["bound"]["value"]
    assert one == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize("kind", ["dna", "dna 3-mers"])
def test_with_copies_a_window_that_was_trained_on_needs_few_bits(run_of, tmp_path, kind):
    folder, _ = run_of(kind)
    model = load(folder, device="cpu")
    genome = Path(model.config.data.genomes[0])
    name, bed = model.modality.genomes[0].names[0], tmp_path / "trained.bed"
    bed.write_text(f"{name}\t64\t128\n{name}\t300\t340\n")
    options = LikelihoodOptions(genome=genome, bed=bed, bound=2, num_windows=0)
    alone, found = likelihood(model, options), likelihood(model, replace(options, copies=True))
    assert found.totals["bound"]["value"] < 0.9 * alone.totals["bound"]["value"]
    # from left to right a copy is found after the first word
    assert 0.1 < found.totals["exact"]["value"] < 0.6 * alone.totals["exact"]["value"]
    assert found.table["bits"].sum() == pytest.approx(found.totals["exact"]["bits"])
    assert "with copies in the training DNA looked up" in found.lines()
    ahead = likelihood(model, replace(options, copies=True, order="random", bound=0))
    assert ahead.totals["exact"]["value"] < 0.9 * alone.totals["exact"]["value"]


def test_copies_need_the_genome_and_tokens_of_one_length(run_of):
    with pytest.raises(ConfigError, match="--copies needs a model of DNA by single bases or k-mers, got one"):
        likelihood(load(run_of("dna bpe")[0], device="cpu"), LikelihoodOptions(copies=True))
    model = load(run_of("dna")[0], device="cpu")
    genome = Path(model.config.data.genomes[0])
    nameless = replace(model, config=replace(model.config, data=replace(model.config.data, genomes=())))
    with pytest.raises(ConfigError, match="--copies: .* does not name the genome that it was trained on; give its run"):
        likelihood(nameless, LikelihoodOptions(copies=True, genome=genome))


def test_copies_are_looked_up_for_dna_alone(run_of):
    with pytest.raises(ConfigError, match="--copies needs a model of DNA, got one of --modality text"):
        likelihood(load(run_of("text")[0], device="cpu"), LikelihoodOptions(copies=True))


def test_pieces_of_regions_count_their_bases_in_the_order_of_the_table(run_of, tmp_path):
    model = load(run_of("dna bpe")[0], device="cpu")
    held = likelihood(model, LikelihoodOptions(num_windows=6, bound=1))
    bed = tmp_path / "held.bed"
    held.table[["name", "start", "end"]].to_csv(bed, sep="\t", header=False, index=False)
    regions = LikelihoodOptions(num_windows=0, bound=1, genome=Path(model.config.data.genomes[0]), bed=bed)
    found = likelihood(model, regions)
    key = ["name", "start"]
    both = held.table.sort_values(key)["bits"].to_numpy(), found.table.sort_values(key)["bits"].to_numpy()
    assert both[0] == pytest.approx(both[1], abs=1e-2)
    assert found.totals["units"] == held.totals["units"]
    assert found.totals["exact"]["value"] == pytest.approx(held.totals["exact"]["value"], abs=1e-3)


def test_a_track_that_would_be_ambiguous_is_refused_before_the_work(run_of, trained, genome, monkeypatch, capsys):
    folder, _ = run_of("dna bpe")
    capsys.readouterr()
    assert main(["likelihood", str(folder), "--out", "x.tsv", "--track", "x.bedgraph"]) == 2
    assert capsys.readouterr().err.endswith("--track needs a model of DNA by single bases or k-mers\n")
    options = LikelihoodOptions(num_windows=2)
    check_track(trained, options)
    monkeypatch.setattr(trained.modality, "genomes", trained.modality.genomes * 2)
    with pytest.raises(ConfigError, match="--track: several genomes of the run have a sequence .*; give one as"):
        check_track(trained, options)
    check_track(trained, replace(options, genome=genome))


def test_both_strands_of_a_window_too_short_for_its_ratio(trained, genome, tmp_path):
    bed = tmp_path / "short.bed"
    bed.write_text(f"{trained.modality.genomes[0].names[0]}\t0\t2\n")
    short = LikelihoodOptions(order="none", bound=3, both_strands=True, genome=genome, bed=bed, num_windows=0)
    assert 0 < likelihood(trained, short).totals["bound"]["value"] < 10


def test_a_last_window_shorter_than_a_token_is_left_out(run_of, tmp_path):
    (tmp_path / "g.fa").write_text(">a\n" + "ACGTTGCA" * 8 + "T\n")
    model = load(run_of("dna 3-mers")[0], device="cpu")
    assert len(likelihood(model, LikelihoodOptions(genome=tmp_path / "g.fa", num_windows=0)).table) == 1


def test_the_rival_is_the_best_markov_model_on_the_same_bases(trained):
    found = likelihood(trained, LikelihoodOptions(order="none", num_windows=0, bound=1))
    counts = MarkovCounts(trained.modality.training_bases())
    source = trained.modality.validation.windows
    forward = np.arange(0, len(source), 2)
    codes = list(source.codes(forward))
    bits = window_bits(counts, codes, [64] * len(codes))
    order = found.totals["markov"]["order"]
    assert bits.sum(1).min() == bits[order].sum()
    assert found.table["markov_bits"].to_numpy() == pytest.approx(bits[order])
    assert "bits" not in found.table
    assert found.totals["windows"] == found.totals["all_windows"] == len(forward)
    row, by_hand = codes[3], 0.0
    for at in range(64):
        chance = next_base(counts, row[None, :at], order)[0]
        assert chance.sum() == pytest.approx(1)
        by_hand -= math.log2(chance[row[at]])
    assert bits[order][3] == pytest.approx(by_hand)


def test_regions_of_a_genome_on_both_strands(trained, genome, tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text("one\t480\t580\ta\t0\t+\none\t3000\t3064\tb\t0\t-\n")
    options = LikelihoodOptions(genome=genome, bed=bed, num_windows=0, order="random", bound=1)
    found = likelihood(trained, options)
    assert found.table[["start", "end", "strand", "units"]].to_numpy().tolist() == [
        [480, 544, "+", 57],
        [3000, 3064, "-", 64],
        [544, 580, "+", 36],
    ]
    assert len(found.track) == 157  # no bits of unknown bases
    assert not found.track["start"].between(500, 506).any()
    assert found.track["start"].iloc[-64:].tolist() == list(range(3000, 3064))
    again = likelihood(trained, options)
    assert again.table.equals(found.table)


def test_the_command_writes_a_table_and_a_track(run_of, tmp_path, capsys):
    folder, _ = run_of("dna")
    line = ["likelihood", str(folder), "--num-windows", "2", "--out", str(tmp_path / "t.tsv")]
    assert main([*line, "--track", str(tmp_path / "t.bedgraph"), "--bound", "1"]) == 0
    printed = capsys.readouterr().out
    assert "exact, left-to-right: " in printed
    assert "extrapolated: uniform:0.05,0.5 never trains above 0.5" in printed
    assert len(pd.read_csv(tmp_path / "t.tsv", sep="\t")) == 2
    assert len((tmp_path / "t.bedgraph").read_text().splitlines()) == 128
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["exact"]["order"] == "left-to-right"


def test_a_bedgraph_of_regions_that_overlap_has_a_base_once(run_of, genome, tmp_path, capsys):
    bed, track = tmp_path / "r.bed", tmp_path / "t.bedgraph"
    bed.write_text("one\t10\t50\none\t30\t70\none\t705\t820\n")  # the last lies in a run of N
    line = ["likelihood", str(run_of("dna")[0]), "--genome", str(genome), "--bed", str(bed), "--num-windows", "0"]
    assert main([*line, "--out", str(tmp_path / "t.tsv"), "--track", str(track)]) == 0
    assert [int(row.split("\t")[1]) for row in track.read_text().splitlines()] == list(range(10, 70))
    table = pd.read_csv(tmp_path / "t.tsv", sep="\t")
    assert table["bits_per_unit"].isna().tolist() == (table["units"] == 0).tolist()
    bed.write_text("one\t705\t820\n")
    assert main([*line, "--out", str(tmp_path / "t.tsv")]) == 2
    assert capsys.readouterr().err.endswith("gaps.fa: no known base in these windows; nothing to score\n")


def test_text_has_exact_bits_too(run_of):
    found = likelihood(load(run_of("text")[0], device="cpu"), LikelihoodOptions(num_windows=3, bound=2))
    assert found.totals["unit"] == "bits per byte"
    assert found.track is None
    assert "markov" not in found.totals
    assert found.totals["exact"]["value"] == pytest.approx(found.totals["bound"]["value"], rel=0.2)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--order", "none"], "--bound must be at least 1 with --order none, got 0"),
        (["--bed", "x.bed"], "--bed needs --genome"),
        (["--num-windows", "-1"], "--num-windows must be at least 0, got -1"),
        (["--num-windows", "1", "--track", "x.wig"], "--track must end in .bedgraph or .tsv"),
        (["--order", "none", "--bound", "1", "--num-windows", "1", "--track", "x.tsv"], "--track needs an --order"),
        (["--genome", "same.tsv", "--out", "same.tsv"], "--out must not write over an input: same.tsv"),
        (["--num-windows", "1", "--out", "x.npy"], "--out must end in .tsv or .csv"),
        (["--genome", "no.fa"], "no.fa: no such file"),
    ],
)
def test_bad_input_is_one_line(run_of, tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.chdir(tmp_path)
    out = [] if "--out" in more else ["--out", "x.tsv"]
    folder, _ = run_of("dna")
    capsys.readouterr()  # what training has printed, where this is the first to ask for the run
    assert main(["likelihood", str(folder), *out, *more]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
