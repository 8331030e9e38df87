import json
import re
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dnar2mae.cli import main
from dnar2mae.density.gap_check import check_gaps
from dnar2mae.density.generate import generate
from dnar2mae.density.options import GenerateOptions
from dnar2mae.density.report import report_drawn
from dnar2mae.density.spectra import (
    copied_share,
    distinct_share,
    divergence,
    gc_shares,
    longest_open_frames,
    open_frames,
    spectrum,
)
from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.inference import load
from tests.density.conftest import codes_of, letters


def texts(trained, **settings):
    return [
        one.text for one in generate(trained, GenerateOptions(**{"num": 5, "length_bp": 40, "steps": 4} | settings))
    ]


def test_drawn_sequences_have_the_letters_of_the_model(trained):
    found = texts(trained)
    assert [len(text) for text in found] == [40] * 5
    assert set("".join(found)) <= set("ACGT")
    assert len(set(found)) == 5
    assert texts(trained) == found
    assert texts(trained, seed=1) != found


def test_a_prompt_is_kept_and_its_unknown_bases_are_drawn(trained):
    found = texts(trained, prompt="acgtNNrACGT")
    assert all(text[:4] == "ACGT" and text[7:11] == "ACGT" and set(text) <= set("ACGT") for text in found)
    with pytest.raises(SequenceError, match="position 3: expected a nucleotide letter, got '!'"):
        texts(trained, prompt="AC!")
    with pytest.raises(ConfigError, match=r"--length-bp must be at least .* the --prompt \(41\), got 40"):
        texts(trained, prompt="A" * 41)


def test_longer_than_the_windows_of_training(trained):
    found = [one.text for one in generate(trained, GenerateOptions(num=2, length_bp=150, steps=3))]
    assert [len(text) for text in found] == [150, 150]
    assert set("".join(found)) <= set("ACGT")


@pytest.mark.parametrize("kind", ["text", "text bpe", "dna bpe", "dna 3-mers"])
def test_other_tokens_by_the_same_code(run_of, kind):
    prompt = "the " if kind.startswith("text") else "ACGACG"
    model = load(run_of(kind)[0], device="cpu")
    for text in texts(model, prompt=prompt, length_bp=42):
        assert text.startswith(prompt)
        assert len(text) >= 20


def test_what_has_no_letters_is_refused(run_of):
    with pytest.raises(ConfigError, match="a density needs a head with probabilities"):
        texts(load(run_of("image")[0], device="cpu"))
    with pytest.raises(ConfigError, match="--fill-n needs a model of DNA, got one of --modality text"):
        list(
            generate(
                load(run_of("text")[0], device="cpu"), GenerateOptions(fill_n=run_of("dna")[0].parent / "genome.fa")
            )
        )


def test_runs_of_n_are_filled_and_all_else_stays(trained, genome, tmp_path):
    before = letters(genome)
    one, two = generate(trained, GenerateOptions(fill_n=genome, steps=8, longest_bp=100))
    assert (one.drawn, two.drawn) == (7, 0)
    assert two.text == before["two"]
    assert one.text[:500] == before["one"][:500]  # lower case too
    assert set(one.text[500:507]) <= set("ACGT")
    assert one.text[507:] == before["one"][507:]  # the long run of N too
    (whole, _) = generate(trained, GenerateOptions(fill_n=genome, steps=8))
    assert (whole.drawn, "N" in whole.text, len(whole.text)) == (137, False, 6000)


