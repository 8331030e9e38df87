import gzip
import re
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
from dnar2mae.variants import Labels, ScoreOptions, Variant, mutagenesis, score_variants, score_vcf
from tests.random_run import write_run

pysam = pytest.importorskip("pysam")
KMERS = [(1, 1), (3, 3), (3, 1), (4, 3)]
LAYOUT = ModelConfig(width=16, depth=2, heads=2, mlp_width=16)
CNN = replace(LAYOUT, backbone="cnn", depth=3)
HEADER = '##fileformat=VCFv4.2\n##INFO=<ID=CLASS,Number=1,Type=String,Description="class">\n'
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
FORWARD = ScoreOptions(both_strands=False)


@pytest.fixture(
    params=[*((LAYOUT, *kmer) for kmer in KMERS), (CNN, 1, 1), (CNN, 3, 1)], ids=lambda p: f"{p[0].backbone}-{p[1:]}"
)
def model(request, tmp_path):
    return Model.from_pretrained(write_run(tmp_path / "run", *request.param), device="cpu")


@pytest.fixture
def single(tmp_path):
    return Model.from_pretrained(write_run(tmp_path / "single", LAYOUT), device="cpu")


@pytest.fixture
def genome(fasta):
    return Genome.open(fasta)


@pytest.fixture
def flipped(genome, tmp_path):
    """The genome's other strand."""
    table = str.maketrans("ACGT", "TGCA")
    texts = (
        f">{n}\n{genome.fetch(n, 0, int(s))[::-1].translate(table)}\n"
        for n, s in zip(genome.names, genome.lengths, strict=True)
    )
    (tmp_path / "flipped.fa").write_text("".join(texts))
    return Genome.open(tmp_path / "flipped.fa")


def write_vcf(path, records, header=HEADER):
    path.write_text(header + COLUMNS + "".join("\t".join(map(str, r)) + "\n" for r in records))
    return path


def record(genome, position, ref=None, alt="", info=".", name="one"):
    ref = ref or genome.fetch(name, position - 1, position)
    return (name, position, ".", ref, alt or "ACGT".replace(ref[0], "")[0], ".", ".", info)


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
    found = score_variants(model, genome, [Variant("one", position, ref, (alt,))], FORWARD)[0]
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
    a = np.concatenate([s.ratio for s in score_variants(model, genome, own, options)])
    b = np.concatenate([s.ratio for s in score_variants(model, flipped, other, options)])
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_reference_and_alternatives_share_one_masked_forward(single, genome, monkeypatch):
    rows = []
    encoder = single.module.encoder
    encode_span = encoder.encode_span
    monkeypatch.setattr(encoder, "encode_span", lambda x, *span: rows.append(len(x)) or encode_span(x, *span))
    ref = genome.fetch("one", 500, 501)
    alts = tuple("ACGT".replace(ref, ""))
    found = score_variants(single, genome, [Variant("one", 500, ref, alts)])[0]
    assert sum(rows) == 2
    apart = [score_variants(single, genome, [Variant("one", 500, ref, (alt,))])[0].ratio[0] for alt in alts]
    np.testing.assert_allclose(found.ratio, apart, atol=1e-6)


def test_several_bases_are_masked_at_once(single, genome):
    text, start = window(single, genome, "one", 601)
    site = 600 - start
    ref = text[site : site + 3]
    alt = "".join("ACGT".replace(b, "")[0] for b in ref)
    alt = alt[0] + ref[1] + alt[2]
    scores = log_probabilities(single, text, [site, site + 2])
    expected = sum(scores[site + i, "ACGT".index(alt[i])] - scores[site + i, "ACGT".index(ref[i])] for i in (0, 2))
    found = score_variants(single, genome, [Variant("one", 600, ref, (alt,))], FORWARD)[0]
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
    found = score_variants(model, genome, [Variant("one", place, text[site : site + size], (alt,))], options)[0]
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
        return np.array([np.concatenate(s) for s in score_variants(model, repeat, variants, distance)])

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
    together = score_variants(model, repeat, [Variant("one", 501, "CA", alleles)])[0].ratio
    apart = [score_variants(model, repeat, [Variant("one", 501, "CA", (alt,))])[0].ratio[0] for alt in alleles]
    np.testing.assert_allclose(together, apart, atol=1e-6)


