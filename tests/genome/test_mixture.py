import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dnar2mae.config import DataConfig, PretrainConfig
from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.annotation import read_annotation
from dnar2mae.genome.classes import region_classes
from dnar2mae.genome.intervals import size
from dnar2mae.genome.mixture import classes_at, read_classes
from dnar2mae.genome.simulate import SimulateConfig, simulate
from dnar2mae.genome.store import Genome
from dnar2mae.genome.windows import WindowSource
from dnar2mae.modalities.dna.modality import DnaModality

SHARES = {"coding": 0.5, "promoter": 0.2, "intergenic": 0.3}
MIXTURE = ",".join(f"{name}={share}" for name, share in SHARES.items())


@pytest.fixture
def data(tmp_path):
    """Settings of a run on a simulated genome with its annotation."""
    made = simulate(SimulateConfig(length_bp=60_000, chromosomes=2, genes_per_mb=150.0, gaps_per_mb=0))
    made.write(tmp_path / "genome.fa", tmp_path / "genes.gff3")
    genome, genes = str(tmp_path / "genome.fa"), str(tmp_path / "genes.gff3")
    return DataConfig(genomes=(genome,), window_bp=64, mixture=MIXTURE, annotation=(genes,))


def modality(data, seed=0):
    return DnaModality(PretrainConfig(data=data, seed=seed))


def class_by_base(data, genome):
    """The class of every base, the slow way."""
    names = np.full(int(genome.offsets[-1]), "", dtype=object)
    for name, bases in region_classes(read_annotation(Path(data.annotation[0]), genome), genome).items():
        for start, end in bases.tolist():
            assert (names[start:end] == "").all()  # no base is of two classes
            names[start:end] = name
    assert (names != "").all()
    return names


def test_windows_are_drawn_by_the_shares_of_their_classes(data):
    source, ids = modality(data).train.windows, np.arange(40_000)
    genome, start, reverse = source.places(ids)
    names = class_by_base(data, source.genomes[0])[start + 32]
    for name, share in SHARES.items():
        assert (names == name).mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / len(ids)))
    assert set(names) == set(SHARES)
    assert reverse.mean() == pytest.approx(0.5, abs=0.01)
    # all windows are ones that are drawn without a mixture, too, and those of a class are as likely
    usual = modality(replace(data, mixture=None, annotation=())).train.windows
    allowed = np.zeros(int(usual.genomes[0].offsets[-1]), bool)
    for first, end in usual._starts[0].tolist():
        allowed[first:end] = True
    assert allowed[start].all()
    coding = np.flatnonzero(allowed[:-32] & (class_by_base(data, source.genomes[0])[32:] == "coding"))
    drawn = np.searchsorted(coding, start[names == "coding"])
    counts = np.histogram(drawn, 10, (0, len(coding)))[0]
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 30  # chi-squared, 9 degrees of freedom
    assert size(source.coverage()[0]) <= size(usual.coverage()[0])


def test_a_window_follows_from_seed_and_index_alone(data):
    source, ids = modality(data).train.windows, np.arange(300)
    whole, order = source.places(ids), np.random.default_rng(0).permutation(300)
    for given, parts in (
        (order, pickle.loads(pickle.dumps(source)).places(order)),
        (ids[7:9], source.places(ids[7:9])),
    ):
        assert all(np.array_equal(one[given], part) for one, part in zip(whole, parts, strict=True))
    other = modality(data, seed=1).train.windows.places(ids)
    assert not np.array_equal(whole[1], other[1])
    assert modality(data).train.windows.codes(ids[:0]).shape == (0, 64)


def test_without_a_mixture_windows_are_those_of_before(data):
    plain = modality(replace(data, mixture=None, annotation=()))
    assert type(plain.train.windows) is WindowSource
    assert plain.classes_of(np.arange(3)) == []
    assert plain.fingerprint() != modality(data).fingerprint()


