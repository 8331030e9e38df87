from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from dnar2mae.benchmarks.build.config import BuildConfig
from dnar2mae.benchmarks.build.examples import Examples, matched, window_codes
from dnar2mae.benchmarks.build.partition import inside, partition
from dnar2mae.benchmarks.build.suite import build_suite
from dnar2mae.benchmarks.tasks.data import load_task
from dnar2mae.benchmarks.tasks.sequences import canonical, reverse_complement
from dnar2mae.benchmarks.tasks.suite import load_suite
from dnar2mae.cli import main
from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.alphabet import encode
from dnar2mae.genome.annotation import Transcript, read_annotation
from dnar2mae.genome.simulate import SimulateConfig, simulate
from dnar2mae.genome.store import Genome

SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    genome = simulate(SimulateConfig(length_bp=900_000, chromosomes=3, genes_per_mb=150.0, repeat_share=0.1, seed=3))
    genome.write(folder / "g.fa", folder / "g.gff3")
    return folder / "g.fa", folder / "g.gff3"


@pytest.fixture
def built(simulated, tmp_path):
    return build_suite(*simulated, tmp_path / "suite", BuildConfig(seed=1))


def tables(folder, task):
    return {split: pd.read_csv(folder / task / f"{split}.csv") for split in SPLITS}


def gc(sequences):
    return np.array([(s.count("G") + s.count("C")) / max(len(s) - s.count("N"), 1) for s in sequences])


def test_examples_are_where_they_say(built, simulated):
    assert not built.left_out
    genome = Genome.open(simulated[0])
    for task in built.counts:
        for table in tables(built.folder, task).values():
            for row in table.head(40).itertuples():
                assert genome.fetch(row.chrom, row.start, row.end, row.strand).upper() == row.sequence


def test_says_when_most_coding_parts_are_shorter_than_a_window(built, simulated, tmp_path):
    annotation = read_annotation(simulated[1], Genome.open(simulated[0]))
    parts = np.array([end - start for t in annotation.transcripts for start, end in t.coding])
    share, half = f"{np.mean(parts >= 200):.0%}", int(np.median(parts)) // 4 * 4
    assert built.remark == (
        f"{share} of the coding parts hold a window of 200 bp, half of them one of {half} (--inside-bp)."
    )
    shorter = build_suite(*simulated, tmp_path / "short", BuildConfig(seed=1, inside_bp=half))
    assert not shorter.remark
    for task, length in {"coding": half, "strand": half, "splice": 200, "gene_start": 200, "promoter": 200}.items():
        table = pd.concat(tables(shorter.folder, task).values())
        assert (table["sequence"].str.len() == length).all(), task
        assert (table["end"] - table["start"] == length).all(), task
        assert yaml.safe_load((shorter.folder / "suite.yaml").read_text())["tasks"][task]["length_bp"] == length, task
    for task in ("coding", "strand"):  # of the annotation as it is, more examples
        assert sum(shorter.counts[task][name]["train"] for name in shorter.counts[task]) > 1.2 * sum(
            built.counts[task][name]["train"] for name in built.counts[task]
        )
    config = BuildConfig(seed=1, tasks=("strand",))
    assert not build_suite(*simulated, tmp_path / "strand", config).remark


def test_splits_share_no_base_and_no_sequence(built):
    for task in built.counts:
        found = tables(built.folder, task)
        assert all(len(table) == len(set(map(canonical, table["sequence"]))) for table in found.values())
        for a, b in (("train", "dev"), ("train", "test"), ("dev", "test")):
            assert not set(map(canonical, found[a]["sequence"])) & set(map(canonical, found[b]["sequence"]))
            for chrom, rows in found[a].groupby("chrom"):
                others = found[b][found[b]["chrom"] == chrom]
                apart = (rows["start"].to_numpy()[:, None] - others["start"].to_numpy()).astype(float)
                assert not (np.abs(apart) < 200).any()


def test_backgrounds_match_in_gc_and_n(built):
    for task in built.counts:
        background = {"splice": 2, "strand": 1}.get(task, 0)
        for table in tables(built.folder, task).values():
            is_background = table["label"] == background
            assert is_background.sum() * 2 == len(table)
            bins = gc(table["sequence"]) // 0.025
            counts = [np.bincount(bins[rows].astype(int), minlength=41) for rows in (is_background, ~is_background)]
            assert np.abs(counts[0] - counts[1]).sum() <= 0.02 * len(table)