def test_an_insertion_near_the_end_of_a_sequence_is_seen_whole(single, genome):
    last = int(genome.lengths[0])
    end = genome.fetch("one", last - 3, last)
    inserted = ["ACGTACGTACGTACGT", "ACGTACGTTTTTTTTT", "ACGTACGTGGGGGGGG"]
    for at in (last, last - 1, last - 12):
        scores = score_variants(single, genome, [Variant("one", at, "", tuple(inserted))], FORWARD)[0].ratio
        assert len(set(scores.round(4).tolist())) == 3, at
    text = genome.fetch("one", last - 64, last)
    other = (text + inserted[0])[-64:]
    expected = pseudo_likelihood(single, other, 48 - 4, 64) - pseudo_likelihood(single, text, 64 - 4, 64)
    found = score_variants(single, genome, [Variant("one", last - 3, end, (end + inserted[0],))], FORWARD)[0]
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
    found = score_variants(single, genome, [Variant("s", 10, "", tuple(inserted))], options)[0]
    np.testing.assert_allclose(found.ratio, expected, atol=1e-4)


def test_what_cannot_be_scored_is_refused_by_name(single, genome):
    ref = genome.fetch("one", 19, 20)
    other = "ACGT".replace(ref, "")
    last = int(genome.lengths[0])
    wrong = {
        f"one:20 {other[0]}>{ref}: ref_mismatch: REF must be the genome's bases, which are {ref}": (19, other[0], ref),
        f"one:0 {ref}>{other[0]}: outside: start must be in 0..{last}.*got start -1": (-1, ref, other[0]),
        f"one:{last} AC>A: outside": (last - 1, "AC", "A"),
        f"one:{last + 2} ->A: outside": (last + 1, "", "A"),
        f"one:20 {ref}>N: alt_unknown: ALT must be of A, C, G and T": (19, ref, "N"),
        f"one:20 {ref}><DEL>: alt_unknown": (19, ref, "<DEL>"),
        "one:20 N>A: ref_unknown": (19, "N", "A"),
        f"one:20 {ref}>A+: too_long: an allele of more than 24 bases": (19, ref, "A" * 60),
    }
    for match, (start, before, after) in wrong.items():
        with pytest.raises(SequenceError, match=match):
            score_variants(single, genome, [Variant("one", start, before, (after,))])
    for odd in (Variant("one", 5, "A", "TG"), Variant("one", 5.0, "A", ("C",)), Variant("one", 5, None, ("C",))):
        with pytest.raises(SequenceError, match="expected .*one.*5"):
            score_variants(single, genome, [odd])
    with pytest.raises(SequenceError, match="no sequence 'nine'; it has one, two"):
        score_variants(single, genome, [Variant("nine", 19, ref, (other[0],))])


def test_names_and_case_of_other_files_are_understood(single, genome):
    ref = genome.fetch("one", 19, 20)
    alt = "ACGT".replace(ref, "")[0]
    variants = [Variant("one", 19, ref, (alt,)), Variant("chrone", 19, ref.lower(), (alt.lower(),))]
    a, b = score_variants(single, genome, variants)
    assert a.ratio[0] == b.ratio[0] != 0
    same = score_variants(single, genome, [Variant("one", 19, ref, (ref, alt))], ScoreOptions(distance=True))[0]
    assert same.ratio[0] == same.distance[0] == 0
    assert same.ratio[1] == pytest.approx(a.ratio[0], abs=1e-6)


def test_indels_at_the_ends_of_a_sequence(single, genome):
    last = int(genome.lengths[0])
    sites = [(0, 3, "A"), (0, 1, "ACG"), (last - 4, 4, "T"), (last - 1, 1, "TTTTT")]
    variants = [Variant("one", start, genome.fetch("one", start, start + size), (alt,)) for start, size, alt in sites]
    assert np.isfinite([s.ratio[0] for s in score_variants(single, genome, variants)]).all()