def test_the_annotation_is_part_of_the_fingerprint(data, tmp_path):
    before = modality(data).fingerprint()
    moved = tmp_path / "moved.gff3"
    moved.write_bytes((tmp_path / "genes.gff3").read_bytes())
    assert modality(replace(data, annotation=(str(moved),))).fingerprint() == before
    moved.write_text(moved.read_text() + "# changed\n")
    assert modality(replace(data, annotation=(str(moved),))).fingerprint() != before


def test_several_genomes(data, tmp_path):
    simulate(SimulateConfig(length_bp=30_000, chromosomes=1, genes_per_mb=150.0, gaps_per_mb=0, seed=5)).write(
        tmp_path / "other.fa", tmp_path / "other.gff3"
    )
    two = replace(
        data, genomes=(*data.genomes, str(tmp_path / "other.fa")), weights=(1.0, 3.0),
        annotation=(*data.annotation, str(tmp_path / "other.gff3")),
    )  # fmt: skip
    own = modality(two)
    genome, start, _ = own.train.windows.places(np.arange(20_000))
    assert genome.mean() == pytest.approx(0.75, abs=0.02)
    names = np.array(classes_at(own.classes, genome, start + 32))
    assert (names[genome == 1] == "promoter").mean() == pytest.approx(0.2, abs=0.02)


def test_the_classes_of_held_out_windows(data):
    own = modality(data)
    ids = np.arange(len(own.validation))
    _, start, _ = own.validation.windows.places(ids)
    assert own.classes_of(ids) == class_by_base(data, own.genomes[0])[start + 32].tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixture": "coding=0.5,intergenic=0.4"}, "--data.mixture must be shares > 0 that sum to 1, not to 0.9"),
        ({"mixture": "coding=1.5,intergenic=-0.5"}, "--data.mixture must be shares > 0 that sum to 1, not to 1, got"),
        ({"mixture": "coding=nan"}, "--data.mixture must be shares > 0"),
        ({"mixture": "coding:1"}, "--data.mixture must be CLASS=SHARE,CLASS=SHARE,... of different classes, got cod"),
        ({"mixture": "coding=0.5,coding=0.5"}, "of different classes"),
        ({"mixture": ""}, "of different classes"),
        ({"annotation": ()}, "--data.mixture needs --data.annotation"),
        ({"mixture": None}, "--data.annotation needs --data.mixture"),
        ({"annotation": ("a.gff3", "b.gff3")}, r"one file a genome \(1\), got 2"),
    ],
)
def test_settings_that_do_not_fit(data, settings, message):
    with pytest.raises(ConfigError, match=message):
        replace(data, **settings)


def test_a_class_that_is_not_there_is_named(data, tmp_path):
    with pytest.raises(SequenceError, match="no class is called promotor; there are windows of coding, untranslated"):
        _ = modality(replace(data, mixture="promotor=1")).train
    genes = tmp_path / "coding.gff3"
    lines = (tmp_path / "genes.gff3").read_text().splitlines()
    genes.write_text("\n".join(line for line in lines if line[:1] == "#" or line.split("\t")[2] == "CDS") + "\n")
    data = replace(data, mixture="untranslated=1", annotation=(str(genes),))
    with pytest.raises(SequenceError, match="no training window has its middle in untranslated; there are windows of"):
        _ = modality(data).train


def test_the_annotation_of_another_assembly_is_refused(data, tmp_path):
    genome = Genome.open(data.genomes[0])
    assert read_classes(data.annotation, [genome])
    letters = "".join(
        f">{name}\nA{genome.fetch(name, 0, int(n) - 1)}\n" for name, n in zip(genome.names, genome.lengths, strict=True)
    )
    (tmp_path / "shifted.fa").write_text(letters)
    with pytest.raises(SequenceError, match=r"genes.gff3: of \d+ coding sequences .* of another assembly\?"):
        read_classes(data.annotation, [Genome.open(tmp_path / "shifted.fa")])
    (tmp_path / "renamed.fa").write_text(letters.replace(">", ">x"))
    with pytest.raises(SequenceError, match=r"no annotated sequence \(.*\) is in .*renamed.fa"):
        read_classes(data.annotation, [Genome.open(tmp_path / "renamed.fa")])
