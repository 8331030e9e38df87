"""Insertions and deletions: one score for every way of writing them, and what ``--indel fast`` computes."""

import numpy as np
import pandas as pd
import pytest

from dnar2mae.genome.store import Genome
from dnar2mae.variants import ScoreOptions, score_variants
from dnar2mae.variants.allele_windows import FAST_WINDOW_BP

from .helpers import frame
from .test_variants import log_probabilities, window

FAST = ScoreOptions(indel="fast")


def spellings(genome, rng, name="one"):
    """One insertion or deletion, written in four ways."""
    start, size = int(rng.integers(100, 19_000)), int(rng.integers(1, 5))
    before, after = genome.fetch(name, start - 60, start), genome.fetch(name, start, start + 60)
    if rng.random() < 0.5:  # copy what follows, so that it can move
        ref, alt = "", after[:size] if rng.random() < 0.5 else "".join(rng.choice(list("ACGT"), size))
    else:
        ref, alt = after[:size], ""
    rest = after[len(ref) :]
    yield start - 1, before[-1] + ref, before[-1] + alt
    yield start - 9, before[-9:] + ref + rest[:3], before[-9:] + alt + rest[:3]
    yield start, ref + rest[:1], alt + rest[:1]
    moved = 0  # as far right as it goes
    bases = (ref or alt) + rest
    while bases[moved] == rest[moved]:
        moved += 1
    turned = bases[moved : moved + size]
    yield start + moved, turned if ref else "", turned if alt else ""


@pytest.mark.long
@pytest.mark.parametrize("indel", ["fast", "exact"])
def test_a_thousand_indels_score_alike_in_four_spellings(single, genome, indel):
    rng = np.random.default_rng(0)
    number = 1000 if indel == "fast" else 40
    rows = [("one", start, ref, (alt,)) for _ in range(number) for start, ref, alt in spellings(genome, rng)]
    assert len(set(rows)) > 3 * number  # those that cannot move are written in three ways
    options = ScoreOptions(indel=indel, window_bp=32, both_strands=indel == "exact")
    table = score_variants(single, frame(rows), genome, options=options)
    assert (table["status"] == "scored").all()
    scores = table["llr"].to_numpy().reshape(number, 4)
    np.testing.assert_allclose(scores, np.broadcast_to(scores[:, :1], scores.shape), atol=2e-6)
    assert np.ptp(scores[:, 0]) > 0.1


def interleaved(model, text, places, phases):
    """Log-likelihood of bases, those of a phase of four masked at once, from that of a uniform base."""
    total = 0.0
    for phase in phases:
        masked = places[phase::4]
        scores = log_probabilities(model, text, masked)
        total += sum(scores[at, "ACGT".index(text[at])] + np.log(4) for at in masked)
    return total


@pytest.mark.parametrize("both_strands", [True, False])
def test_fast_masks_every_fourth_base_on_one_strand_each(single, genome, both_strands):
    place, flank = next(p for p in range(800, 900) if genome.fetch("one", p - 1, p) != "A"), 3
    text, start = window(single, genome, "one", place)
    site, inserted = place - start, "GATTACA"
    other = (text[:site] + inserted + text[site:])[: len(text)]
    expected = 0.0
    for sign, bases, size in ((1, other, len(inserted)), (-1, text, 0)):
        places = list(range(site - flank, site + size + flank))
        if not both_strands:
            expected += sign * interleaved(single, bases, places, range(4))
            continue
        flipped = bases[::-1].translate(str.maketrans("ACGT", "TGCA"))
        expected += sign * interleaved(single, bases, places, (0, 2))
        expected += sign * interleaved(single, flipped, [len(bases) - 1 - at for at in places], (1, 3))
    options = ScoreOptions(indel="fast", indel_flank_bp=flank, both_strands=both_strands)
    table = score_variants(single, frame([("one", place, "", (inserted,))]), genome, options=options)
    assert table["llr"][0] == pytest.approx(expected, abs=1e-4)


def test_fast_changes_no_substitution_and_no_long_indel(model, genome):
    ref = genome.fetch("one", 500, 503)
    other = "".join("ACGT".replace(base, "")[0] for base in ref)
    long = "".join(np.random.default_rng(0).choice(list("ACGT"), FAST_WINDOW_BP // 2))
    rows = frame([("one", 500, ref[0], (other[0],)), ("one", 500, ref, (other,)), ("one", 700, "", (long,))])
    fast, exact = (
        score_variants(model, rows, genome, options=ScoreOptions(indel=indel, window_bp=300))["llr"]
        for indel in ("fast", "exact")
    )
    np.testing.assert_allclose(fast, exact, atol=2e-5)
    assert np.isfinite(fast).all()


def test_kinds_of_variants_together_score_as_apart(model, genome):
    rows = []
    for at in range(300, 340):
        ref = genome.fetch("one", at, at + 2)
        other = "".join("ACGT".replace(base, "")[at % 3] for base in ref)
        rows.append(("one", at, *[(ref[0], (other[0],)), (ref, (other,)), (ref, (ref[0],)), ("", (other,))][at % 4]))
    for options in (FAST, ScoreOptions()):
        together = score_variants(model, frame(rows), genome, options=options)["llr"]
        apart = [score_variants(model, frame([row]), genome, options=options)["llr"][0] for row in rows[:8]]
        np.testing.assert_allclose(together[:8], apart, atol=2e-5)


def test_insertions_at_both_ends_differ_by_what_is_inserted(single, fasta, tmp_path):
    (tmp_path / "short.fa").write_text(f">s\n{fasta.read_text().splitlines()[1][:100]}\n")
    genome = Genome.open(tmp_path / "short.fa")
    rows = [("s", at, "", tuple(2 * base + "ACGTACG" + base for base in "ACGT")) for at in (0, 100)]
    table = score_variants(single, frame(rows), genome, options=FAST)
    assert (table["status"] == "scored").all()
    assert len(set(table["llr"].round(5))) == 8
    pd.testing.assert_index_equal(table.index, pd.Index([0] * 4 + [1] * 4))