def test_distance_is_that_of_mean_embeddings(single, genome):
    text, start = window(single, genome, "one", 300)
    alt = "ACGT".replace(text[300 - start], "")[0]
    other = text[: 300 - start] + alt + text[301 - start :]
    a, b = single.embed([text, other], both_strands=True)
    options = ScoreOptions(distance=True)
    found = score_variants(single, genome, [Variant("one", 300, text[300 - start], (alt,))], options)[0]
    assert found.distance[0] == pytest.approx(np.linalg.norm(a - b), rel=1e-4)


def test_scores_do_not_depend_on_batch_or_order(model, genome):
    rng = np.random.default_rng(0)
    variants = []
    for start in rng.integers(0, 9_990, 10).tolist():
        ref = genome.fetch("two", start, start + 1)
        variants.append(Variant("two", start, ref, ("ACGT".replace(ref, "")[0], ref + "G")))
    together = score_variants(model, genome, variants, ScoreOptions(distance=True))
    backwards = score_variants(model, genome, variants[::-1], ScoreOptions(distance=True, batch_tokens=300))[::-1]
    for a, b, variant in zip(together, backwards, variants, strict=True):
        alone = score_variants(model, genome, [variant], ScoreOptions(distance=True))[0]
        for values in zip(a, b, alone, strict=True):
            np.testing.assert_allclose(values[0], values[1], atol=2e-5)
            np.testing.assert_allclose(values[0], values[2], atol=2e-5)


def test_unknown_bases_nearby(tmp_path):
    model = Model.from_pretrained(write_run(tmp_path / "run", LAYOUT, 3), device="cpu")
    (tmp_path / "n.fa").write_text(">a\n" + "ACGTTGCAT" * 10 + "NAN" * 30 + "\n")
    genome = Genome.open(tmp_path / "n.fa")
    found = score_variants(model, genome, [Variant("a", 121, "A", ("C",)), Variant("a", 80, "T", ("C",))])
    assert np.isnan(found[0].ratio).all()
    assert np.isfinite(found[1].ratio).all()


@pytest.mark.parametrize("layout", [LAYOUT, CNN], ids=lambda layout: layout.backbone)
def test_bfloat16_changes_little(layout, genome, tmp_path):
    single = Model.from_pretrained(write_run(tmp_path / "run", layout), device="cpu")
    ref = genome.fetch("one", 500, 501)
    variant = Variant("one", 500, ref, tuple("ACGT".replace(ref, "")))
    exact, quick = (score_variants(single, genome, [variant], ScoreOptions(precision=p))[0] for p in ("fp32", "bf16"))
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
        expected = 0 if alt == ref else score_variants(single, genome, [Variant("one", i, ref, (alt,))])[0].ratio[0]
        assert scores[i, j] == pytest.approx(expected, abs=1e-5)
    with pytest.raises(SequenceError, match="coordinates of one"):
        mutagenesis(single, genome, ("one", 0, 10**7))


def test_a_mae_model_and_bad_options_are_refused(genome, tmp_path):
    layout = ModelConfig(width=16, depth=1, heads=2, mlp_width=16, objective="mae")
    model = Model.from_pretrained(write_run(tmp_path / "mae", layout), device="cpu")
    with pytest.raises(RunError, match="masked predictions need a model of --model.objective mlm, got mae"):
        score_variants(model, genome, [Variant("one", 5, genome.fetch("one", 5, 6), ("A",))])
    with pytest.raises(ConfigError, match="--window-bp must be at least 16, got 8"):
        ScoreOptions(window_bp=8)
    with pytest.raises(ConfigError, match="--indel-flank-bp must be at least 0, got -1"):
        ScoreOptions(indel_flank_bp=-1)