def test_what_the_classes_are(built):
    splice = pd.concat(tables(built.folder, "splice").values())
    donor, acceptor, neither = (splice[splice["label"] == i]["sequence"] for i in (1, 0, 2))
    assert (donor.str[100:102] == "GT").mean() > 0.95
    assert (acceptor.str[98:100] == "AG").mean() > 0.95
    assert ((neither.str[100:102] == "GT") | (neither.str[98:100] == "AG")).all()
    starts = pd.concat(tables(built.folder, "gene_start").values())
    assert (starts["sequence"].str[100:103] == "ATG").all()
    assert set(pd.concat(tables(built.folder, "strand").values())["strand"]) == {"+"}


def test_same_seed_same_suite(built, simulated, tmp_path):
    again = build_suite(*simulated, tmp_path / "again", BuildConfig(seed=1))
    other = build_suite(*simulated, tmp_path / "other", BuildConfig(seed=2, tasks=("strand",)))
    for task in built.counts:
        for split in SPLITS:
            name = f"{task}/{split}.csv"
            assert (built.folder / name).read_bytes() == (again.folder / name).read_bytes()
    name = "strand/test.csv"
    assert (built.folder / name).read_bytes() != (other.folder / name).read_bytes()


def test_windows_of_a_block_are_a_group(built):
    for task in built.counts:
        of_split = {split: set(table["group"]) for split, table in tables(built.folder, task).items()}
        assert not of_split["train"] & of_split["test"]
        assert not of_split["dev"] & (of_split["train"] | of_split["test"])
        for table in tables(built.folder, task).values():
            first = table["group"].str.rsplit(":", n=1).str[1].astype(int)
            assert (table["group"].str.rsplit(":", n=1).str[0] == table["chrom"]).all()
            assert (first <= table["start"]).all()
            assert (table["start"] - first).max() < 30_000


def test_the_result_is_a_suite(built, capsys):
    suite = load_suite(str(built.folder))
    assert {task.name for task in suite.tasks} == set(built.counts)
    for task in suite.tasks:
        data = load_task(task, built.folder / task.name)
        assert not data.flags
        assert not data.is_duplicate.any()
    flags = ["--out", str(built.folder / "out"), "--baselines", "raw", "--tasks", "strand"]
    assert main(["benchmark", "run", str(built.folder), *flags]) == 0
    assert "strand" in capsys.readouterr().out


def test_whole_sequences_held_out(simulated, tmp_path):
    config = BuildConfig(dev=("chr2",), test=("chr3",), tasks=("strand", "coding"))
    built = build_suite(*simulated, tmp_path / "suite", config)
    for task in built.counts:
        found = tables(built.folder, task)
        assert {split: set(table["chrom"]) for split, table in found.items()} == {
            "train": {"chr1"},
            "dev": {"chr2"},
            "test": {"chr3"},
        }


def test_blocks_keep_a_gap(simulated):
    genome = Genome.open(simulated[0])
    regions = partition(genome, BuildConfig(block_bp=20_000, gap_bp=900))
    everything = np.concatenate(list(regions.values()))
    everything = everything[np.argsort(everything[:, 0])]
    assert (everything[1:, 0] - everything[:-1, 1] >= 900).all()
    assert len(regions["test"]) == len(regions["dev"]) >= 3
    first = regions["train"][0]
    starts = np.array([first[0] - 1, first[0], first[1] - 10, first[1] - 9])
    assert inside(regions["train"], starts, 10).tolist() == [False, True, True, False]


def test_windows_are_read_in_their_direction(simulated):
    genome = Genome.open(simulated[0])
    examples = Examples(np.array([500, 500]), np.array([False, True]), np.array([0, 1]))
    there, back = window_codes(genome, examples, 30)
    assert "".join("ACGTN"[c] for c in back) == reverse_complement("".join("ACGTN"[c] for c in there))


def test_matching_takes_equal_numbers_of_every_bin():
    codes = np.stack([encode(s.encode()) for s in ["GGGG"] * 3 + ["AAAA"] * 2 + ["GGGG"] * 2 + ["AAAA"] * 5 + ["GGAN"]])
    is_background = np.arange(len(codes)) >= 5
    rows = matched(codes, is_background, np.random.default_rng(0))
    assert (is_background[rows].sum(), (~is_background[rows]).sum()) == (4, 4)
    assert 12 not in rows


