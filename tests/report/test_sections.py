from dataclasses import replace

import numpy as np
import pytest

from dnar2mae.cli import COMMANDS
from dnar2mae.cli.pretrain import PretrainCommand
from dnar2mae.cli.starting_point import parse_settings
from dnar2mae.config import OptimizerConfig, PretrainConfig
from dnar2mae.genome.annotation import read_lines
from dnar2mae.genome.store import Genome
from dnar2mae.modalities.registry import modality_spec
from dnar2mae.presets import PRESETS
from dnar2mae.report.options import PageOptions
from dnar2mae.report.reported_run import ReportedRun
from dnar2mae.report.sections.about import chosen_settings
from dnar2mae.report.sections.commands import commands, pretrain_arguments
from dnar2mae.report.tiles import labelled_tiles
from tests.modalities import kinds


def test_settings_are_those_that_differ_from_the_nearest_preset():
    small = PRESETS["small"]()
    assert chosen_settings(small) == ("small", {})
    changed = replace(small, steps=7, optimizer=replace(small.optimizer, muon_lr=None))
    assert chosen_settings(changed) == ("small", {"steps": (7, 20_000), "optimizer.muon_lr": (None, 4e-3)})


@pytest.mark.parametrize("kind", ["dna", "text", "image", "cell genes", "cell whole"])
def test_the_command_has_all_settings_but_the_data_and_the_machine(kind, tmp_path):
    config = kinds.KINDS[kind](tmp_path)
    config = replace(config, compile=True, data=replace(config.data, validation_share=0.2), optimizer=OptimizerConfig())
    words = [word.strip("'") for word in pretrain_arguments(config)]
    _, parsed = parse_settings(PretrainCommand, words, prog="x")
    command, _ = parse_settings(PretrainCommand, words, prog="x")
    paths = modality_spec(config.modality).paths
    assert getattr(command.run.data, paths) == ("GENOME.fa" if kind == "dna" else "DATA",)
    named = replace(command.run, data=replace(command.run.data, **{paths: getattr(config.data, paths)}))
    assert replace(named, device=config.device) == config
    assert isinstance(parsed, PretrainConfig)


@pytest.mark.parametrize("kind", ["dna", "text", "image", "cell genes"])
def test_the_commands_exist(run_of, kind):
    content = commands(ReportedRun(run_of(kind), PageOptions(), "cpu"))
    assert len(content.commands) >= 3
    for command in content.commands:
        program, name, *_ = command.line.split()
        assert program == "dnar2mae"
        assert name in COMMANDS


ANNOTATION = """##gff-version 3
one\tx\tgene\t11\t70\t.\t+\t.\tID=g
one\tx\tmRNA\t11\t70\t.\t+\t.\tID=m;Parent=g
one\tx\texon\t11\t30\t.\t+\t.\tID=e1;Parent=m
one\tx\texon\t51\t70\t.\t+\t.\tID=e2;Parent=m
one\tx\tCDS\t21\t30\t.\t+\t0\tID=c;Parent=m
one\tx\tCDS\t51\t60\t.\t+\t1\tID=c;Parent=m
two\tx\tgene\t1\t20\t.\t-\t.\tID=h
two\tx\tCDS\t1\t18\t.\t-\t0\tID=d;Parent=h
two\tx\trepeat_region\t31\t40\t.\t.\t.\tID=r
"""


def test_tiles_have_the_label_of_most_of_their_bases(tmp_path):
    (tmp_path / "g.fa").write_text(">one\n" + "ACGTT" * 20 + "\n>two\n" + "ACGTT" * 10 + "\n")
    (tmp_path / "g.gff3").write_text(ANNOTATION)
    genome = Genome.open(tmp_path / "g.fa")
    lines = read_lines(tmp_path / "g.gff3", genome).lines
    region = np.array([[0, 95], [100, 150]])
    tiles, mixed = labelled_tiles(genome, region, lines, 10, 800)
    found = [(name, start, label) for name, start, _, _, label in tiles.itertuples(index=False, name=None)]
    assert found == [
        ("one", 0, "between genes"),
        ("one", 10, "exon, not coding"),
        ("one", 20, "coding, + strand"),
        ("one", 30, "gene outside exons"),
        ("one", 40, "gene outside exons"),
        ("one", 50, "coding, + strand"),
        ("one", 60, "exon, not coding"),
        ("one", 70, "between genes"),
        ("one", 80, "between genes"),
        ("two", 0, "coding, - strand"),
        ("two", 10, "coding, - strand"),
        ("two", 20, "between genes"),
        ("two", 30, "repeat"),
        ("two", 40, "between genes"),
    ]
    assert mixed == 0
    assert set(tiles["end"] - tiles["start"]) == {10}
    assert set(tiles["strand"]) == {"+"}
    tiles, mixed = labelled_tiles(genome, region + [[5, 0], [0, 0]], lines, 10, 16)
    assert mixed == 6  # of "one", whose tiles now begin in the middle of most parts
    assert tiles["label"].value_counts().max() == 2  # an eighth of 16 of each


def test_a_gene_over_the_origin(tmp_path):
    (tmp_path / "g.fa").write_text(">one\n" + "ACGTT" * 8 + "\n")
    line = "one\tx\tregion\t1\t40\t.\t+\t.\tID=x;Is_circular=true\none\tx\tCDS\t31\t50\t.\t-\t0\tID=c\n"
    (tmp_path / "g.gff3").write_text("##gff-version 3\n" + line)
    genome = Genome.open(tmp_path / "g.fa")
    tiles, _ = labelled_tiles(genome, np.array([[0, 40]]), read_lines(tmp_path / "g.gff3", genome).lines, 10, 80)
    assert tiles["label"].to_list() == ["coding, - strand", "between genes", "between genes", "coding, - strand"]
