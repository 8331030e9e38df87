import gzip

import numpy as np
import pandas as pd
import pytest

from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.variants import Labels, ScoreOptions, score_vcf
from tests.random_run import write_run

COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


@pytest.fixture
def model(tmp_path):
    return Model.from_pretrained(write_run(tmp_path / "run"), device="cpu")


@pytest.fixture
def table(fasta):
    """Rows of every kind, on GRCh-like names of columns."""
    genome = Genome.open(fasta)
    rows = []
    for start in range(100, 140):
        ref = genome.fetch("one", start, start + 1)
        rows.append(["chrone", start + 1, ref, "ACGT".replace(ref, "")[0], ["benign", "likely harmful"][start % 2]])
    rows[3][3] = "".join("ACGT".replace(rows[3][2], ""))[0] + "," + "<DEL>"
    rows[4][3] = "-"
    rows[5][3] = ""
    return pd.DataFrame(rows, columns=["Chromosome", "start", "reference", "alternative", 'what "it" does'])


def test_rows_and_columns_are_kept(model, table, fasta, tmp_path):
    table.to_csv(tmp_path / "in.csv.gz", index=False)
    table.to_csv(tmp_path / "in.tsv", index=False, sep="\t")
    distance = ScoreOptions(distance=True)
    labels = Labels(field='what "it" does', positive=("likely harmful",), negative=("benign",))
    for name in ("in.csv.gz", "in.tsv"):
        report = score_vcf(
            model,
            tmp_path / name,
            tmp_path / "out.tsv",
            genome=fasta,
            labels=labels,
            options=distance,
        )
        out = pd.read_csv(tmp_path / "out.tsv", sep="\t", keep_default_na=False)
        assert list(out) == [*table, "R2MAE_LLR", "R2MAE_DIST", "R2MAE_STATUS"]
        pd.testing.assert_frame_equal(out[list(table)], table)
        assert out["R2MAE_STATUS"][3:7].tolist() == ["scored,alt_unknown", "scored", "no_alt", "scored"]
        assert out["R2MAE_LLR"][5] == "NA"
        assert out["R2MAE_LLR"][3].endswith(",NA")
        assert report.groups == (19, 20)
        assert set(report.metrics) == {"AUROC", "AUPRC"}


def test_a_table_gives_the_scores_of_the_vcf(model, table, fasta, tmp_path):
    pytest.importorskip("pysam")
    rows = table.iloc[6:]
    rows.to_csv(tmp_path / "in.tsv", index=False, sep="\t")
    lines = [f"{r[0]}\t{r[1]}\t.\t{r[2]}\t{r[3]}\t.\t.\t.\n" for r in rows.itertuples(index=False)]
    (tmp_path / "in.vcf").write_text("##fileformat=VCFv4.2\n" + COLUMNS + "".join(lines))
    score_vcf(model, tmp_path / "in.tsv", tmp_path / "a.tsv", genome=fasta)
    score_vcf(model, tmp_path / "in.vcf", tmp_path / "b.tsv", genome=fasta)
    a, b = (pd.read_csv(tmp_path / name, sep="\t") for name in ("a.tsv", "b.tsv"))
    np.testing.assert_allclose(a["R2MAE_LLR"], b["llr"], atol=1e-6)
    score_vcf(model, tmp_path / "a.tsv", tmp_path / "c.tsv", genome=fasta)
    assert (tmp_path / "c.tsv").read_text() == (tmp_path / "a.tsv").read_text()


def test_dashes_are_deletions_and_insertions(model, fasta, tmp_path):
    genome = Genome.open(fasta)
    two, before = genome.fetch("one", 500, 502), genome.fetch("one", 499, 500)
    rows = [("one", 501, two, "-"), ("one", 500, before + two, before), ("one", 501, "-", "GT")]
    rows.append(("one", 500, before, before + "GT"))
    pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt"]).to_csv(tmp_path / "in.csv", index=False)
    score_vcf(model, tmp_path / "in.csv", tmp_path / "out.tsv", genome=fasta)
    out = pd.read_csv(tmp_path / "out.tsv", sep="\t")
    assert out["R2MAE_STATUS"].tolist() == ["scored"] * 4
    assert out["ref"].tolist() == [row[2] for row in rows]
    assert out["alt"].tolist() == [row[3] for row in rows]
    assert out["R2MAE_LLR"][0] == out["R2MAE_LLR"][1] != out["R2MAE_LLR"][2] == out["R2MAE_LLR"][3]


