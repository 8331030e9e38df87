import json
import re
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from dnar2mae.errors import ConfigError, RunError, SequenceError
from dnar2mae.genome.alphabet import SOFT_MASK
from dnar2mae.genome.annotation import read_annotation
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.report import page, page_run, reported_run
from dnar2mae.report.options import PageOptions
from dnar2mae.report.page import write_page
from dnar2mae.run.config_file import read_config, write_config
from dnar2mae.tracks.options import TrackOptions
from dnar2mae.tracks.quantities import quantity
from dnar2mae.tracks.region import region_log_probabilities
from dnar2mae.variants import ControlOptions, score_controls

from .reader import PageReader

FEW = {"pairs": 20, "tiles": 400, "draws": 4, "steps": 2}
COMMON = ["This run", "Loss by step", "Loss by mask ratio, and the bound", "With your own data"]
OWN = {
    "dna": ["Variant control", "Constraint and genes", "Embedding map", "Drawn sequences"],
    "text": ["Drawn texts"],
    "image": ["Restored images"],
    "cell genes": [],
}


@pytest.fixture
def run(run_of, tmp_path):
    """A copy of the run on a simulated genome."""
    return shutil.copytree(run_of("dna"), tmp_path / "run")


@pytest.fixture
def genes(run_of):
    return run_of("dna").parent / "genes.gff3"


def write(run, out, **options):
    """The page as a reader sees it, and its text."""
    text = write_page(run, out, options=PageOptions(**FEW | options), device="cpu", overwrite=True).read_text()
    return PageReader(text), text


@pytest.mark.parametrize("kind", OWN)
def test_every_kind_of_data_has_its_sections(run_of, tmp_path, kind):
    run = shutil.copytree(run_of(kind), tmp_path / "run")
    options = {"genes": run_of(kind).parent / "genes.gff3"} if kind == "dna" else {}
    read, text = write(run, tmp_path / "page.html", **options)
    assert list(read.sections) == [*COMMON[:3], *OWN[kind], COMMON[3]]
    assert "Not on this page" not in text
    assert all(s["svg"] + s["img"] + s["table"] + s["code"] or "Drawn texts" in t for t, s in read.sections.items())
    assert len(text) < 2_000_000
    assert "var(--c0)" in text
    assert not any(colour in text.split("<body>")[1] for colour in ("#010203", "#0072b2", "#000000"))
    assert all(read.labels)
    assert "mathdefault" not in text  # powers of ten, which are not parsed in these figures
    summary = json.loads((run / "summary.json").read_text())
    assert f"{summary['held_out']:.4f} ± " in read.sections["Loss by step"]["text"]
    bound = summary["bound"]
    said = (
        f"at most {bound['value']:.4f}" if "value" in bound else f"No bound on the model's {summary['unit']}: its head"
    )
    assert said in read.sections[COMMON[2]]["text"]


@pytest.mark.parametrize("kind", ["dna", "image"])
def test_a_page_asks_for_nothing_from_elsewhere(run_of, tmp_path, kind):
    run = shutil.copytree(run_of(kind), tmp_path / "run")
    read, text = write(run, tmp_path / "page.html")
    assert not any(word in text for word in ("http:", "https:", "//", "@import", "<script", "<link"))
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in read.links)
    assert len(set(read.ids)) == len(read.ids)
    assert {link[1:] for link in read.links if link.startswith("#")} <= set(read.ids)
    assert "default-src 'none'" in text


def test_the_control_is_the_one_that_score_variants_computes(run, genes, tmp_path):
    read, _ = write(run, tmp_path / "page.html", genes=genes)
    genome = genes.with_name("genome.fa")
    model = Model.from_pretrained(run, device="cpu")
    expected = score_controls(model, genes, tmp_path / "c.csv", genome=genome, options=ControlOptions(pairs=20))
    text = read.sections["Variant control"]["text"]
    assert set(expected.auroc) >= {"stop_gained", "splice_broken"}
    for scores in expected.auroc.values():
        for interval in scores.values():
            assert f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})" in text
    assert "coding, - strand" in read.sections["Embedding map"]["text"]
    assert "divergence of 6-mers" in read.sections["Drawn sequences"]["text"]


