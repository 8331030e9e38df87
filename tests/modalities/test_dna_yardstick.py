"""Counts beside a model of DNA: the very masks of its loss, and what a run says of them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from dnar2mae import TokenizerConfig, pretrain
from dnar2mae.batch import evenly_spaced
from dnar2mae.cli.summary import print_summary
from dnar2mae.config import DataConfig, PretrainConfig
from dnar2mae.genome.alphabet import decode
from dnar2mae.genome.copies import CopyModel, copied
from dnar2mae.homology.letters import reverse_complement
from dnar2mae.masking import Masker, fixed_masks
from dnar2mae.masking.draw import corrupt
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.modalities.dna.yardstick import masked_bases
from dnar2mae.modalities.registry import build_modality
from dnar2mae.run.result import copies_lines, unique_lines, verdicts
from dnar2mae.training.build import build_model
from dnar2mae.training.device import choose_device
from dnar2mae.training.trainer import _unique
from dnar2mae.training.validation import CURVE, masked_sums
from tests.modalities.kinds import dna, dna_bpe


def plan_of(kind, config, ratio=0.15):
    return fixed_masks(Masker(config.mask, kind.vocabulary, config.seed, config.steps).plan(0), ratio)


@pytest.mark.parametrize(("k", "stride"), [(1, 1), (3, 3), (3, 1), (3, 2), (4, 3)])
def test_bases_asked_for_and_shown_are_those_of_the_model(tmp_path, k, stride):
    config = replace(dna(tmp_path), tokenizer=TokenizerConfig(k=k, stride=stride))
    kind = build_modality(config)
    plan, ids = plan_of(kind, config, 0.4), np.arange(6)
    batch, codes = kind.validation.batch(ids), kind.validation.windows.codes(ids)
    inputs, predicted = corrupt(plan, batch.tokens, batch.maskable, batch.sample_ids)
    masked = masked_bases(inputs == plan.mask_id, predicted, batch, codes, kind.tokenizer)
    for row in range(6):
        seen = {t * stride + i for t in range(inputs.shape[1]) if inputs[row, t] != plan.mask_id for i in range(k)}
        shown = "".join(base if i in seen else "N" for i, base in enumerate(decode(codes[row])))
        assert decode(masked.shown[row]) == shown
        mine = masked.targets // 64 == row
        asked = [t * stride + i for t in predicted[row].nonzero().flatten().tolist() for i in range(k)]
        assert (masked.targets[mine] % 64).tolist() == asked
        assert masked.earlier[mine].tolist() == list(range(k)) * (len(asked) // k)


def test_bases_of_pieces(tmp_path):
    config = dna_bpe(tmp_path)
    kind = build_modality(config)
    plan, ids = plan_of(kind, config, 0.4), np.arange(6)
    batch, codes = kind.validation.batch(ids), kind.validation.windows.codes(ids)
    inputs, predicted = corrupt(plan, batch.tokens, batch.maskable, batch.sample_ids)
    masked = masked_bases(inputs == plan.mask_id, predicted, batch, codes, kind.tokenizer)
    names = kind.tokenizer.file.tokens()
    asked = "".join(names[i] for i in batch.tokens[predicted].tolist())
    assert decode(codes.reshape(-1)[masked.targets]) == asked
    assert not (masked.shown.reshape(-1)[masked.targets] < 4).any()
    sums = masked_sums(build_model(config, kind, choose_device(config)[0]), kind.validation, plan, ids)
    np.testing.assert_array_equal(np.bincount(masked.targets // 64, minlength=6), sums[1])


@pytest.mark.parametrize("k", [1, 3])
def test_base_frequencies_are_scored_per_base(tmp_path, k):
    """Random bases with A and T at 0.4: order 0 needs their entropy, whatever the tokens."""
    config = replace(dna(tmp_path), tokenizer=TokenizerConfig(k=k))
    kind = build_modality(config)
    ids = np.arange(len(kind.validation))
    plans = [plan_of(kind, config, ratio) for ratio in (0.3, 0.7)]
    found = kind.masked_yardsticks(plans, ids)
    model = build_model(config, kind, choose_device(config)[0])
    units = [masked_sums(model, kind.validation, plan, ids)[1].sum() for plan in plans]
    entropy = -2 * (0.4 * np.log2(0.4) + 0.1 * np.log2(0.1))
    assert found["one-sided"]["Markov order 0"].sum(axis=1) / units == pytest.approx([entropy] * 2, abs=0.08)
    assert list(found["one-sided"])[-1] == "Markov order 16, the highest fitted"
    assert list(found["two-sided"]) == [f"two-sided counts {n}+{n}" for n in range(1, 5)]


def test_a_run_says_what_it_passed(tmp_path):
    config = dna(tmp_path)
    result = pretrain(config, tmp_path / "run")
    assert result.held_out == result.curve["0.15"]
    assert 0 < result.standard_error < 0.1
    assert result.samples == {"used": 26, "held_out": 26}
    one_sided, two_sided = result.margin
    assert one_sided.startswith("Markov order")
    assert two_sided.startswith("two-sided counts")
    for name, margin in result.margin.items():
        assert margin["below_by"] == pytest.approx(result.yardstick[name] - result.held_out, abs=1e-9)
        assert 0 < margin["standard_error"] < 0.1
        assert set(result.yardstick_curve[name]) == {str(ratio) for ratio in CURVE}
        assert result.yardstick_curve[name]["0.15"] == result.yardstick[name]
    assert min(result.yardstick[name] for name in result.yardstick) in [result.yardstick[n] for n in result.margin]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["margin"] == result.margin


def test_copies_of_training_dna_are_told_apart_and_looked_up(tmp_path, capsys):
    """A held-out end that repeats training DNA, on the other strand: counts of long words look it up."""
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("ACGT"), 20_000))
    folded = text[:18_000] + text[:1_000] + reverse_complement(text[3_000:4_000])
    (tmp_path / "g.fa").write_text(f">a\n{folded}\n")
    config = replace(dna(tmp_path), data=replace(dna(tmp_path).data, genomes=(str(tmp_path / "g.fa"),)))
    kind = build_modality(config)
    ids = np.arange(len(kind.validation))
    codes = kind.validation.windows.codes(ids)
    assert kind.copied_samples(ids).all()
    assert copied(codes[:, :31], np.zeros(100, np.uint8)).shape == (len(ids), 0)
    result = pretrain(config, tmp_path / "folded")
    used = result.samples["used"]
    assert result.unique == {"samples": 0, "copied": used, "margin": {}}
    expected = f"{used} of these samples share a stretch with the training data: all."
    assert unique_lines(result.unit, result.unique) == [expected]
    # the model alone knows nothing of random bases, and with copies all that is visible enough
    assert result.held_out > 1.9
    assert result.copies["value"] < 1.2
    assert result.copies["curve"]["0.05"] < result.copies["value"] < result.copies["curve"]["0.5"] < 2.1
    assert result.bound["with_copies"]["value"] < result.bound["value"]
    [line] = copies_lines(result.held_out, result.unit, result.copies, result.bound)
    assert not copies_lines(result.copies["value"], result.unit, result.copies, result.bound)
    assert line.startswith(f"With copies in the training data looked up: {result.copies['value']:.4f} ± ")
    assert line.count("Below ") == 2
    print_summary(result)
    assert line in capsys.readouterr().out


@pytest.mark.parametrize("tokens", ["bases", "3-mers", "overlapping"])
def test_losses_with_copies_are_those_of_the_bases_of_each_token(tmp_path, tokens):
    config = dna(tmp_path)
    text = "".join(np.random.default_rng(0).choice(list("ACGT"), 9_000))
    (tmp_path / "g.fa").write_text(f">a\n{text}{text[:1_000]}\n")
    config = replace(config, data=replace(config.data, genomes=(str(tmp_path / "g.fa"),)))
    k, stride = {"bases": (1, 1), "3-mers": (3, 3), "overlapping": (3, 1)}[tokens]
    config = replace(config, tokenizer=TokenizerConfig(k=k, stride=stride))
    kind = build_modality(config)
    plan, ids = plan_of(kind, config, 0.2), np.arange(len(kind.validation))[::-1].copy()
    model = build_model(config, kind, choose_device(config)[0])
    sums = masked_sums(model, kind.validation, plan, ids, copies=kind.copies(ids))
    plain = masked_sums(model, kind.validation, plan, ids)
    np.testing.assert_array_equal(sums[:5], plain[:5])
    np.testing.assert_array_equal(plain[5], plain[0])
    assert (sums[5] <= sums[0] + 0.1).all()
    batch = kind.validation.batch(ids[:3])
    losses, index = model.masked_losses(plan, batch)
    inputs, predicted = corrupt(plan, batch.tokens, batch.maskable, batch.sample_ids)
    codes = kind.validation.windows.codes(ids[:3])
    masked = masked_bases(inputs == plan.mask_id, predicted, batch, codes, kind.tokenizer)
    wanted = CopyModel(codes, kind.training_bases()).mixed(-losses.detach().double().numpy(), np.arange(3), masked)
    rows = (index // batch.tokens.shape[1]).numpy()
    assert sums[5, :3] == pytest.approx(np.bincount(rows, -wanted, minlength=3), rel=1e-4)
    assert sums[5].sum() < 0.8 * sums[0].sum()


def test_pieces_of_several_lengths_have_no_copies(tmp_path):
    kind = build_modality(dna_bpe(tmp_path))
    assert kind.copies(np.arange(3)) is None


@pytest.mark.parametrize("stride", [1, 2])
def test_no_hidden_base_is_shown_by_a_token_with_an_unknown_one(tmp_path, stride):
    rng = np.random.default_rng(0)
    letters = rng.choice(list("ACGT"), 10_000)
    letters[rng.integers(0, 10_000, 400)] = "N"
    (tmp_path / "g.fa").write_text(">a\n" + "".join(letters) + "\n")
    config = dna(tmp_path)
    data = replace(config.data, genomes=(str(tmp_path / "g.fa"),), max_n_share=0.5)
    kind = build_modality(replace(config, data=data, tokenizer=TokenizerConfig(k=3, stride=stride)))
    plan, ids = plan_of(kind, config, 0.4), np.arange(len(kind.validation))
    batch, codes = kind.validation.batch(ids), kind.validation.windows.codes(ids)
    inputs, predicted = corrupt(plan, batch.tokens, batch.maskable, batch.sample_ids)
    assert (~batch.maskable).any()
    masked = masked_bases(inputs == plan.mask_id, predicted, batch, codes, kind.tokenizer)
    assert (masked.shown.reshape(-1)[masked.targets] == 4).all()


def test_unique_samples_have_scores_of_their_own():
    losses, units = np.array([[4.0, 2.0, 2.2, 1.8], [2.0, 1.0, 1.0, 1.0]])
    one_sided = {"order 1": np.array([4.4, 2.4, 2.5, 2.0]), "order 9": np.array([0.1, 2.6, 2.6, 2.6])}
    found = _unique(np.array([True, False, False, False]), np.stack([losses, units]), [one_sided])
    assert (found["samples"], found["copied"]) == (3, 1)
    assert found["value"] == pytest.approx(2.0)
    assert found["margin"]["order 1"]["below_by"] == pytest.approx(0.3)
    assert _unique(np.zeros(4, bool), np.stack([losses, units]), [one_sided]) == {}
    [line] = unique_lines("bits per base", found)
    assert line.startswith("1 of these samples share a stretch with the training data. The other 3: 2.0000 ± ")
    assert "Below order 1 by 0.3000 ± " in line


def test_verdicts():
    margin = {
        "a": {"below_by": 0.03, "standard_error": 0.01},
        "b": {"below_by": -0.03, "standard_error": 0.01},
        "c": {"below_by": -0.01, "standard_error": 0.01},
        "d": {"below_by": 0.01, "standard_error": None},
    }
    assert verdicts("bits per base", margin) == [
        "Below a by 0.0300 ± 0.0100 bits per base.",
        "Not below b, but above it by 0.0300 ± 0.0100 bits per base.",
        "Level with c, above it by 0.0100 ± 0.0100 bits per base (within two errors).",
        "Below d by 0.0100 bits per base.",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("lambda_virus.fa", (1.96, 1.99)), ("GCF_000005845.2_ASM584v2_genomic.fna.gz", (1.890, 1.899))],
)
def test_two_sided_counts_of_real_genomes(data, name, expected):
    config = PretrainConfig(data=DataConfig(genomes=(str(data / "genomes" / name),)))
    kind = DnaModality(config)
    ids = evenly_spaced(len(kind.validation), 512)
    plan = plan_of(kind, config)
    found = kind.masked_yardsticks([plan], ids)["two-sided"]
    batch = kind.validation.batch(ids)
    number = corrupt(plan, batch.tokens, batch.maskable, batch.sample_ids)[1].sum().item()
    low, high = expected
    assert low < min(sums.sum() for sums in found.values()) / number < high