def mixed_records(genome):
    """Records of every kind, on a sequence of 20,000 bp, with what becomes of their alleles."""
    at = genome.fetch("one", 99, 110)
    wrong = "ACGT".replace(at[0], "")
    return [
        (
            ("one", 100, "rs1", at[0], f"{wrong[0]},{wrong[1]},<DEL>", 7.5, "PASS", "DP=3"),
            ["scored", "scored", "alt_unknown"],
        ),
        (("chrone", 100, ".", at[0].lower(), wrong[2], ".", ".", "."), ["scored"]),
        (("one", 100, ".", at[:4], at[0], ".", "q10", "CLASS=x"), ["scored"]),
        (("one", 100, ".", at[0], "*", ".", ".", "."), ["alt_unknown"]),
        (("one", 100, ".", at[0], f"{at[0]}[two:5[", ".", ".", "."), ["alt_unknown"]),
        (("one", 101, ".", "N", "A", ".", ".", "."), ["ref_unknown"]),
        (("one", 20_001, ".", "A", "C", ".", ".", "."), ["outside"]),
        (("one", 19_999, ".", "ACG", "C", ".", ".", "."), ["outside"]),
        (("three", 5, ".", "A", "C", ".", ".", "."), ["no_contig"]),
        (("one", 100, ".", at[0], "A" * 300, ".", ".", "."), ["too_long"]),
        (("one", 100, ".", at[0], f"{at[0]},{wrong[0]}", ".", ".", "."), ["alt_is_ref", "scored"]),
        (("one", 100, ".", at[0], ".", ".", ".", "."), []),
        (("one", 90, "later", genome.fetch("one", 89, 90), "T,G", ".", ".", "END=90"), None),
    ]


def test_every_record_is_kept_in_order(single, genome, fasta, tmp_path):
    rows = mixed_records(genome)
    vcf = write_vcf(tmp_path / "in.vcf", [row for row, _ in rows])
    report = score_vcf(single, vcf, tmp_path / "out.vcf.gz", genome=fasta, options=ScoreOptions(distance=True))
    assert report.records == len(rows)
    assert report.mismatches == 0
    with gzip.open(tmp_path / "out.vcf.gz", "rt") as file:
        lines = [line.rstrip("\n").split("\t") for line in file if not line.startswith("#")]
    for line, (row, _) in zip(lines, rows, strict=True):
        assert line[:7] == [str(x) for x in row[:7]]
        kept = [item for item in line[7].split(";") if not item.startswith("R2MAE_")]
        assert (";".join(kept) or ".") == row[7]
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert {"R2MAE_LLR", "R2MAE_DIST", "R2MAE_STATUS"} <= set(file.header.info)
        assert file.header.info["R2MAE_LLR"].number == "A"
        for found, (_, expected) in zip(file, rows, strict=True):
            if expected:
                assert list(found.info["R2MAE_STATUS"]) == expected
                assert [v is not None for v in found.info["R2MAE_LLR"]] == [s == "scored" for s in expected]
                assert [v is not None for v in found.info["R2MAE_DIST"]] == [s == "scored" for s in expected]
    assert report.alleles["scored"] >= 5
    assert report.alleles["no_alt"] == 1


@pytest.mark.parametrize("stride", [1, 6])
def test_a_sequence_shorter_than_a_token_has_no_score(stride, tmp_path):
    model = Model.from_pretrained(write_run(tmp_path / "run", LAYOUT, 6, stride), device="cpu")
    (tmp_path / "g.fa").write_text(f">one\n{'ACGTTGCA' * 20}\n>tiny\nACG\n>short\nACGTA\n")
    rows = [("one", 9, "A", "C"), ("tiny", 2, "C", "G"), ("short", 2, "C", "CTTTT"), ("one", 20, "TTG", "T")]
    vcf = write_vcf(tmp_path / "a.vcf", [(name, at, ".", ref, alt, ".", ".", ".") for name, at, ref, alt in rows])
    for distance in (False, True):
        options = ScoreOptions(distance=distance)
        score_vcf(model, vcf, tmp_path / "out.tsv", genome=tmp_path / "g.fa", options=options)
        table = pd.read_csv(tmp_path / "out.tsv", sep="\t")
        assert table["status"].tolist() == ["scored", "no_context", "no_context", "scored"]
        for column in ["llr", "distance"][: 1 + distance]:
            assert np.isfinite(table[column]).tolist() == [True, False, False, True]