def test_the_constraint_is_the_one_of_tracks(run, genes, tmp_path):
    read, text = write(run, tmp_path / "page.html", genes=genes)
    name, start, end = re.search(r"(chr1):([\d,]+)-([\d,]+)", text).groups()
    place = (name, int(start.replace(",", "")), int(end.replace(",", "")))
    assert place[2] - place[1] == 3000
    assert place[1] >= 20_000  # held out
    file = genes.with_name("genome.fa")
    genome = Genome.open(file)
    options = TrackOptions(genome=file)
    log_p = region_log_probabilities(Model.from_pretrained(run, device="cpu"), genome, place, options)
    values = quantity("constraint", log_p, genome.codes(*place) & np.uint8(SOFT_MASK - 1))
    coding = np.zeros(genome.total_bp, bool)
    for transcript in read_annotation(genes, genome).transcripts:
        for low, high in transcript.coding:
            coding[low:high] = True
    coding = coding[place[1] : place[2]]
    assert 0 < coding.sum() < 3000
    said = f"{values[coding].mean():+.2f} over {coding.sum():,} coding bases; {values[~coding].mean():+.2f} over"
    assert said in read.sections["Constraint and genes"]["text"]


def test_the_same_page_again_takes_no_model(run, genes, tmp_path, monkeypatch):
    _, first = write(run, tmp_path / "page.html", genes=genes)
    monkeypatch.setattr(reported_run, "load", lambda *_, **__: pytest.fail("loaded"))
    _, second = write(run, tmp_path / "page.html", genes=genes)
    assert second == first
    with pytest.raises(pytest.fail.Exception, match="loaded"):  # other pairs
        write(run, tmp_path / "page.html", genes=genes, pairs=10)
    (run / "report.json").write_text("[1")
    with pytest.raises(pytest.fail.Exception, match="loaded"):
        write(run, tmp_path / "page.html", genes=genes)