@pytest.mark.parametrize("missing", ["NA", "", "nan", ".", "x", "1.5"])
def test_a_row_without_a_position_is_kept(model, fasta, tmp_path, missing):
    base = Genome.open(fasta).fetch("one", 19, 20)
    alt = "ACGT".replace(base, "")[0]
    content = f"chrom,pos,ref,alt,note\none,20,{base},{alt},a\none,{missing},A,C,b\none,20.0,{base},{alt},c\n"
    (tmp_path / "in.csv").write_text(content)
    with pytest.warns(UserWarning, match=r"in.csv: 1 of 3 rows have no position: they are not scored"):
        report = score_vcf(model, tmp_path / "in.csv", tmp_path / "out.tsv", genome=fasta)
    assert report.alleles == {"scored": 2, "no_position": 1}
    out = pd.read_csv(tmp_path / "out.tsv", sep="\t", keep_default_na=False, dtype={"pos": str})
    assert out["pos"].tolist() == ["20", missing, "20.0"]
    assert out["R2MAE_STATUS"].tolist() == ["scored", "no_position", "scored"]
    assert out["R2MAE_LLR"][0] == out["R2MAE_LLR"][2] != out["R2MAE_LLR"][1] == "NA"


@pytest.mark.parametrize("form", ["csv", "vcf"])
def test_a_byte_order_mark_is_no_part_of_the_text(model, fasta, tmp_path, form):
    base = Genome.open(fasta).fetch("one", 19, 20)
    alt = "ACGT".replace(base, "")[0]
    head = "chrom,pos,ref,alt\n" if form == "csv" else "##fileformat=VCFv4.2\n" + COLUMNS
    row = f"one,20,{base},{alt}\n" if form == "csv" else f"one\t20\t.\t{base}\t{alt}\t.\t.\t.\n"
    (tmp_path / f"in.{form}").write_text(head + row, encoding="utf-8-sig")
    assert score_vcf(model, tmp_path / f"in.{form}", tmp_path / "out.tsv", genome=fasta).alleles == {"scored": 1}
    assert (tmp_path / "out.tsv").read_text().startswith("chrom\t")


def test_bad_tables(model, fasta, tmp_path):
    cases = {
        "a.tsv": ("chrom\tpos\tref\n", "expected a column alt or alternative or alternate"),
        "c.csv": ("chrom,pos,ref,alt\none,5,A\n", "c.csv:2: expected 4 columns, got 3"),
        "d.csv": ("chrom,pos,ref,alt\n", "no record in this file"),
        "e.csv": (None, "cannot be read as a table: No such file"),
        "f.tsv": ("", "expected a column chrom"),
        "q.tsv": ('chrom\tpos\tref\talt\tx\none\t5\tA\tC\t"5 prime\none\t6\tA\tC\ty\n', "cannot be read as a table"),
        "r.tsv": ('chrom\tpos\tref\talt\tx\none\t5\tA\tC\t"a\none\t6\tA\tC\ty"\n', "over several lines, from .* 'a'"),
    }
    for name, (content, match) in cases.items():
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(SequenceError, match=match):
            score_vcf(model, tmp_path / name, tmp_path / "out.tsv", genome=fasta)
    (tmp_path / "g.csv.gz").write_bytes(gzip.compress(b"chrom,pos,ref,alt\none,5,A,C\n" * 50)[:30])
    with pytest.raises(SequenceError, match="cannot be read as a table"):
        score_vcf(model, tmp_path / "g.csv.gz", tmp_path / "out.tsv", genome=fasta)
    (tmp_path / "h.csv").write_text(f"chrom,pos,ref,alt\none,1,{Genome.open(fasta).fetch('one', 0, 1)},N\n")
    with pytest.raises(ConfigError, match="--out must end in .tsv when the variants come as a table, got .*out.vcf"):
        score_vcf(model, tmp_path / "h.csv", tmp_path / "out.vcf", genome=fasta)
    with pytest.raises(ConfigError, match="--evaluate must name a column of .*h.csv, got class"):
        score_vcf(model, tmp_path / "h.csv", tmp_path / "out.tsv", genome=fasta, labels=Labels(field="class"))


def test_clinvar(model, data, tmp_path):
    folder = data / "variants"
    rows = pd.read_csv(folder / "clinvar_hg19_chr1_1000.tsv.gz", sep="\t").iloc[::40]
    rows.to_csv(tmp_path / "some.tsv.gz", sep="\t", index=False)
    genome = folder / "hg19_chr1_1-3004950.fa.gz"
    report = score_vcf(model, tmp_path / "some.tsv.gz", tmp_path / "out.tsv", genome=genome)
    assert (report.records, report.mismatches) == (25, 0)
    out = pd.read_csv(tmp_path / "out.tsv", sep="\t")
    assert out["details"].tolist() == rows["details"].tolist()
