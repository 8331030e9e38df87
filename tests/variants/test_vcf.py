"""Whole files of variants: every record kept, with its scores and statuses."""

import gzip
import re

import numpy as np
import pandas as pd
import pytest

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.inference import Model
from dnar2mae.variants import Labels, ReadOptions, ScoreOptions, mutagenesis, score_vcf
from tests.random_run import write_run

from .helpers import COLUMNS, HEADER, LAYOUT, record, write_vcf

pysam = pytest.importorskip("pysam")


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
    monkeypatch.setattr("dnar2mae.variants.blocks.BLOCK", 7)
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
    report = score_vcf(
        single, vcf, tmp_path / "bad.tsv", genome=flipped.path, reading=ReadOptions(allow_mismatches=True)
    )
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
