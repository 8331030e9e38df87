from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from dnar2mae.config import ModelConfig
from dnar2mae.errors import ConfigError, RunError, SequenceError
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.inference.predictions import masked_log_probabilities
from dnar2mae.variants import ScoreOptions, mutagenesis, score_variants
from dnar2mae.variants.alleles import Variant
from tests.random_run import write_run

from .helpers import CNN, LAYOUT, score

FORWARD = ScoreOptions(both_strands=False)


def log_probabilities(model, text, masked):
    """Log-softmax over real tokens at every token, with some masked: the definition, one input at a time."""
    ids = model.tokenizer.encode_text(text).copy()
    ids[masked] = 1
    with torch.inference_mode():
        logits = model.module.logits(model.module(torch.from_numpy(ids)[None]))[0]
    return logits[:, 4 : 4 + 4**model.tokenizer.k].log_softmax(-1).numpy().astype(np.float64)


def window(model, genome, name, middle):
    """Window of the training length around a base, cut to whole tokens."""
    k, stride = model.tokenizer.k, model.tokenizer.stride
    length = 64 - (64 - k) % stride
    total = int(genome.lengths[genome.index[name]])
    start = min(max(middle - length // 2, 0), total - length)
    return genome.fetch(name, start, start + length), start


@pytest.mark.parametrize("position", [0, 5, 700, 19_999])
def test_substitution_is_the_ratio_at_the_masked_site(model, genome, position):
    text, start = window(model, genome, "one", position)
    ref, alt = text[position - start], "ACGT".replace(text[position - start], "")[1]
    other = text[: position - start] + alt + text[position - start + 1 :]
    ids, alt_ids = (model.tokenizer.encode_text(t) for t in (text, other))
    changed = np.flatnonzero(ids != alt_ids)
    scores = log_probabilities(model, text, changed)
    expected = (scores[changed, alt_ids[changed] - 4] - scores[changed, ids[changed] - 4]).sum()
    expected /= model.tokenizer.vocabulary.anchor_stride
    found = score(model, genome, [Variant("one", position, ref, (alt,))], FORWARD)[0]
    assert found.ratio[0] == pytest.approx(expected, abs=1e-5)
    assert np.isnan(found.distance[0])
    masked = model.tokenizer.encode_text(text)
    masked[changed] = 1
    covers = [
        i
        for i in range(len(ids))
        if i * model.tokenizer.stride <= position - start < i * model.tokenizer.stride + model.tokenizer.k
    ]
    assert changed.tolist() == covers


def test_both_strands_see_one_molecule(model, genome, flipped):
    total = int(genome.lengths[0])
    length = 64 - (64 - model.tokenizer.k) % model.tokenizer.stride
    options = ScoreOptions(window_bp=length - (length % 2 == 0) * model.tokenizer.stride)
    complement = dict(zip("ACGT", "TGCA", strict=True))
    own, other = [], []
    for position in range(200, 230):
        ref = genome.fetch("one", position, position + 1)
        alt = "ACGT".replace(ref, "")[0]
        own.append(Variant("one", position, ref, (alt,)))
        other.append(Variant("one", total - 1 - position, complement[ref], (complement[alt],)))
    odd = (model.tokenizer.num_tokens(options.window_bp) - 1) * model.tokenizer.stride + model.tokenizer.k
    if odd % 2 == 0:
        pytest.skip("no window with a middle base at this stride")
    a = np.concatenate([s.ratio for s in score(model, genome, own, options)])
    b = np.concatenate([s.ratio for s in score(model, flipped, other, options)])
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_reference_and_alternatives_share_one_masked_forward(single, genome, monkeypatch):
    rows = []
    encoder = single.module.encoder
    encode_at = encoder.encode_at
    monkeypatch.setattr(encoder, "encode_at", lambda x, positions: rows.append(len(x)) or encode_at(x, positions))
    ref = genome.fetch("one", 500, 501)
    alts = tuple("ACGT".replace(ref, ""))
    found = score(single, genome, [Variant("one", 500, ref, alts)])[0]
    assert sum(rows) == 2
    apart = [score(single, genome, [Variant("one", 500, ref, (alt,))])[0].ratio[0] for alt in alts]
    np.testing.assert_allclose(found.ratio, apart, atol=1e-6)


def test_several_bases_are_masked_at_once(single, genome):
    text, start = window(single, genome, "one", 601)
    site = 600 - start
    ref = text[site : site + 3]
    alt = "".join("ACGT".replace(b, "")[0] for b in ref)
    alt = alt[0] + ref[1] + alt[2]
    scores = log_probabilities(single, text, [site, site + 2])
    expected = sum(scores[site + i, "ACGT".index(alt[i])] - scores[site + i, "ACGT".index(ref[i])] for i in (0, 2))
    found = score(single, genome, [Variant("one", 600, ref, (alt,))], FORWARD)[0]
    assert found.ratio[0] == pytest.approx(expected, abs=1e-5)


def pseudo_likelihood(model, text, first, last):
    k, stride, anchor_stride = model.tokenizer.k, model.tokenizer.stride, model.tokenizer.vocabulary.anchor_stride
    ids, total = model.tokenizer.encode_text(text), 0.0
    for token in range(len(ids)):
        if token * stride + k > first and token * stride < last:
            near = [i for i in range(token - anchor_stride + 1, token + anchor_stride) if 0 <= i < len(ids)]
            total += log_probabilities(model, text, near)[token, ids[token] - 4] + k * np.log(4)
    return total / anchor_stride


@pytest.mark.parametrize(("size", "alt"), [(0, "GATTACA"), (6, ""), (2, "CAT")])
def test_indel_is_a_difference_of_pseudo_likelihoods(model, genome, size, alt):
    # as short and as far left as it goes: the bases around it are no end of its own
    place = next(
        p
        for p in range(800, 900)
        if (size == 0 and genome.fetch("one", p - 1, p) != "A")
        or (size == 6 and genome.fetch("one", p - 1, p) != genome.fetch("one", p + 5, p + 6))
        or (size == 2 and genome.fetch("one", p, p + 1) != "C" and genome.fetch("one", p + 1, p + 2) != "T")
    )
    text, start = window(model, genome, "one", place + size // 2)
    site, flank = place - start, 2
    beyond = genome.fetch("one", start, start + 200)
    other = (text[:site] + alt + beyond[site + size :])[: len(text)]
    expected = pseudo_likelihood(model, other, site - flank, site + len(alt) + flank)
    expected -= pseudo_likelihood(model, text, site - flank, site + size + flank)
    options = ScoreOptions(both_strands=False, indel_flank_bp=flank)
    found = score(model, genome, [Variant("one", place, text[site : site + size], (alt,))], options)[0]
    assert found.ratio[0] == pytest.approx(expected, abs=1e-4)


SPELLINGS = [
    (502, "CA", "C"),
    (502, "CAA", "CA"),
    (503, "AA", "A"),
    (508, "AA", "A"),
    (509, "AAT", "AT"),
    (505, "A", ""),
]


@pytest.mark.parametrize("lower", [False, True])
def test_the_spelling_of_a_variant_does_not_matter(model, fasta, tmp_path, lower):
    bases = fasta.read_text().splitlines()[1][:1500]
    bases = bases[:500] + "GCAAAAAAAATG" + bases[512:]
    (tmp_path / "run.fa").write_text(f">one\n{bases.lower() if lower else bases}\n")
    repeat = Genome.open(tmp_path / "run.fa")
    distance = ScoreOptions(distance=True)

    def scores(spellings):
        variants = [Variant("one", position - 1, ref, (alt,)) for position, ref, alt in spellings]
        return np.array([np.concatenate(s[:2]) for s in score(model, repeat, variants, distance)])

    deletion = scores(SPELLINGS)
    assert len({(position, ref) for position, ref, _ in SPELLINGS}) == len(SPELLINGS)
    np.testing.assert_allclose(deletion, np.broadcast_to(deletion[0], deletion.shape), atol=1e-6)
    insertion = scores([(502, "C", "CA"), (510, "A", "AA"), (511, "", "A"), (510, "AT", "AAT"), (511, "TG", "ATG")])
    np.testing.assert_allclose(insertion, np.broadcast_to(insertion[0], insertion.shape), atol=1e-6)
    substitution = scores([(511, "T", "C"), (509, "AATG", "AACG"), (511, "TG", "CG")])
    np.testing.assert_allclose(substitution, np.broadcast_to(substitution[0], substitution.shape), atol=1e-6)
    assert np.isfinite([deletion[0], insertion[0], substitution[0]]).all()
    assert np.ptp([deletion[0, 0], insertion[0, 0], substitution[0, 0]]) > 1e-3
    alleles = ("C", "CAAA", "TA")
    together = score(model, repeat, [Variant("one", 501, "CA", alleles)])[0].ratio
    apart = [score(model, repeat, [Variant("one", 501, "CA", (alt,))])[0].ratio[0] for alt in alleles]
    np.testing.assert_allclose(together, apart, atol=1e-6)


def test_an_insertion_near_the_end_of_a_sequence_is_seen_whole(single, genome):
    last = int(genome.lengths[0])
    end = genome.fetch("one", last - 3, last)
    inserted = ["ACGTACGTACGTACGT", "ACGTACGTTTTTTTTT", "ACGTACGTGGGGGGGG"]
    for at in (last, last - 1, last - 12):
        scores = score(single, genome, [Variant("one", at, "", tuple(inserted))], FORWARD)[0].ratio
        assert len(set(scores.round(4).tolist())) == 3, at
    text = genome.fetch("one", last - 64, last)
    other = (text + inserted[0])[-64:]
    expected = pseudo_likelihood(single, other, 48 - 4, 64) - pseudo_likelihood(single, text, 64 - 4, 64)
    found = score(single, genome, [Variant("one", last - 3, end, (end + inserted[0],))], FORWARD)[0]
    assert not end.endswith("T")  # the insertion cannot move
    assert found.ratio[0] == pytest.approx(expected, abs=1e-4)


def test_an_insertion_into_a_short_sequence_is_seen_whole(single, fasta, tmp_path):
    short = fasta.read_text().splitlines()[1][:20]
    (tmp_path / "short.fa").write_text(f">s\n{short}\n")
    genome = Genome.open(tmp_path / "short.fa")
    inserted = [b + "ATTACAGATTACAGATTAC" for b in "CG"]
    inserted = [text + "ACGT".replace(short[9], "")[0] for text in inserted]  # so that it cannot move
    other = [short[:10] + alt + short[10:] for alt in inserted]
    expected = [pseudo_likelihood(single, text, 10, 31) - pseudo_likelihood(single, short, 10, 10) for text in other]
    options = ScoreOptions(both_strands=False, indel_flank_bp=0)
    found = score(single, genome, [Variant("s", 10, "", tuple(inserted))], options)[0]
    np.testing.assert_allclose(found.ratio, expected, atol=1e-4)


def test_what_cannot_be_scored_says_why_and_nothing_is_raised(single, genome):
    ref = genome.fetch("one", 19, 20)
    other = "ACGT".replace(ref, "")
    last = int(genome.lengths[0])
    expected = {
        ("one", 20, ref, other[0]): "scored",
        ("one", 20, other[0], ref): "ref_mismatch",
        ("one", 0, ref, other[0]): "outside",
        ("one", last, "AC", "A"): "outside",
        ("one", last + 2, "-", "A"): "outside",
        ("one", 20, ref, "N"): "alt_unknown",
        ("one", 20, ref, "<DEL>"): "alt_unknown",
        ("one", 20, ref, "*"): "alt_unknown",
        ("one", 20, ref, "."): "no_alt",
        ("one", 20, ref, None): "no_alt",
        ("one", 20, ref, "-"): "scored",
        ("one", 20, "N", "A"): "ref_unknown",
        ("one", 20, None, "A"): "ref_unknown",
        ("one", 20, ref, "A" * 60): "too_long",
        ("one", 20, ref, ref): "alt_is_ref",
        ("nine", 20, ref, other[0]): "no_contig",
        (None, 20, ref, other[0]): "no_contig",
        ("one", None, ref, other[0]): "no_position",
        ("one", "x", ref, other[0]): "no_position",
        ("chrone", 20.0, ref.lower(), other[0].lower()): "scored",
    }
    rows = pd.DataFrame(list(expected)[::-1], columns=["chrom", "pos", "ref", "alt"], dtype=object).assign(note="kept")
    with pytest.warns(UserWarning, match="variants: ") as said:
        table = score_variants(single, rows, genome)
    assert table["status"].tolist() == list(expected.values())[::-1]
    pd.testing.assert_frame_equal(table[list(rows)], rows)
    assert (table["llr"].notna() == (table["status"] == "scored")).all()
    assert table["llr"].iloc[0] == table["llr"].iloc[-1] != 0
    differs, no_position = (str(warning.message) for warning in said)
    assert differs.startswith("variants: REF differs from")
    assert "at 1 of 18 records, first one:20 has" in differs
    assert no_position == "variants: 2 of 20 rows have no position: they are not scored"


def test_names_and_case_of_other_files_are_understood(single, genome):
    ref = genome.fetch("one", 19, 20)
    alt = "ACGT".replace(ref, "")[0]
    variants = [Variant("one", 19, ref, (alt,)), Variant("chrone", 19, ref.lower(), (alt.lower(),))]
    a, b = score(single, genome, variants)
    assert a.ratio[0] == b.ratio[0] != 0


def test_indels_at_the_ends_of_a_sequence(single, genome):
    last = int(genome.lengths[0])
    sites = [(0, 3, "A"), (0, 1, "ACG"), (last - 4, 4, "T"), (last - 1, 1, "TTTTT")]
    variants = [Variant("one", start, genome.fetch("one", start, start + size), (alt,)) for start, size, alt in sites]
    assert np.isfinite([s.ratio[0] for s in score(single, genome, variants)]).all()


def test_distance_is_that_of_mean_embeddings(single, genome):
    text, start = window(single, genome, "one", 300)
    alt = "ACGT".replace(text[300 - start], "")[0]
    other = text[: 300 - start] + alt + text[301 - start :]
    a, b = single.embed([text, other], both_strands=True)
    options = ScoreOptions(distance=True)
    found = score(single, genome, [Variant("one", 300, text[300 - start], (alt,))], options)[0]
    assert found.distance[0] == pytest.approx(np.linalg.norm(a - b), rel=1e-4)


def test_scores_do_not_depend_on_batch_or_order(model, genome):
    rng = np.random.default_rng(0)
    variants = []
    for start in rng.integers(0, 9_990, 10).tolist():
        ref = genome.fetch("two", start, start + 1)
        variants.append(Variant("two", start, ref, ("ACGT".replace(ref, "")[0], ref + "G")))
    together = score(model, genome, variants, ScoreOptions(distance=True))
    backwards = score(model, genome, variants[::-1], ScoreOptions(distance=True, batch_tokens=300))[::-1]
    for a, b, variant in zip(together, backwards, variants, strict=True):
        alone = score(model, genome, [variant], ScoreOptions(distance=True))[0]
        for values in zip(a, b, alone, strict=True):
            np.testing.assert_allclose(values[0], values[1], atol=2e-5)
            np.testing.assert_allclose(values[0], values[2], atol=2e-5)


def test_unknown_bases_nearby(tmp_path):
    model = Model.from_pretrained(write_run(tmp_path / "run", LAYOUT, 3), device="cpu")
    (tmp_path / "n.fa").write_text(">a\n" + "ACGTTGCAT" * 10 + "NAN" * 30 + "\n")
    genome = Genome.open(tmp_path / "n.fa")
    found = score(model, genome, [Variant("a", 121, "A", ("C",)), Variant("a", 80, "T", ("C",))])
    assert np.isnan(found[0].ratio).all()
    assert np.isfinite(found[1].ratio).all()


@pytest.mark.parametrize("layout", [LAYOUT, CNN], ids=lambda layout: layout.backbone)
def test_bfloat16_changes_little(layout, genome, tmp_path):
    single = Model.from_pretrained(write_run(tmp_path / "run", layout), device="cpu")
    ref = genome.fetch("one", 500, 501)
    variant = Variant("one", 500, ref, tuple("ACGT".replace(ref, "")))
    exact, quick = (score(single, genome, [variant], ScoreOptions(precision=p))[0] for p in ("fp32", "bf16"))
    assert 0 < np.abs(exact.ratio - quick.ratio).max() < 0.05


def test_mutagenesis_is_every_substitution(single, fasta, tmp_path):
    (tmp_path / "n.fa").write_text(fasta.read_text().replace(">one\n", ">one\nACNgt"))
    genome = Genome.open(tmp_path / "n.fa")
    scores = mutagenesis(single, genome, ("one", 0, 8))
    assert scores.shape == (8, 4)
    assert np.isnan(scores[2]).all()
    for i, j in product((0, 3, 7), range(4)):
        ref = genome.fetch("one", i, i + 1).upper()
        alt = "ACGT"[j]
        expected = 0 if alt == ref else score(single, genome, [Variant("one", i, ref, (alt,))])[0].ratio[0]
        assert scores[i, j] == pytest.approx(expected, abs=1e-5)
    with pytest.raises(SequenceError, match="coordinates of one"):
        mutagenesis(single, genome, ("one", 0, 10**7))


def test_a_mae_model_and_bad_options_are_refused(genome, tmp_path):
    layout = ModelConfig(width=16, depth=1, heads=2, mlp_width=16, objective="mae")
    model = Model.from_pretrained(write_run(tmp_path / "mae", layout), device="cpu")
    with pytest.raises(RunError, match="masked predictions need a model of --model.objective mlm, got mae"):
        score(model, genome, [Variant("one", 5, genome.fetch("one", 5, 6), ("A",))])
    with pytest.raises(ConfigError, match="--window-bp must be at least 16, got 8"):
        ScoreOptions(window_bp=8)
    with pytest.raises(ConfigError, match="--indel-flank-bp must be at least 0, got -1"):
        ScoreOptions(indel_flank_bp=-1)


@pytest.mark.parametrize("snv", ["exact", "fast"])
def test_where_strands_agree_one_is_asked(genome, tmp_path, monkeypatch, snv):
    sizes = replace(CNN, conv_groups=2, strand_symmetric=None)
    model = Model.from_pretrained(write_run(tmp_path / "run", sizes), device="cpu")
    asked = []

    def counted(module, tokens, *arguments):
        asked.append(len(tokens))
        return masked_log_probabilities(module, tokens, *arguments)

    monkeypatch.setattr("dnar2mae.variants.questions.masked_log_probabilities", counted)
    bases = [(at, genome.fetch("one", at, at + 1)) for at in (0, 5, 700, 19_999)]
    variants = [Variant("one", at, ref, ("ACGT".replace(ref, "")[1],)) for at, ref in bases]
    variants += [Variant("one", 300, genome.fetch("one", 300, 303), (genome.fetch("one", 300, 301),))]
    assert model.is_strand_symmetric
    both, forward = (score(model, genome, variants, ScoreOptions(snv=snv, both_strands=b)) for b in (True, False))
    assert asked[0] == asked[1]
    with torch.no_grad():
        model.module.encoder.layers[0].mlp_out.weight[0, 0] += 0.1
    assert not model.is_strand_symmetric
    score(model, genome, variants, ScoreOptions(snv=snv))
    assert asked[2] == 2 * asked[0]
    monkeypatch.setattr(Model, "is_strand_symmetric", False)
    with torch.no_grad():
        model.module.encoder.layers[0].mlp_out.weight[0, 0] -= 0.1
    plain = score(model, genome, variants, ScoreOptions(snv=snv))
    for ours, one, mean in zip(both, forward, plain, strict=True):
        np.testing.assert_allclose(ours.ratio, one.ratio)
        np.testing.assert_allclose(ours.ratio, mean.ratio, atol=1e-5)