LOCUS = "LOCUS       one                        4 bp    DNA     linear   UNK 01-JAN-2000\nACCESSION   one\n"
GENE = {
    "a.gff3": (
        "##gff-version 3\none\tx\tgene\t101\t900\t.\t-\t.\tID=g\none\tx\tmRNA\t101\t900\t.\t-\t.\tID=t;Parent=g\n"
        "one\tx\texon\t101\t400\t.\t-\t.\tParent=t\none\tx\texon\t501\t900\t.\t-\t.\tParent=t\n"
        "one\tx\tCDS\t201\t400\t.\t-\t0\tID=c;Parent=t\none\tx\tCDS\t501\t700\t.\t-\t0\tID=c;Parent=t\n"
    ),
    "a.gtf": (
        'one\tx\texon\t101\t400\t.\t-\t.\tgene_id "g"; transcript_id "t";\n'
        'one\tx\texon\t501\t900\t.\t-\t.\tgene_id "g"; transcript_id "t";\n'
        'one\tx\tCDS\t201\t400\t.\t-\t0\tgene_id "g"; transcript_id "t";\n'
        'one\tx\tCDS\t501\t700\t.\t-\t0\tgene_id "g"; transcript_id "t";\n'
    ),
    "a.bed": "chrone\t100\t900\tt\t0\t-\t200\t700\t0\t2\t300,400,\t0,400,\n",
}


@pytest.fixture
def small_genome(tmp_path):
    letters = "".join(np.random.default_rng(0).choice(list("ACGT"), 1000))
    (tmp_path / "small.fa").write_text(f">one\n{letters}\n")
    return Genome.open(tmp_path / "small.fa")


@pytest.mark.parametrize("name", GENE)
def test_formats_give_the_same_transcript(name, tmp_path, small_genome):
    (tmp_path / name).write_text(GENE[name])
    (found,) = read_annotation(tmp_path / name, small_genome).transcripts
    expected = Transcript("one", "-", ((100, 900),), ((100, 400), (500, 900)), ((200, 400), (500, 700)))
    assert replace(found, phases=()) == expected
    assert found.phases == ((None, None) if name.endswith("bed") else (0, 0))
    assert found.introns() == [(400, 500)]


def test_genbank_and_gff_of_one_genome_agree(data, tmp_path):
    from Bio import SeqIO

    path = data / "genomes" / "NC_005816.gb"
    if not path.exists():
        pytest.skip(f"no {path}")
    genome = Genome.open(path)
    found = read_annotation(path, genome).transcripts
    record = SeqIO.read(path, "genbank")
    coding = [feature for feature in record.features if feature.type == "CDS"]
    assert len(found) == len(coding) == 10
    for transcript, feature in zip(found, coding, strict=True):
        assert transcript.coding == ((int(feature.location.start), int(feature.location.end)),)
        letters = genome.fetch(transcript.name, *transcript.coding[0], transcript.strand).upper()
        assert letters == str(feature.extract(record.seq)).upper()


def test_bed_of_reading_frames_is_coding(tmp_path):
    frame = "ATG" + "GCC" * 30 + "TAA"
    (tmp_path / "g.fa").write_text(f">I\n{'A' * 50}{frame}{'C' * 50}{reverse_complement(frame)}{'A' * 50}\n")
    second = 50 + len(frame) + 50
    lines = [f"chrI\t50\t{50 + len(frame)}\ta\t0\t+", f"chrI\t{second}\t{second + len(frame)}\tb\t0\t-"]
    (tmp_path / "g.bed").write_text("\n".join(lines))
    genome = Genome.open(tmp_path / "g.fa")
    assert [bool(t.coding) for t in read_annotation(tmp_path / "g.bed", genome).transcripts] == [True, True]
    (tmp_path / "h.bed").write_text("chrI\t10\t90\ta\t0\t+\n")
    assert not read_annotation(tmp_path / "h.bed", genome).transcripts[0].coding


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "the name must end in .gff"),
        ("a.gff3", "one\tx\tgene\t1\n", "a.gff3:1: a line has 9 tab-separated columns"),
        ("a.gff3", "one\tx\tgene\t5000\t5100\t.\t+\t.\tID=g\n", "outside sequence one: 4999-5100 .* of 1000 bp"),
        ("a.gff3", "two\tx\tgene\t1\t50\t.\t+\t.\tID=g\n", r"no annotated sequence \(two\) is in .*which has one"),
        ("a.gff3", "one\tx\tregion\t1\t50\t.\t.\t.\tID=g\n", "no gene or transcript with a strand"),
        ("a.bed", "one\t5\n", "a.bed:1: a BED line is name, start, end"),
        ("a.gff3.gz", "one", "cannot be read|9 tab-separated"),
        ("a.bed", "one\t0\t9\tn\t0\t\n", "no gene or transcript with a strand"),
        ("a.gff3", "tw\ro\tx\tgene\t1\t50\t.\t+\t.\tID=g\n", r"no annotated sequence \(tw o\)"),
        (
            "a.gb",
            LOCUS + "DEFINITION  \xe9\nORIGIN\n        1 acgt\n",
            "damaged GenBank file; get it again: Premature end",
        ),
    ],
)
def test_bad_annotations(name, content, message, tmp_path, small_genome):
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(SequenceError, match=message):
        read_annotation(tmp_path / name, small_genome)