def test_regions_are_drawn_anew_on_their_strands(trained, genome, tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text("one\t3000\t3040\ta\t0\t+\ntwo\t100\t240\tb\t0\t-\n")
    options = {"bed": bed, "genome": genome, "steps": 4}
    first, second = generate(trained, GenerateOptions(mask=0.3, **options))
    assert (first.name, second.name) == ("one:3000-3040(+)", "two:100-240(-)")
    before = letters(genome)
    forward = before["one"][3000:3040]
    backward = before["two"][100:240][::-1].translate(str.maketrans("ACGT", "TGCA"))
    for one, old in ((first, forward), (second, backward)):
        changed = sum(a != b for a, b in zip(one.text, old, strict=True))
        assert len(one.text) == len(old)
        assert 0 < changed <= one.drawn < len(old) * 0.5
    anew, _ = generate(trained, GenerateOptions(**options))
    assert anew.drawn == 40


def test_the_command_draws_reports_and_checks(run_of, tmp_path, capsys):
    folder, _ = run_of("dna")
    out = tmp_path / "x.fa"
    line = ["generate", str(folder), "--out", str(out), "--num", "12", "--length-bp", "96", "--steps", "2", "--report"]
    assert main(line) == 0
    printed = capsys.readouterr().out
    assert "drawn by windows that overlap by half" in printed
    assert "Jensen-Shannon divergence of 6-mers" in printed
    assert list(letters(out)) == [f"drawn-{i}" for i in range(1, 13)]
    report = json.loads((tmp_path / "x.report.json").read_text())
    table = pd.read_csv(tmp_path / "x.report.csv", index_col=0)
    assert table.loc["js_6", "model"] == pytest.approx(report["samples"]["model"]["js_6"])
    assert report["samples"]["markov"]["copied_32mers"] < 0.5
    assert report["samples"]["held_out"]["js_1"] < 0.05
    assert (tmp_path / "x.report.png").stat().st_size > 1000
    assert main(["generate", str(folder), "--fill-check", "6", "--gap-bp", "8", "--out", str(tmp_path / "g.json")]) == 0
    assert "6 held-out gaps of 8 bases" in capsys.readouterr().out
    assert json.loads((tmp_path / "g.json").read_text())["gaps"] == 6
    text = run_of("text")[0]
    assert main(["generate", str(text), "--num", "2", "--length-bp", "30", "--out", str(tmp_path / "t.jsonl")]) == 0
    rows = [json.loads(row) for row in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == ["drawn-1", "drawn-2"]


def test_gaps_of_a_source_that_counts_know(trained):
    found = check_gaps(trained, 8, 10)["right"]
    assert {name.split()[0] for name in found} == {"model", "Markov", "two-sided", "the"}
    assert found["two-sided counts"]["share"] > 0.25  # A and T are 0.4 each
    assert found["the most frequent base"]["share"] == pytest.approx(0.4, abs=0.15)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--prompt", "A", "--fill-n", "g.fa"], "give one of --prompt, --bed and --fill-n, got --prompt and --fill-n"),
        (["--bed", "r.bed"], "--bed and --genome, the sequence file that it refers to, go together"),
        (["--mask", "0"], "--mask must be in (0, 1], got 0"),
        (["--temperature", "-1"], "--temperature must be at least 0, got -1"),
        (["--num", "0"], "--num must be at least 1, got 0"),
        (["--out", "x.txt"], "--out must end in .fa, .fasta, .fna, got x.txt"),
        (["--fill-n", "same.fa", "--out", "same.fa"], "--out must not write over an input: same.fa"),
        (["--fill-check", "5"], "--fill-check needs two windows or more, a gap, and --out X.json, got x.fa"),
        (["--fill-n", "g.fa", "--report"], "--report is for whole sequences"),
        (["--fill-check", "5", "--gap-bp", "40", "--out", "x.json"], "--gap-bp must be at most half a window (32)"),
    ],
)
def test_bad_input_is_one_line(run_of, tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.chdir(tmp_path)
    out = [] if "--out" in more else ["--out", "x.fa"]
    folder, _ = run_of("dna")
    capsys.readouterr()  # what training has printed, where this is the first to ask for the run
    assert main(["generate", str(folder), *out, *more]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_spectra_count_both_strands():
    codes = codes_of("ACGTTNACC")[None]
    counts = Counter(["ACG", "CGT", "GTT", "ACC"])
    for kmer in list(counts):
        counts[kmer[::-1].translate(str.maketrans("ACGT", "TGCA"))] += 1
    wanted = [counts["".join(kmer)] / sum(counts.values()) for kmer in product("ACGT", repeat=3)]
    assert spectrum(codes, 3) == pytest.approx(wanted)
    p, q = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert (divergence(p, p), divergence(p, q)) == (0, 1)
    assert divergence(np.array([0.5, 0.5]), p) == pytest.approx(0.3112781)


def test_codons_of_long_open_frames_and_the_stops_that_end_them():
    codes = codes_of("ATGGCAGCAGCATAAGCAC")[None]
    frames = open_frames(codes, 4)
    named = {"".join(codon): count for codon, count in zip(product("ACGT", repeat=3), frames.codons, strict=True)}
    runs = []  # of the definition, codon by codon
    for text in ("ATGGCAGCAGCATAAGCAC", "GTGCTTATGCTGCTGCCAT"):
        for frame in range(3):
            words = [text[at : at + 3] for at in range(frame, len(text) - 2, 3)]
            parts = " ".join("." if word in ("TAA", "TAG", "TGA") else word for word in words).split(".")
            runs += [part.split() for part in parts if len(part.split()) >= 4]
    assert {codon: count for codon, count in named.items() if count} == Counter(sum(runs, []))
    assert list(frames.stops) == [1, 0, 0]
    assert not open_frames(codes, 7).codons.any()


def test_a_report_by_an_annotation_compares_codons_with_those_of_its_genes(run_of, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dnar2mae.density.report._OPEN_CODONS", 3)  # the windows have 64 bases
    folder, _ = run_of("dna")
    genome = load(folder, device="cpu").modality.genomes[0]
    text = genome.fetch(genome.names[0], 0, int(genome.lengths[0])).upper()
    start = next(at for at in range(len(text)) if re.fullmatch("(?:(?!TAA|TAG|TGA)...){8}TAA", text[at : at + 27]))
    genes = tmp_path / "genes.bed"
    genes.write_text(f"{genome.names[0]}\t{start}\t{start + 27}\tg\t0\t+\t{start}\t{start + 27}\t0\t1\t27\t0\n")
    line = ["generate", str(folder), "--num", "12", "--length-bp", "64", "--steps", "2", "--report"]
    assert main([*line, "--out", str(tmp_path / "x.fa"), "--genes", str(genes)]) == 0
    assert "annotated genes 1.00" in capsys.readouterr().out
    samples = json.loads((tmp_path / "x.report.json").read_text())["samples"]
    assert samples["genes"]["js_codons"] == 0
    assert samples["genes"]["stop_TAA"] == 1
    assert 0 < samples["held_out"]["js_codons"] <= 1
    genes.write_text("elsewhere\t0\t9\n")
    assert main([*line, "--out", str(tmp_path / "y.fa"), "--genes", str(genes)]) == 2
    assert "genes.bed" in capsys.readouterr().err
    assert main([*line[:-1], "--out", str(tmp_path / "y.fa"), "--genes", str(genes)]) == 2
    assert "--genes is for --report" in capsys.readouterr().err


def test_nothing_that_a_run_needs_is_written_over(run_of, tmp_path, capsys):
    folder, _ = run_of("dna")
    genome = load(folder, device="cpu").config.data.genomes[0]
    before = Path(genome).read_bytes(), (folder / "summary.json").read_bytes()
    assert main(["generate", str(folder), "--num", "2", "--out", genome]) == 2
    assert "--out must not write over an input" in capsys.readouterr().err
    assert main(["generate", str(folder), "--fill-check", "3", "--out", str(folder / "summary.json")]) == 2
    assert (Path(genome).read_bytes(), (folder / "summary.json").read_bytes()) == before


def test_prompts_of_k_mers_are_kept_whole_or_refused(run_of):
    model = load(run_of("dna 3-mers")[0], device="cpu")
    drawn = list(generate(model, GenerateOptions(num=1, length_bp=12, steps=2, prompt="ACGnnnTTT")))[0].text
    assert (drawn[:3], drawn[6:9]) == ("ACG", "TTT")
    for prompt in ("ACGT", "ACNGTA"):
        with pytest.raises(ConfigError, match=f"--prompt must be whole tokens of 3 bases, .* got {prompt}"):
            list(generate(model, GenerateOptions(num=1, length_bp=12, prompt=prompt)))
    with pytest.warns(UserWarning, match="--length-bp 14: whole tokens make 12 bases"):
        assert len(next(generate(model, GenerateOptions(num=1, length_bp=14, steps=2))).text) == 12


@pytest.mark.parametrize("length", [1, 4, 7])
def test_a_report_of_short_sequences(trained, length):
    drawn = list(generate(trained, GenerateOptions(num=3, length_bp=length, steps=2)))
    report = report_drawn(trained, drawn, 0)
    assert np.isfinite(report["samples"]["model"]["js_1"])


def test_pieces_are_drawn_without_a_prompt(run_of):
    assert next(generate(load(run_of("dna bpe")[0], device="cpu"), GenerateOptions(num=1, length_bp=8))).text


def test_frames_copies_and_repeats():
    # frame 2 of the forward strand is open throughout; all others have stops
    row = codes_of("CTAATTAATTAATTAATTAA"), codes_of("G" + "GCA" * 6 + "C")
    frames = [longest_open_frames(codes[None])[0] for codes in row]
    assert frames[1] == 6
    assert frames[0] == brute_force("CTAATTAATTAATTAATTAA")
    assert gc_shares(codes_of("GCANN")[None]) == pytest.approx([2 / 3])
    rng = np.random.default_rng(0)
    training = rng.integers(0, 4, 300).astype(np.uint8)
    assert copied_share(training[None, 100:200], training) == 1
    assert copied_share(rng.integers(0, 4, (3, 90)).astype(np.uint8), training) == 0
    assert distinct_share(np.tile(training[:64], (2, 1))) == 0.5


def brute_force(text):
    best = 0
    for strand in (text, text[::-1].translate(str.maketrans("ACGT", "TGCA"))):
        for frame in range(3):
            codons = [strand[at : at + 3] for at in range(frame, len(strand) - 2, 3)]
            runs = "".join("x" if codon in ("TAA", "TAG", "TGA") else "o" for codon in codons).split("x")
            best = max(best, *map(len, runs))
    return best