def test_header_lines_stay_whole(single, genome, fasta, tmp_path):
    header = HEADER.replace('"class"', '"one\u2028two\rthree\x0cfour"')
    vcf = tmp_path / "in.vcf"
    before = write_vcf(vcf, [record(genome, 100)], header).read_bytes()
    score_vcf(single, vcf, tmp_path / "out.vcf", genome=fasta)
    assert without_ours((tmp_path / "out.vcf").read_bytes()) == before


def without_ours(content):
    """A scored file without what scoring adds, else byte for byte."""
    content = re.sub(rb"##INFO=<ID=R2MAE_[^\n]*\n|##dnar2mae_model=[^\n]*\n", b"", content)
    return re.sub(rb";?R2MAE_[A-Z]+=[^;\t\r\n]*", b"", content).replace(b"\t\t", b"\t.\t").replace(b"\t\n", b"\t.\n")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["out.vcf", "out.vcf.gz"])
def test_all_else_is_kept_byte_for_byte(single, genome, fasta, tmp_path, end, name):
    infos = ["AF=0.10,1e-05", "AF=0.5000000001;NOTE=a b;DB", "DB", "SB=1.0;X=;Y", "A=1;"]
    rows = [(*record(genome, 100 + i, info=info)[:5], "1e-3", "PASS", info) for i, info in enumerate(infos)]
    columns = COLUMNS.replace("INFO", "INFO\tFORMAT\tS 1")
    lines = ["\t".join(map(str, (*row, "GT:DP", "0|1:07"))) for row in rows]
    content = end.join([HEADER.replace("\n", end) + columns.rstrip("\n"), *lines, ""]).encode()
    (tmp_path / "in.vcf").write_bytes(content)
    score_vcf(single, tmp_path / "in.vcf", tmp_path / name, genome=fasta)
    scored = (tmp_path / name).read_bytes()
    scored = gzip.decompress(scored) if name.endswith(".gz") else scored
    found = [line.split(b"\t") for line in scored.splitlines()[-len(rows) :]]
    assert [line[7].partition(b"R2MAE_")[0].rstrip(b";").decode() for line in found] == [i.rstrip(";") for i in infos]
    assert without_ours(scored).replace(b"A=1\t", b"A=1;\t") == content


def test_table_and_a_second_scoring(single, genome, fasta, tmp_path):
    vcf = write_vcf(tmp_path / "in.vcf", [row for row, _ in mixed_records(genome)])
    score_vcf(single, vcf, tmp_path / "a.vcf", genome=fasta, options=ScoreOptions(distance=True))
    score_vcf(single, tmp_path / "a.vcf", tmp_path / "b.vcf", genome=fasta)
    score_vcf(single, vcf, tmp_path / "c.tsv", genome=fasta)
    first, second = ((tmp_path / name).read_text() for name in ("a.vcf", "b.vcf"))
    assert "R2MAE_DIST" in first
    assert "R2MAE_DIST" not in second
    assert second.count("##INFO=<ID=R2MAE_LLR") == 1
    table = pd.read_csv(tmp_path / "c.tsv", sep="\t")
    assert list(table) == ["chrom", "pos", "id", "ref", "alt", "llr", "status"]
    with pysam.VariantFile(str(tmp_path / "b.vcf")) as file:
        ratios = [v for r in file if r.alts for v in r.info["R2MAE_LLR"]]
    of_alleles = table[table["status"] != "no_alt"]
    np.testing.assert_allclose(of_alleles["llr"], np.array(ratios, float), atol=1e-5)
    assert (of_alleles["llr"].notna() == (of_alleles["status"] == "scored")).all()