def test_features_around_an_origin_and_missing_files(tmp_path, small_genome):
    (tmp_path / "a.gff3").write_text(GENE["a.gff3"] + "one\tx\tgene\t990\t1020\t.\t+\t.\tID=h\n")
    assert read_annotation(tmp_path / "a.gff3", small_genome).unplaced == {"one, beyond its end": 1}
    with pytest.raises(SequenceError, match="no such file"):
        read_annotation(tmp_path / "none.gff3", small_genome)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length_bp": 30}, "--length-bp must be a multiple of 4 >= 20, got 30"),
        ({"inside_bp": 16}, "--inside-bp must be a multiple of 4 >= 20, got 16"),
        ({"inside_bp": 900, "block_bp": 1800}, "--block-bp must be above gap and length together \\(1900\\), got 1800"),
        ({"gap_bp": -1}, "--gap-bp must be at least 0"),
        ({"block_bp": 1100}, r"--block-bp must be above gap and length together \(1200\), got 1100"),
        ({"max_examples": 0}, "--max-examples must be at least 1"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"dev": ("a",)}, "--dev and --test must both name sequences"),
        ({"dev": ("a",), "test": ("a",)}, "--test must be disjoint from --dev, got a"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        BuildConfig(**settings)


def test_an_unknown_task_is_named_where_nothing_checks_types():
    config = BuildConfig()
    object.__setattr__(config, "tasks", ("colour",))
    with pytest.raises(ConfigError, match="--tasks must be some of promoter, .*, got colour"):
        config.__post_init__()


def test_genomes_that_do_not_fit(simulated, small_genome, tmp_path):
    out = tmp_path / "suite"
    with pytest.raises(ConfigError, match="--dev: .*no sequence 'chr9'"):
        build_suite(*simulated, out, BuildConfig(dev=("chr9",), test=("chr1",)))
    with pytest.raises(ConfigError, match="nothing is left to train on"):
        build_suite(*simulated, out, BuildConfig(dev=("chr1", "chr2"), test=("chr3",)))
    (tmp_path / "a.gff3").write_text(GENE["a.gff3"])
    with pytest.raises(SequenceError, match="0 blocks; lower --block-bp"):
        build_suite(small_genome.path, tmp_path / "a.gff3", out, BuildConfig())
    with pytest.raises(SequenceError, match="no task has enough examples .*promoter: "):
        build_suite(small_genome.path, tmp_path / "a.gff3", out, BuildConfig(block_bp=100, gap_bp=0, length_bp=20))
    assert not out.exists()


def test_build_command(simulated, tmp_path, capsys):
    genome, annotation = map(str, simulated)
    argv = ["benchmark", "build", "--genome", genome, "--annotation", annotation, "--out", str(tmp_path / "s")]
    assert main([*argv, "--tasks", "strand"]) == 0
    printed = capsys.readouterr().out
    assert "Next: dnar2mae benchmark run" in printed
    assert "g.gff3 was read as GFF3: 135 transcripts, 135 of them coding." in " ".join(printed.split())
    assert main([*argv, "--tasks", "strand"]) == 2
    assert "exists; --overwrite replaces a suite" in capsys.readouterr().err
    assert main([*argv, "--tasks", "strand", "--overwrite"]) == 0
