import numpy as np
import pytest

from dnar2mae.cli.simulate import run
from dnar2mae.errors import ConfigError
from dnar2mae.genome.simulate import SimulateConfig, simulate
from dnar2mae.genome.simulate.variants import planted_variants

CONFIG = SimulateConfig(length_bp=200_000, chromosomes=2, seed=3)
PLANTED = "CDS TF_binding_site TATA_box INR_motif branch_site polyA_signal_sequence polypyrimidine_tract".split()
PLANTED += ["repeat_region", "tandem_repeat", "gap"]


@pytest.fixture(scope="module")
def genome():
    return simulate(CONFIG)


@pytest.fixture(scope="module")
def variants(genome):
    return planted_variants(genome, 100)


def inside(genome, variant, kinds):
    table = genome.features[(genome.features["chrom"] == variant.chrom) & genome.features["type"].isin(kinds)]
    return table[(table["start"] <= variant.start) & (variant.start < table["end"])]


def test_pairs_differ_in_the_motif_alone(genome, variants):
    assert len(variants) == 200
    places = [(v.chrom, v.start) for v in variants]
    assert len(set(places)) == 200
    assert places == sorted(places)
    by_pair = {}
    for v in variants:
        text = genome.sequences[v.chrom].upper()
        assert text[v.start] == v.ref != v.alt
        by_pair.setdefault(v.pair, {})[v.planted] = v
    assert sorted(by_pair) == list(range(1, 101))
    for pair in by_pair.values():
        broken, neutral = pair[True], pair[False]
        text = genome.sequences[broken.chrom].upper()
        assert (broken.chrom, broken.alt, broken.motif) == (neutral.chrom, neutral.alt, neutral.motif)
        assert text[broken.start - 1 : broken.start + 2] == text[neutral.start - 1 : neutral.start + 2]
        assert len(inside(genome, broken, ["CpG_island"])) == len(inside(genome, neutral, ["CpG_island"]))


def test_planted_ones_lie_in_their_motif_and_matches_in_none(genome, variants):
    kinds = {"donor": "intron", "acceptor": "intron"}
    for v in variants:
        if not v.planted:
            assert inside(genome, v, PLANTED).empty
        elif v.motif in PLANTED or v.motif in kinds:
            assert not inside(genome, v, [kinds.get(v.motif, v.motif)]).empty
        else:
            assert v.motif in inside(genome, v, ["TF_binding_site"])["name"].tolist()
    assert {v.motif for v in variants} >= {"TATA_box", "INR_motif", "branch_site", "donor", "acceptor"}


def test_the_change_is_against_the_consensus(genome, variants):
    """An intron begins with GT and ends with AG on its strand: a broken one does not."""
    for v in variants:
        if v.planted and v.motif in ("donor", "acceptor"):
            intron = inside(genome, v, ["intron"]).iloc[0]
            at_start = (v.motif == "donor") == (intron.strand == "+")
            assert min(abs(v.start - intron.start), 10) < 2 if at_start else intron.end - v.start <= 2


def test_pure_function_that_leaves_the_genome_alone(genome, variants):
    assert planted_variants(simulate(CONFIG), 100) == variants
    assert {v.pair for v in planted_variants(genome, 10)} == set(range(1, 11))


def test_command(tmp_path, capsys):
    flags = ["--length-bp", "60000", "--chromosomes", "1", "--variants"]
    assert run(["--out", str(tmp_path / "g"), *flags, "5"]) == 0
    assert "g.vcf: 5 pairs of variants" in capsys.readouterr().out
    lines = (tmp_path / "g.vcf").read_text().splitlines()
    assert "##contig=<ID=chr1,length=60000>" in lines
    rows = [line.split("\t") for line in lines if line[0] != "#"]
    assert sorted(row[7].split(";")[0] for row in rows) == ["PLANTED=0"] * 5 + ["PLANTED=1"] * 5
    sequence = "".join((tmp_path / "g.fa").read_text().splitlines()[1:]).upper()
    assert all(sequence[int(row[1]) - 1] == row[3] for row in rows)
    assert np.all(np.diff([int(row[1]) for row in rows]) > 0)
    with pytest.raises(ConfigError, match="--variants must be at most .* for this genome, got 5000"):
        run(["--out", str(tmp_path / "h"), *flags, "5000"])
    with pytest.raises(ConfigError, match="--variants must be at least 0, got -1"):
        run(["--out", str(tmp_path / "h"), *flags, "-1"])
    with pytest.raises(ConfigError, match="existing file without --overwrite"):
        run(["--out", str(tmp_path / "g"), *flags, "5"])
    assert not list(tmp_path.glob("h*"))