def test_order_and_blocks_of_a_file_do_not_matter(single, genome, fasta, tmp_path, monkeypatch):
    rows = [row for row, _ in mixed_records(genome)] + [record(genome, position) for position in range(300, 340)]
    shuffled = np.random.default_rng(0).permutation(len(rows))
    score_vcf(single, write_vcf(tmp_path / "a.vcf", rows), tmp_path / "a.tsv", genome=fasta)
    monkeypatch.setattr("dnar2mae.variants.vcf._BLOCK", 7)
    score_vcf(single, write_vcf(tmp_path / "b.vcf", [rows[i] for i in shuffled]), tmp_path / "b.tsv", genome=fasta)
    a, b = (pd.read_csv(tmp_path / name, sep="\t", keep_default_na=False) for name in ("a.tsv", "b.tsv"))
    columns = [name for name in a if name != "llr"]
    a, b = (table.sort_values(columns).reset_index(drop=True) for table in (a, b))
    pd.testing.assert_frame_equal(a[columns], b[columns])
    ratios = [pd.to_numeric(table["llr"], errors="coerce") for table in (a, b)]
    np.testing.assert_allclose(*ratios, atol=1e-5)
    assert ratios[0].notna().sum() > 40


def test_a_scored_file_can_be_indexed(single, genome, fasta, tmp_path):
    vcf = write_vcf(tmp_path / "in.vcf", [record(genome, position) for position in (100, 200, 300)])
    score_vcf(single, vcf, tmp_path / "out.vcf.gz", genome=fasta)
    pysam.tabix_index(str(tmp_path / "out.vcf.gz"), preset="vcf")
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert [found.pos for found in file.fetch("one", 150, 250)] == [200]


def test_a_wrong_genome_stops_the_run(single, genome, flipped, fasta, tmp_path):
    rows = [record(genome, position) for position in range(100, 300)]
    wrong = [(*rows[0][:3], "ACGT".replace(rows[0][3], "")[0], rows[0][3], *rows[0][5:])]
    vcf = write_vcf(tmp_path / "in.vcf", wrong + rows[1:])
    report = score_vcf(single, vcf, tmp_path / "out.tsv", genome=fasta)
    assert (report.mismatches, report.alleles["ref_mismatch"], report.alleles["scored"]) == (1, 1, 199)
    with pytest.raises(SequenceError, match=r"REF differs from .*flipped.fa at \d+ of 200 records, first one:\d+ has"):
        score_vcf(single, vcf, tmp_path / "bad.tsv", genome=flipped.path)
    assert not (tmp_path / "bad.tsv").exists()
    report = score_vcf(single, vcf, tmp_path / "bad.tsv", genome=flipped.path, allow_mismatches=True)
    assert report.mismatches == report.alleles["ref_mismatch"] > 100
    vcf = write_vcf(tmp_path / "x.vcf", [("X", *row[1:]) for row in rows[:3]])
    with pytest.raises(SequenceError, match="no record lies on a sequence of the genome: .*no sequence 'X'"):
        score_vcf(single, vcf, tmp_path / "bad2.tsv", genome=fasta)


def test_bad_files(single, genome, fasta, tmp_path):
    good = write_vcf(tmp_path / "good.vcf", [record(genome, 100)]).read_bytes()
    cases = {
        "nohead.vcf": (b"one\t100\t.\tA\tC\t.\t.\t.\n", "no VCF header; the first line must be ##fileformat"),
        "empty.vcf": (b"", "no VCF header"),
        "none.vcf": (None, "cannot be read: .*No such file"),
        "columns.vcf": (HEADER.encode() + b"#CHROM\tPOS\n", "line 3: expected the line '#CHROM.*: #CHROM POS"),
        "short.vcf": (good + b"one\t5\n", "line 5: expected 8 columns, separated by tabs, as in the .* got 2: one 5"),
        "spaces.vcf": (good + b"one 5 . A C . . .\n", "line 5: expected 8 columns, separated by tabs.* got 1: one 5"),
        "two.vcf": (good + good, "line 5: expected 8 columns.*got 1: ##fileformat"),
        "pos.vcf": (good + b"one\t1.5\t.\tA\tC\t.\t.\t.\n", "line 5: POS is a whole number, got '1.5'"),
        "cut.vcf.gz": (gzip.compress(good)[:-20], "cannot be read: Compressed file ended"),
        "latin.vcf": (good + good.splitlines()[-1].replace(b"one", b"\xe9") + b"\n", "not UTF-8 text after 1 records"),
        "norecord.vcf": ((HEADER + COLUMNS).encode(), "no record in this file"),
    }
    for name, (content, match) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(SequenceError, match=match):
            score_vcf(single, tmp_path / name, tmp_path / "out.tsv", genome=fasta)
    with pytest.raises(SequenceError, match="no such file"):
        score_vcf(single, tmp_path / "good.vcf", tmp_path / "out.tsv", genome=tmp_path / "none.fa")
    with pytest.raises(ConfigError, match="--out must end in .vcf, .vcf.gz or .tsv, got"):
        score_vcf(single, tmp_path / "good.vcf", tmp_path / "out.txt", genome=fasta)
    with pytest.raises(ConfigError, match="--out must be writable, got /proc/nowhere/x.tsv"):
        score_vcf(single, tmp_path / "good.vcf", "/proc/nowhere/x.tsv", genome=fasta)
    assert not list(tmp_path.glob("*out*"))


