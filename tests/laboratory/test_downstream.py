"""Probes and variants in a comparison."""

import pandas as pd
import yaml

from dnar2mae.cli import main
from tests.benchmarks.conftest import motif_rows, write_rows
from tests.laboratory.test_compare import SMALL

HEADER = (
    "##fileformat=VCFv4.2\n##contig=<ID=one,length=20000>\n"
    '##INFO=<ID=CLASS,Number=1,Type=Integer,Description="1 is expected to score low">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
)


def test_probes_and_variants_of_every_run_are_in_the_table(fasta, tmp_path):
    suite = tmp_path / "suite"
    for seed, (split, count) in enumerate([("train", 60), ("dev", 20), ("test", 40)]):
        write_rows(suite / "motif" / f"{split}.csv", motif_rows(count, seed))
    (suite / "suite.yaml").write_text(yaml.safe_dump({"name": "mine", "tasks": {"motif": {"length_bp": 48}}}))
    bases = "".join(fasta.read_text().split(">")[1].split("\n")[1:])
    lines = []
    for number, position in enumerate(range(100, 2000, 100)):
        ref = bases[position - 1]
        lines.append(f"one\t{position}\t.\t{ref}\t{'CA'[ref == 'C']}\t.\t.\tCLASS={number % 2}\n")
    (tmp_path / "v.vcf").write_text(HEADER + "".join(lines))
    argv = ["compare", str(fasta), "--laws", "fixed:0.15", "fixed:0.4", "--budget-tokens", "512", "--seeds", "1"]
    argv += ["--out", str(tmp_path / "lab"), "--suite", str(suite), "--variants", str(tmp_path / "v.vcf")]
    assert main([*argv, "--variants-genome", str(fasta), *SMALL]) == 0
    table = pd.read_csv(tmp_path / "lab" / "compare.csv")
    probes = table[table["measure"] == "probe"]
    assert sorted(probes["law"]) == ["fixed:0.15", "fixed:0.4"]
    assert set(probes["at"]) == {"motif"}
    assert probes["value"].between(-1, 1).all()
    scored = table[table["measure"] == "variants"].set_index(["law", "at"])["value"]
    assert len(scored) == 4  # AUROC and AUPRC
    assert scored.between(0, 1).all()
    assert "motif" in (tmp_path / "lab" / "report.md").read_text()