def test_a_run_on_a_folder_of_another_user_is_computed_each_time(run, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("not yours")

    monkeypatch.setattr(page_run, "write_whole", refuse)
    read, _ = write(run, tmp_path / "page.html")
    assert read.sections["Drawn sequences"]["table"]
    assert not (run / "report.json").exists()


def test_a_section_that_cannot_be_made_says_why(run, tmp_path, genes):
    read, _ = write(run, tmp_path / "page.html", draws=0)
    assert f"dnar2mae report {run} --genes GENES.gff3 adds this" in read.sections["Variant control"]["text"]
    assert "no annotation was given" in read.sections["Embedding map"]["text"]
    assert "no annotation was given" in read.sections["Constraint and genes"]["text"]
    assert "Not on this page: left out by --draws 0" in read.sections["Drawn sequences"]["text"]
    empty = tmp_path / "one.gff3"
    empty.write_text("\n".join(line for line in genes.read_text().splitlines() if "\tgene\t" in line) + "\n")
    read, _ = write(run, tmp_path / "page.html", genes=empty, draws=0)
    assert "no pair of any control in the held-out part" in read.sections["Variant control"]["text"]
    read, _ = write(run, tmp_path / "page.html", genes=empty, draws=0, tiles=40)
    assert (
        "a map needs 30 held-out pieces of 32 bp, 10 or more of each of two kinds; got"
        in read.sections["Embedding map"]["text"]
    )
    without_genes = tmp_path / "none.gff3"
    without_genes.write_text("chr1\tx\tgene\t101\t400\t.\t+\t.\tID=g\n")
    read, _ = write(run, tmp_path / "page.html", genes=without_genes, draws=0)
    assert "no gene begins or ends in the held-out part" in read.sections["Constraint and genes"]["text"]
    shutil.rmtree(run / "checkpoints")
    read, _ = write(run, tmp_path / "page.html", genes=genes)
    assert "this run has no checkpoint yet" in read.sections["Variant control"]["text"]
    assert read.sections["Loss by step"]["svg"]


def test_a_fault_of_ours_costs_one_section(run, tmp_path, monkeypatch):
    def faulty(_):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(page, "SECTIONS", (page.SectionMaker("Broken", faulty), page.SECTIONS[1]))
    with pytest.warns(UserWarning, match="Broken: ZeroDivisionError: by zero; the page is without this section"):
        read, _ = write(run, tmp_path / "page.html")
    assert "ZeroDivisionError" in read.sections["Broken"]["text"]
    assert read.sections["Loss by step"]["svg"]


@pytest.mark.parametrize("kind", OWN)
def test_a_stopped_run(run_of, tmp_path, kind):
    run = shutil.copytree(run_of(kind), tmp_path / "run")
    (run / "summary.json").unlink()
    write_config(replace(read_config(run / "config.yaml"), steps=20), run / "config.yaml")
    read, _ = write(run, tmp_path / "page.html", draws=0)
    assert "6 steps of 8 samples; stopped; 20 steps were planned" in read.sections["This run"]["text"]
    assert "this model at step 6" in read.sections["Loss by step"]["text"]
    reason = f"stopped at step 6 of 20, and this is measured after the last one: dnar2mae pretrain --out {run} --resume"
    assert reason in read.sections[COMMON[2]]["text"]


def test_names_out_of_files_are_text(run, tmp_path):
    named = run.rename(tmp_path / "<i>run & co")
    environment = json.loads((named / "environment.json").read_text())
    (named / "environment.json").write_text(json.dumps(environment | {"command": ["x", "<script>alert(1)</script>"]}))
    read, text = write(named, tmp_path / "page.html", draws=0)
    assert "<i>" not in text
    assert "<script" not in text
    assert "<script>alert(1)</script>" in read.sections["This run"]["text"]
    (named / "environment.json").unlink()
    read, _ = write(named, tmp_path / "page.html", draws=0)
    assert "commit" not in read.sections["This run"]["text"]


def test_what_is_no_run(run_of, run, tmp_path):
    refused = partial(write_page, out=tmp_path / "page.html", device="cpu")
    with pytest.raises(RunError, match="none: expected the directory of a run: no config.yaml in it"):
        refused(tmp_path / "none")
    (run / "metrics.jsonl").write_text('{"event": "train", "step": 1}\n')
    with pytest.raises(RunError, match="run: nothing to report yet: no validation has been done"):
        refused(run)
    (run / "metrics.jsonl").unlink()
    with pytest.raises(RunError, match="run: no metrics that can be read: .*metrics.jsonl: no such file"):
        refused(run)
    (run / "config.yaml").write_text("steps: 3\n")
    with pytest.raises(ConfigError, match="config.yaml: cut short"):
        refused(run)
    (tmp_path / "page.html").touch()
    with pytest.raises(ConfigError, match=r"--out .*page.html exists; give --overwrite to replace it"):
        refused(run_of("dna"))
    with pytest.raises(ConfigError, match="--out must be a file whose name ends in .html, got x.pdf"):
        write_page(run_of("dna"), tmp_path.__class__("x.pdf"))


def test_a_device_that_is_not_there(run, tmp_path):
    with pytest.raises(ConfigError, match="--device must be one that this machine has, got nowhere"):
        write_page(run, tmp_path / "page.html", device="nowhere")
    assert not (tmp_path / "page.html").exists()


def test_an_annotation_that_does_not_fit(run_of, run, genes, tmp_path):
    other = tmp_path / "other.gff3"
    other.write_text("chrX\tx\tCDS\t1\t30\t.\t+\t0\tID=a\n")
    with pytest.raises(SequenceError, match=r"other.gff3: no annotated sequence \(chrX\) is in .*genome.fa"):
        write(run, tmp_path / "page.html", genes=other)
    with pytest.raises(SequenceError, match="none.gff3: no such file"):
        write(run, tmp_path / "page.html", genes=tmp_path / "none.gff3")
    with pytest.raises(ConfigError, match="--genes is for a run on DNA, got one of --modality text"):
        write(run_of("text"), tmp_path / "page.html", genes=genes)
    with pytest.raises(ConfigError, match="--matrices .*none.meme: no such file"):
        write(run, tmp_path / "page.html", genes=genes, matrices=tmp_path / "none.meme")
    with pytest.raises(ConfigError, match="--matrices belongs to an annotation: give --genes too"):
        PageOptions(matrices=other)
    with pytest.raises(ConfigError, match="--pairs must be at least 1, got 0"):
        PageOptions(pairs=0)
    assert not (tmp_path / "page.html").exists()


def test_a_genome_that_has_moved(run_of, run, genes, tmp_path):
    config = read_config(run / "config.yaml")
    write_config(replace(config, data=replace(config.data, genomes=("gone.fa",))), run / "config.yaml")
    with pytest.raises(SequenceError, match="gone.fa: no such file"):
        write(run, tmp_path / "page.html", genes=genes)
    genome = shutil.copy(genes.with_name("genome.fa"), tmp_path / "here.fa")
    read, _ = write(run, tmp_path / "page.html", genes=genes, genome=genome)
    assert read.sections["Variant control"]["svg"]
    assert read.sections["Embedding map"]["svg"]
    assert "gone.fa: no such file" in read.sections["Drawn sequences"]["text"]
