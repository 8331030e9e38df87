import hashlib
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace

import bioframe
import numpy as np
import pandas as pd
import pytest
from Bio.Seq import Seq

from dnar2mae.cli.simulate import run
from dnar2mae.errors import ConfigError
from dnar2mae.genome.simulate import SimulateConfig, genes, simulate
from dnar2mae.genome.simulate.background import background, transitions
from dnar2mae.genome.simulate.config import LONGEST_GENE_BP, LONGEST_INTRON_BP, MAX_INTRONS
from dnar2mae.genome.simulate.draws import Draws
from dnar2mae.genome.simulate.signals import CODON_SHARES, TF_MOTIFS, codon_usage

CONFIG = SimulateConfig(length_bp=300_000, chromosomes=3, gaps_per_mb=10.0, seed=1)


@pytest.fixture(scope="module")
def genome():
    return simulate(CONFIG)


@pytest.fixture(scope="module")
def files(genome, tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    genome.write(folder / "g.fa", folder / "g.gff3")
    return folder / "g.fa", folder / "g.gff3"


@pytest.fixture(scope="module")
def annotation(files):
    """The GFF3 file as an independent reader sees it; coordinates back to 0-based half-open."""
    table = bioframe.read_table(files[1], schema="gff", comment="#")
    table["start"] -= 1
    pairs = [dict(p.split("=") for p in text.split(";")) for text in table["attributes"]]
    for key in ("ID", "Parent", "Name"):
        table[key] = [p.get(key, "") for p in pairs]
    return table


def bases(genome, row):
    """Upper-case bases of a feature on its own strand."""
    text = genome.sequences[row.chrom][row.start : row.end].upper()
    return str(Seq(text).reverse_complement()) if row.strand == "-" else text


def of_type(genome, kind):
    return genome.features[genome.features["type"] == kind]


def test_same_seed_same_bytes(genome, files, tmp_path):
    simulate(CONFIG).write(tmp_path / "g.fa", tmp_path / "g.gff3")
    for path in files:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_other_seed_differs(genome):
    other = simulate(SimulateConfig(length_bp=300_000, chromosomes=3, gaps_per_mb=10.0, seed=2))
    assert other.sequences["chr1"] != genome.sequences["chr1"]
    assert not other.features.equals(genome.features)


def test_draws_are_philox():
    """Random123's known answer for philox4x64-10, counter and key 0, and the mapping to [0, 1)."""
    bits = np.random.Philox(key=0, counter=2**256 - 1)  # NumPy counts up before it draws
    words = bits.random_raw(4).tolist()
    assert words == [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    same = np.random.Generator(np.random.Philox(key=np.array([1, 2], dtype=np.uint64)))
    np.testing.assert_array_equal(Draws(1, 2).units(9), same.random(9))


def test_genome_is_pinned(tmp_path):
    """A seed names a genome: results that cite one hold only as long as this does."""
    fasta, gff = tmp_path / "g.fa", tmp_path / "g.gff3"
    simulate(SimulateConfig(length_bp=40_000, chromosomes=2)).write(fasta, gff)
    assert hashlib.sha256(fasta.read_bytes()).hexdigest()[:16] == "42c6dc959e509d03"
    assert hashlib.sha256(gff.read_bytes()).hexdigest()[:16] == "d976d824c12af48d"


def test_file_matches_table(genome, annotation):
    table = genome.features
    for column, name in [("chrom", "chrom"), ("start", "start"), ("end", "end"), ("strand", "strand")]:
        assert annotation[column].tolist() == table[name].tolist()
    assert annotation["feature"].tolist() == table["type"].tolist()
    for column, name in [("ID", "id"), ("Parent", "parent"), ("Name", "name")]:
        assert annotation[column].tolist() == table[name].tolist()
    phases = table["phase"].astype("string").fillna(".")
    assert annotation["frame"].astype(str).tolist() == phases.tolist()


def test_gff3_header(files, genome):
    lines = files[1].read_text().splitlines()
    assert lines[0] == "##gff-version 3"
    regions = [f"##sequence-region {name} 1 {len(s)}" for name, s in genome.sequences.items()]
    assert lines[1 : 1 + len(regions)] == regions
    assert all(len(line.split("\t")) == 9 for line in lines if not line.startswith("#"))


def test_fasta(files, genome):
    records = files[0].read_text().split(">")[1:]
    parsed = {r.split("\n", 1)[0]: r.split("\n", 1)[1].replace("\n", "") for r in records}
    assert parsed == genome.sequences
    assert [len(s) for s in parsed.values()] == CONFIG.chromosome_lengths()
    assert sum(CONFIG.chromosome_lengths()) == CONFIG.length_bp


def test_every_planted_type_is_annotated(genome):
    expected = (
        "gene mRNA exon intron CDS five_prime_UTR three_prime_UTR TSS promoter TATA_box INR_motif "
        "TF_binding_site CpG_island branch_site polypyrimidine_tract polyA_signal_sequence repeat_region "
        "tandem_repeat gap"
    )
    assert set(genome.features["type"]) == set(expected.split())
    assert set(of_type(genome, "gene")["strand"]) == {"+", "-"}


def test_ids_and_parents(genome):
    table = genome.features
    assert (table["id"] != "").all()
    single = table[table["type"] != "CDS"]
    assert single["id"].is_unique
    children = table[table["parent"] != ""].merge(single, left_on="parent", right_on="id", how="left")
    assert children["id_y"].notna().all()
    assert (children["chrom_x"] == children["chrom_y"]).all()
    assert (children["start_x"] >= children["start_y"]).all()
    assert (children["end_x"] <= children["end_y"]).all()


def test_coordinates_are_inside_and_sorted(genome):
    lengths = genome.features["chrom"].map({name: len(s) for name, s in genome.sequences.items()})
    assert (genome.features["start"] >= 0).all()
    assert (genome.features["start"] < genome.features["end"]).all()
    assert (genome.features["end"] <= lengths).all()
    for _, table in genome.features.groupby("chrom"):
        assert table["start"].is_monotonic_increasing


def test_spliced_cds_translates(genome):
    """Every coding sequence, spliced by Parent, on both strands; and each phase from what lies before it."""
    for _, parts in of_type(genome, "CDS").groupby("parent"):
        forward = parts["strand"].iloc[0] == "+"
        spliced = ""
        for row in parts.sort_values("start", ascending=forward).itertuples():
            assert row.phase == -len(spliced) % 3
            spliced += bases(genome, row)
        protein = Seq(spliced).translate(cds=True)  # checks start, stop, no stop within, length
        assert protein.startswith("M")


def test_exons_and_introns_tile_the_transcript(genome):
    parts = genome.features[genome.features["type"].isin(["exon", "intron"])]
    tiles = {parent: rows for parent, rows in parts.groupby("parent")}
    for mrna in of_type(genome, "mRNA").itertuples():
        rows = tiles[mrna.id].sort_values("start")
        assert rows["start"].tolist() == [mrna.start, *rows["end"][:-1]]
        assert rows["end"].iloc[-1] == mrna.end
        assert rows["type"].iloc[0] == rows["type"].iloc[-1] == "exon"


def test_exonic_parts_cover_the_exons(genome):
    kinds = ["CDS", "five_prime_UTR", "three_prime_UTR"]
    parts = genome.features[genome.features["type"].isin(kinds)]
    length = (parts["end"] - parts["start"]).groupby(parts["parent"]).sum()
    exons = of_type(genome, "exon")
    pd.testing.assert_series_equal(length, (exons["end"] - exons["start"]).groupby(exons["parent"]).sum())


def test_introns_have_splice_signals(genome):
    introns = [bases(genome, row) for row in of_type(genome, "intron").itertuples()]
    assert len(introns) > 30
    assert all(intron.startswith("GT") and intron.endswith("AG") for intron in introns)
    tracts = "".join(bases(genome, row) for row in of_type(genome, "polypyrimidine_tract").itertuples())
    assert (tracts.count("C") + tracts.count("T")) / len(tracts) > 0.85
    branches = [bases(genome, row) for row in of_type(genome, "branch_site").itertuples()]
    assert np.mean([branch[5] == "A" for branch in branches]) > 0.9


def test_tata_box_and_initiator(genome):
    tss = {row.parent.removesuffix(".mrna"): row for row in of_type(genome, "TSS").itertuples()}
    boxes = list(of_type(genome, "TATA_box").itertuples())
    assert len(boxes) == len(tss) > 20
    for box in boxes:
        site = tss[box.parent.removesuffix(".promoter")]
        offset = box.start - site.start if box.strand == "+" else site.end - box.end
        assert -33 <= offset <= -28
        assert box.strand == site.strand
    assert np.mean([bases(genome, box)[:4] == "TATA" for box in boxes]) > 0.8
    assert np.mean([bases(genome, site) == "A" for site in tss.values()]) > 0.8


def test_tf_sites_match_their_matrix(genome):
    """A site's log-odds score is far above that of the same matrix a few bases away."""

    def score(row, shift):
        moved = row._replace(start=row.start + shift, end=row.end + shift)
        matrix = TF_MOTIFS[row.name]
        text = bases(genome, moved)
        return sum(np.log2(matrix[i]["ACGT".index(b)] * 4 + 1e-9) for i, b in enumerate(text))

    rows = list(of_type(genome, "TF_binding_site").itertuples(index=False))
    at, beside = ([score(row, shift) for row in rows] for shift in (0, 11))
    assert len(rows) > 50
    assert np.mean(at) > 7
    assert np.mean(beside) < -5
    assert {row.name for row in rows} == set(TF_MOTIFS)


def test_cpg_islands(genome):
    """The usual definition: over 200 bp, GC above 0.5, observed to expected CpG above 0.6."""
    islands = [bases(genome, row) for row in of_type(genome, "CpG_island").itertuples()]
    text = "".join(islands)
    assert min(map(len, islands)) > 200
    assert (text.count("G") + text.count("C")) / len(text) > 0.55
    assert text.count("CG") * len(text) / (text.count("C") * text.count("G")) > 0.75
    codes = background(Draws(0, 1), 100_000, 0.42)
    cpg = np.mean((codes[:-1] == 1) & (codes[1:] == 2))
    assert cpg / (np.mean(codes == 1) * np.mean(codes == 2)) < 0.35


def test_cpg_island_share_bounds():
    for share, num in [(0.0, 0), (1.0, 4)]:
        config = SimulateConfig(length_bp=40_000, chromosomes=1, cpg_island_share=share)
        assert len(of_type(simulate(config), "CpG_island")) == num


def depth(genome, chrom, kinds):
    """How many features of these types cover each base."""
    covered = np.zeros(len(genome.sequences[chrom]), dtype=int)
    table = genome.features[(genome.features["chrom"] == chrom) & genome.features["type"].isin(kinds)]
    for row in table.itertuples():
        covered[row.start : row.end] += 1
    return covered


@pytest.mark.parametrize("chrom", ["chr1", "chr2", "chr3"])
def test_genes_do_not_overlap(genome, chrom):
    table = of_type(genome, "promoter")
    genes = of_type(genome, "gene").merge(table, on="name", suffixes=("", "_promoter"))
    genes = genes[genes["chrom"] == chrom].sort_values("start")
    starts, ends = genes[["start", "start_promoter"]].min(axis=1), genes[["end", "end_promoter"]].max(axis=1)
    assert len(genes) > 5
    assert (starts.to_numpy()[1:] >= ends.to_numpy()[:-1]).all()


@pytest.mark.parametrize("chrom", ["chr1", "chr2", "chr3"])
def test_soft_mask_is_the_repeats(genome, chrom):
    lower = np.array([base.islower() for base in genome.sequences[chrom]])
    repeats = depth(genome, chrom, ["repeat_region", "tandem_repeat"])
    np.testing.assert_array_equal(lower, repeats)
    assert lower.mean() == pytest.approx(CONFIG.repeat_share, abs=0.02)


@pytest.mark.parametrize("chrom", ["chr1", "chr2", "chr3"])
def test_repeats_avoid_what_was_planted(genome, chrom):
    later = ["repeat_region", "tandem_repeat", "gap"]
    broad = ["gene", "mRNA", "intron"]
    planted = depth(genome, chrom, set(genome.features["type"]) - {*later, *broad})
    repeats = depth(genome, chrom, later)
    assert repeats.max() == 1
    assert not (repeats * planted).any()


def test_copies_of_a_family_are_alike(genome):
    """About 0.9 ** 12 of the 12-mers of a copy are as in the consensus, and so in many other copies."""
    sines = of_type(genome, "repeat_region").query("name == 'SINE1'")
    copies = [bases(genome, row) for row in sines.itertuples()]
    words = [{copy[i : i + 12] for i in range(len(copy) - 11)} for copy in copies]
    counts = Counter(word for copy in words for word in copy)
    shared = sum(count for count in counts.values() if count > len(copies) / 5)
    assert 0.2 < shared / counts.total() < 0.4


def test_gaps_are_the_n_runs(genome):
    gaps = of_type(genome, "gap")
    assert len(gaps) == 3
    assert all(set(genome.sequences[row.chrom][row.start : row.end]) == {"N"} for row in gaps.itertuples())
    total = sum(text.upper().count("N") for text in genome.sequences.values())
    assert total == (gaps["end"] - gaps["start"]).sum()


def test_nothing_but_background():
    config = SimulateConfig(length_bp=40_000, chromosomes=1, genes_per_mb=0.0, repeat_share=0.0, gaps_per_mb=0.0)
    genome = simulate(config)
    assert genome.features.empty
    assert set(genome.sequences["chr1"]) == set("ACGT")


@pytest.mark.parametrize("gc", [0.3, 0.42, 0.6])
def test_background_gc(gc):
    table = transitions(gc)
    np.testing.assert_allclose(table.sum(axis=1), 1)
    codes = background(Draws(3, 1), 1_000_000, gc)
    assert len(codes) == 1_000_000
    assert np.mean((codes == 1) | (codes == 2)) == pytest.approx(gc, abs=0.03)


def test_background_follows_its_transitions(monkeypatch):
    """Counted 4-mers of one isochore agree with the table."""
    monkeypatch.setattr("dnar2mae.genome.simulate.background.ISOCHORE_GC", (0.0,))
    codes = background(Draws(0, 1), 2_000_000, 0.42).astype(int)
    context = codes[:-3] * 16 + codes[1:-2] * 4 + codes[2:-1]
    counts = np.bincount(context * 4 + codes[3:], minlength=256).reshape(64, 4)
    np.testing.assert_allclose(counts / counts.sum(axis=1, keepdims=True), transitions(0.42), atol=0.02)


def test_codon_usage(genome):
    codons, shares = codon_usage()
    names = ["".join("ACGT"[code] for code in codon) for codon in codons]
    assert len(set(names)) == 61
    assert shares.sum() == pytest.approx(1)
    assert all(sum(ranks) == pytest.approx(1) for ranks in CODON_SHARES.values())
    amino_acids = defaultdict(set)
    for name in names:
        amino_acids[str(Seq(name).translate())].add(name)
    assert len(amino_acids) == 20
    assert "*" not in amino_acids


def test_structure_beats_base_frequencies(genome):
    """An order-7 Markov model is well below 2 bits a base on held-out chromosomes: the repeats recur."""
    lookup = np.full(256, 4)
    for code, base in enumerate("ACGT"):
        lookup[[ord(base), ord(base.lower())]] = code
    tables = []
    for chroms in (["chr1", "chr2"], ["chr3"]):
        codes = lookup[np.frombuffer("".join(genome.sequences[c] for c in chroms).encode(), dtype=np.uint8)]
        windows = np.lib.stride_tricks.sliding_window_view(codes, 8)
        windows = windows[(windows < 4).all(axis=1)]
        tables.append(np.bincount(windows @ 4 ** np.arange(7, -1, -1), minlength=4**8).reshape(-1, 4))
    fitted = tables[0] + 0.5
    bits = -np.log2(fitted / fitted.sum(axis=1, keepdims=True))
    assert (tables[1] * bits).sum() / tables[1].sum() < 1.95


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"length_bp": 5}, r"--length-bp must be at least 80000 \(20000 a chromosome\), got 5"),
        (
            {"length_bp": 5, "chromosomes": 1},
            r"--length-bp must be at least 20000 \(20000 a chromosome\), got 5",
        ),
        ({"chromosomes": 0}, "--chromosomes must be at least 1, got 0"),
        (
            {"genes_per_mb": 184.0},
            r"--genes-per-mb must be in \[0, 183\] where genes have up to 5 introns, got 184.0",
        ),
        ({"max_introns": 6}, r"--max-introns must be in 0..5, got 6"),
        (
            {"length_bp": 80_000, "genes_per_mb": 2.0},
            r"--genes-per-mb must be at least 65 \(one gene on the shortest chromosome\) or 0, got 2.0",
        ),
        ({"gc": 0.9}, r"--gc must be in \[0.3, 0.6\], got 0.9"),
        ({"cpg_island_share": 1.5}, r"--cpg-island-share must be in \[0, 1\], got 1.5"),
        ({"repeat_share": 0.8}, r"--repeat-share must be in \[0, 0.5\], got 0.8"),
        ({"gaps_per_mb": -1.0}, r"--gaps-per-mb must be in \[0, 20\], got -1.0"),
        ({"seed": -1}, r"--seed must be in \[0, 2\*\*63\), got -1"),
    ],
)
def test_config_errors(setting, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        SimulateConfig(**setting)


def test_longest_gene_fits_its_slot():
    longest_bp = genes.UPSTREAM_BP + genes.UTR5_BP[1] + 3 * genes.CODONS[1] + genes.UTR3_BP[1]
    assert (longest_bp, genes.INTRON_BP[1]) == (LONGEST_GENE_BP, LONGEST_INTRON_BP)
    for max_introns, most in ((MAX_INTRONS, 183.0), (0, 408.0)):
        config = SimulateConfig(length_bp=200_000, chromosomes=2, genes_per_mb=most, max_introns=max_introns)
        found = simulate(replace(config, repeat_share=0.0, gaps_per_mb=0.0))
        assert len(of_type(found, "gene")) > 0.95 * most / 5


def test_a_compact_genome_has_no_introns():
    config = SimulateConfig(length_bp=200_000, chromosomes=2, genes_per_mb=400.0, max_introns=0, repeat_share=0.05)
    genome = simulate(config)
    assert not len(of_type(genome, "intron"))
    assert len(of_type(genome, "gene")) == len(of_type(genome, "CDS")) > 75


def test_no_room_for_gaps(monkeypatch):
    monkeypatch.setattr("dnar2mae.genome.simulate.genome._MAX_TRIES", 0)
    dense = SimulateConfig(length_bp=100_000, chromosomes=1, genes_per_mb=400.0, max_introns=0, gaps_per_mb=20.0)
    with pytest.raises(ConfigError, match="--gaps-per-mb must leave room beside the genes: 0 of 2 gaps fit"):
        simulate(dense)


def test_extremes_fit():
    """A dense genome with all the repeats that the range allows, and the smallest chromosome."""
    dense = SimulateConfig(length_bp=100_000, chromosomes=1, genes_per_mb=150.0, repeat_share=0.5, gaps_per_mb=20.0)
    assert len(of_type(simulate(dense), "gene")) == 15
    small = SimulateConfig(length_bp=20_000, chromosomes=1)
    assert len(of_type(simulate(small), "gene")) == 2


def test_no_room_for_repeats(monkeypatch):
    monkeypatch.setattr("dnar2mae.genome.simulate.repeats._MAX_TRIES", 1)
    dense = SimulateConfig(length_bp=100_000, chromosomes=1, genes_per_mb=150.0, repeat_share=0.5)
    with pytest.raises(ConfigError, match="--repeat-share must leave room beside the genes, got 0.5"):
        simulate(dense)


def test_refuses_to_overwrite(genome, files, tmp_path):
    fasta, gff = tmp_path / "g.fa", tmp_path / "g.gff3"
    gff.write_text("mine")
    with pytest.raises(ConfigError, match=r"--out must not name an existing file without --overwrite, got .*gff3"):
        genome.write(fasta, gff)
    assert not fasta.exists()
    assert gff.read_text() == "mine"
    genome.write(fasta, gff, overwrite=True)
    assert gff.read_bytes() == files[1].read_bytes()


def test_failed_write_leaves_nothing(genome, tmp_path, monkeypatch):
    def fail(self):
        yield "##gff-version 3\n"
        raise OSError("disk full")

    monkeypatch.setattr(type(genome), "_gff3", fail)
    with pytest.raises(OSError, match="disk full"):
        genome.write(tmp_path / "g.fa", tmp_path / "g.gff3")
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path, capsys):
    prefix = tmp_path / "new" / "demo"
    argv = ["--out", str(prefix), "--length-bp", "60_000", "--chromosomes", "2", "--seed", "3"]
    assert run(argv) == 0
    out = capsys.readouterr().out
    assert f"dnar2mae pretrain {prefix}.fa --out runs/demo" in out
    assert "Features: " in out
    expected = simulate(SimulateConfig(length_bp=60_000, chromosomes=2, seed=3))
    expected.write(tmp_path / "e.fa", tmp_path / "e.gff3")
    for suffix in ("fa", "gff3"):
        assert (tmp_path / f"new/demo.{suffix}").read_bytes() == (tmp_path / f"e.{suffix}").read_bytes()
    with pytest.raises(ConfigError, match="--overwrite"):
        run(argv)
    assert run([*argv, "--overwrite"]) == 0
    with pytest.raises(ConfigError, match="--length-bp must be at least 80000"):
        run(["--out", str(prefix), "--length-bp", "5"])


def test_command_line_without_out(capsys):
    with pytest.raises(SystemExit) as stop:
        run([])
    assert stop.value.code == 2
    assert "--out" in capsys.readouterr().err


def test_help_needs_no_heavy_import():
    code = (
        "import sys, contextlib\n"
        "from dnar2mae.cli.simulate import run\n"
        "with contextlib.suppress(SystemExit): run(['--help'])\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'Bio', 'bioframe')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