def test_pysam_is_named_when_it_is_missing(single, fasta, tmp_path, monkeypatch):
    (tmp_path / "x.bcf").write_bytes(gzip.compress(b"BCF\x02\x02"))
    monkeypatch.setitem(__import__("sys").modules, "pysam", None)
    with pytest.raises(SequenceError, match=r"reading BCF needs the package pysam: pip install 'dnar2mae\[variants\]'"):
        score_vcf(single, tmp_path / "x.bcf", tmp_path / "x.tsv", genome=fasta)


def test_groups_are_told_apart(single, genome, fasta, tmp_path):
    scores = mutagenesis(single, genome, ("one", 1000, 1100))
    rows = []
    for i, row in enumerate(scores):
        ref = genome.fetch("one", 1000 + i, 1001 + i)
        for alt, value in zip("ACGT", row, strict=True):
            if alt != ref:
                group = "bad" if value < -0.1 else "fine" if value > 0.1 else "unsure"
                rows.append(record(genome, 1001 + i, alt=alt, info=f"CLASS={group}"))
    vcf = write_vcf(tmp_path / "in.vcf", rows)
    labels = Labels(field="CLASS", positive=("bad",), negative=("fine",))
    report = score_vcf(single, vcf, tmp_path / "out.tsv", genome=fasta, labels=labels)
    assert report.metrics["AUROC"].value == 1
    assert sum(report.groups) < len(rows)
    flags = [record(genome, 1000 + i, info="BAD" if i % 2 else ".") for i in range(8)]
    header = '##fileformat=VCFv4.2\n##INFO=<ID=BAD,Number=0,Type=Flag,Description="x">\n'
    flagged = write_vcf(tmp_path / "flags.vcf", flags, header)
    assert score_vcf(single, flagged, tmp_path / "f.tsv", genome=fasta, labels=Labels(field="BAD")).groups == (4, 4)
    with pytest.raises(ConfigError, match="--evaluate must name an INFO field that .*, got KIND"):
        score_vcf(single, vcf, tmp_path / "out.tsv", genome=fasta, labels=Labels(field="KIND"))
    with pytest.raises(
        ConfigError, match=r"--evaluate CLASS needs scored variants with values of --positive \(1\).*got 0 and 0"
    ):
        score_vcf(single, vcf, tmp_path / "out.tsv", genome=fasta, labels=Labels(field="CLASS"))


def test_real_variants_of_every_kind_agree_with_their_genome(single, data, tmp_path):
    folder = data / "variants"
    with pysam.VariantFile(str(folder / "z.vcf.gz")) as file:
        head = str(file.header) + "".join(str(record) for record, _ in zip(file, range(150), strict=False))
    (tmp_path / "head.vcf").write_text(head)
    options = ScoreOptions(both_strands=False, indel_flank_bp=0)
    report = score_vcf(single, tmp_path / "head.vcf", tmp_path / "out.vcf", genome=folder / "z.fa.gz", options=options)
    assert (report.records, report.mismatches) == (150, 0)
    assert set(report.alleles) <= {"scored", "alt_unknown", "too_long"}
