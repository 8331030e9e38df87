import json
from collections import Counter
from functools import cache
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from Bio.Seq import Seq

from dnar2mae.cli import main
from dnar2mae.config import DataConfig, ModelConfig
from dnar2mae.errors import ConfigError, RunError, SequenceError
from dnar2mae.genome.annotation import Transcript, read_annotation
from dnar2mae.genome.codons import read_codons
from dnar2mae.genome.fitted_bases import fitted_bases
from dnar2mae.genome.simulate import SimulateConfig, simulate
from dnar2mae.genome.split import split
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.variants import ControlOptions, controls, score_controls, score_vcf
from dnar2mae.variants.alleles import Variant
from dnar2mae.variants.control_pairs import REACH_BP, draw_pairs
from dnar2mae.variants.control_sites import AnnotatedBases
from dnar2mae.variants.count_ratios import ONE_SIDED, TWO_SIDED, count_ratios
from tests.random_run import write_run

EVERYWHERE = ControlOptions(pairs=1000, region="all")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Genes of several exons on both strands, with repeats and gaps, under other names than the annotation's."""
    folder = tmp_path_factory.mktemp("simulated")
    config = SimulateConfig(length_bp=160_000, chromosomes=2, genes_per_mb=150.0, repeat_share=0.1, gaps_per_mb=20)
    simulate(config).write(folder / "genome.fa", folder / "g.gff3")
    (folder / "genome.fa").write_text((folder / "genome.fa").read_text().replace(">chr", ">"))
    return folder


@pytest.fixture
def model(simulated, tmp_path, monkeypatch):
    monkeypatch.chdir(simulated)  # the run names its genome genome.fa
    return Model.from_pretrained(write_run(tmp_path / "run"), device="cpu")


class Proteins:
    """What an annotation says of a genome, read line by line and translated by Biopython."""

    def __init__(self, genome, gff):
        self.text = {
            name: genome.fetch(name, 0, int(n)).upper() for name, n in zip(genome.names, genome.lengths, strict=True)
        }
        self.genes, self.introns = {}, set()
        exons = {}
        for line in gff.read_text().splitlines():
            fields = line.split("\t")
            if len(fields) < 9 or fields[2] not in ("CDS", "exon"):
                continue
            owner = dict(pair.split("=") for pair in fields[8].split(";"))["Parent"]
            part = (genome.find(fields[0]), fields[6], int(fields[3]) - 1, int(fields[4]))
            (self.genes if fields[2] == "CDS" else exons).setdefault(owner, []).append(part)
        for parts in exons.values():
            for left, right in pairwise(sorted(parts)):
                self.introns.add((left[0], left[1], left[3], right[2]))

    def coding(self, owner, variant):
        """The coding sequence of a gene in a genome with this variant."""
        name, strand, *_ = self.genes[owner][0]
        text = self.text[name]
        text = text[: variant.start] + variant.alts[0] + text[variant.start + 1 :]
        joined = Seq("".join(text[start:end] for _, _, start, end in sorted(self.genes[owner])))
        return joined if strand == "+" else joined.reverse_complement()

    def gains_stop(self, variant):
        proteins = (self.coding(owner, variant)[:-3].translate(table=11) for owner in self.over(variant))
        return any("*" in protein for protein in proteins)

    def loses_start(self, variant):
        starts = ("ATG", "GTG", "TTG")
        return any(str(self.coding(owner, variant)[:3]) not in starts for owner in self.over(variant))

    def over(self, variant):
        """Genes with this base in a coding part."""
        return [
            o
            for o, parts in self.genes.items()
            if any(p[2] <= variant.start < p[3] and p[0] == variant.name for p in parts)
        ]

    def splice_distance(self, variant):
        """Distance from the nearest boundary of an intron; below 0.9 within its first or last two bases."""
        ends = [e for name, _, *ends in self.introns if name == variant.name for e in ends]
        return min((abs(variant.start + 0.5 - e) for e in ends), default=np.inf)

    def breaks_splice(self, variant):
        return any(
            name == variant.name and (start <= variant.start < start + 2 or end - 2 <= variant.start < end)
            for name, _, start, end in self.introns
        )


def drawn(genome, gff, region, number=1000, seed=0):
    bases = AnnotatedBases(genome, read_annotation(gff, genome).transcripts, region)
    return {control: draw_pairs(bases, control, number, seed) for control in AnnotatedBases.controls}


def around(genome, drawn_variant, flank=1):
    """The changed base and its neighbours, as read, with the new base."""
    name, start, ref, (alt,) = drawn_variant.variant
    assert genome.fetch(name, start, start + 1).upper() == ref != alt
    reading = genome.fetch(name, start - flank, start + flank + 1, drawn_variant.strand).upper()
    return reading, alt if drawn_variant.strand == "+" else str(Seq(alt).complement())


def test_what_breaks_and_what_does_not_by_translating_every_gene(simulated):
    genome = Genome.open(simulated / "genome.fa")
    known = Proteins(genome, simulated / "g.gff3")
    pairs = drawn(genome, simulated / "g.gff3", genome.intervals)
    breaks = {"stop_gained": known.gains_stop, "start_lost": known.loses_start, "splice_broken": known.breaks_splice}
    assert {strand for of_control in pairs.values() for _, _, _, strand, _ in of_control} == {"+", "-"}
    for control, least in (("stop_gained", 500), ("start_lost", 15), ("splice_broken", 60)):
        assert len(pairs[control]) >= 2 * least
        for one, other in zip(pairs[control][::2], pairs[control][1::2], strict=True):
            assert (one.breaks, other.breaks, one.pair) == (True, False, other.pair)
            assert breaks[control](one.variant)
            assert not any(broken(other.variant) for broken in breaks.values())
            assert around(genome, one) == around(genome, other)
            assert one.strand == other.strand
            assert 0 < abs(one.variant.start - other.variant.start) <= REACH_BP
            if control != "splice_broken":
                assert known.over(other.variant)
            else:
                assert known.splice_distance(other.variant) > 10
        for breaking in (True, False):
            sites = [v.variant[:2] for v in pairs[control] if v.breaks == breaking]
            assert len(set(sites)) == len(sites)


def test_the_words_are_the_same_too(simulated):
    genome = Genome.open(simulated / "genome.fa")
    pairs = drawn(genome, simulated / "g.gff3", genome.intervals)["stop_gained"]
    words = Counter()
    for one, other in zip(pairs[::2], pairs[1::2], strict=True):
        (here, alt), (there, _) = around(genome, one, 2), around(genome, other, 2)
        changed = here[:2] + alt + here[3:]
        same = [i for i in range(3) if here[i : i + 3] == there[i : i + 3]]
        stops = [i for i in same if changed[i : i + 3] in ("TAA", "TAG", "TGA")]
        assert stops
        words.update(stops)
    assert set(words) == {0, 1, 2}


def test_the_draw_depends_on_region_and_seed_alone(simulated):
    genome = Genome.open(simulated / "genome.fa")
    region = np.array([[20_000, 60_000], [100_000, 130_000]])
    first = drawn(genome, simulated / "g.gff3", region, 40)
    assert first == drawn(genome, simulated / "g.gff3", region, 40)
    more = drawn(genome, simulated / "g.gff3", region, 60)
    assert first["stop_gained"] == more["stop_gained"][:80]
    assert first["stop_gained"] != drawn(genome, simulated / "g.gff3", region, 40, seed=1)["stop_gained"]
    for v in (v for of_control in first.values() for v in of_control):
        at = v.variant.start + int(genome.offsets[genome.index[v.variant.name]])
        assert any(start <= at < end for start, end in region)


GENE = "ATG" + "TGG" * 30 + "TGA" + "CAA" * 30 + "TAA"  # under table 4, TGA is tryptophan


def annotated(folder, letters, *lines):
    (folder / "g.fa").write_text(f">one\n{letters}\n")
    rows = [f"one\tx\tCDS\t{a}\t{b}\t.\t{s}\t{phase}\tID=c;Parent=t{more}" for a, b, s, phase, more in lines]
    (folder / "g.gff3").write_text("##gff-version 3\n" + "\n".join(rows) + "\n")
    genome = Genome.open(folder / "g.fa")
    return genome, read_annotation(folder / "g.gff3", genome).transcripts


@pytest.mark.parametrize("strand", "+-")
def test_genetic_codes(tmp_path, strand):
    letters = GENE if strand == "+" else str(Seq(GENE).reverse_complement())
    end = 60 + len(GENE)
    line = (61, end, strand, 0)
    genome, transcripts = annotated(tmp_path, "C" * 60 + letters + "C" * 60, (*line, ";transl_table=4"))
    bases = AnnotatedBases(genome, transcripts, genome.intervals)
    assert (bases.num_coding, bases.num_unreadable) == (1, 0)
    sites = bases.sites("stop_gained")
    # TGG: TAG alone, once each of 30; TGA: TAA; CAA: TAA
    assert len(sites.position) == 30 + 1 + 30
    assert set(sites.is_reverse) == {strand == "-"}
    genome, transcripts = annotated(tmp_path, "C" * 60 + letters + "C" * 60, (*line, ""))
    bases = AnnotatedBases(genome, transcripts, genome.intervals)
    assert (bases.num_coding, bases.num_unreadable) == (1, 1)
    genome, transcripts = annotated(tmp_path, "C" * 60 + letters + "C" * 60, (*line, ";transl_table=77"))
    with pytest.raises(SequenceError, match=r"transl_table must be a genetic code of NCBI \(1, .*, got 77"):
        AnnotatedBases(genome, transcripts, genome.intervals)


def test_phases(tmp_path):
    genome, (whole,) = annotated(tmp_path, "A" * 400, (1, 30, "+", 0, ""), (41, 70, "+", 0, ""))
    assert (whole.phases, whole.genetic_code) == ((0, 0), None)
    assert len(read_codons(whole, genome).position) == 20
    assert read_codons(whole, genome).begins
    _, (split_codon,) = annotated(tmp_path, "A" * 400, (1, 31, "+", 0, ""), (41, 70, "+", 2, ""))
    codons = read_codons(split_codon, genome)
    assert codons.position[10].tolist() == [30, 40, 41]
    _, (partial,) = annotated(tmp_path, "A" * 400, (1, 31, "-", 2, ""), (41, 70, "-", 2, ""))
    codons = read_codons(partial, genome)
    assert codons.position[0].tolist() == [67, 66, 65]
    assert not codons.begins
    _, (shifted,) = annotated(tmp_path, "A" * 400, (1, 31, "+", 0, ""), (41, 70, "+", 0, ""))
    assert read_codons(shifted, genome) is None
    _, (silent,) = annotated(tmp_path, "A" * 400, (1, 31, "+", ".", ""), (41, 70, "+", ".", ""))
    assert len(read_codons(silent, genome).position) == 20
    _, (overlapping,) = annotated(tmp_path, "A" * 400, (1, 31, "+", ".", ""), (31, 70, "+", ".", ""))
    assert read_codons(overlapping, genome) is None
    assert read_codons(Transcript("one", "+", ((0, 9),)), genome) is None


def test_unknown_bases_make_no_site(tmp_path):
    letters = "C" * 60 + "ATG" + "CAA" * 10 + "CAN" * 10 + "CAA" * 10 + "TAA" + "C" * 60
    genome, transcripts = annotated(tmp_path, letters, (61, 156, "+", 0, ""))
    sites = AnnotatedBases(genome, transcripts, genome.intervals).sites("stop_gained")
    assert len(sites.position) == 20


def test_genbank_has_phases_and_genetic_codes(tmp_path):
    (tmp_path / "g.fa").write_text(">one\n" + "A" * 100 + "\n")
    record = (
        "LOCUS       one                      100 bp    DNA     linear   UNK 01-JAN-2000\nACCESSION   one\n"
        "FEATURES             Location/Qualifiers\n     CDS             complement(join(1..31,41..70))\n"
        "                     /codon_start=3\n                     /transl_table=4\nORIGIN\n//\n"
    )
    (tmp_path / "g.gb").write_text(record)
    (found,) = read_annotation(tmp_path / "g.gb", Genome.open(tmp_path / "g.fa")).transcripts
    assert (found.coding, found.phases, found.genetic_code) == (((0, 31), (40, 70)), (None, 2), 4)


def test_count_ratios_by_a_slow_definition(simulated):
    genome = Genome.open(simulated / "genome.fa")
    fitted = fitted_bases([genome], [np.array([[1000, 7000]])])
    text = "".join("ACGTN"[c] for c in fitted)
    sites = [Variant("1", at, genome.fetch("1", at, at + 1).upper(), ()) for at in (3, 2000, 45_000)]
    sites = [s._replace(alts=("ACGT".replace(s.ref, "")[i % 3],)) for i, s in enumerate(sites)]
    found = count_ratios(fitted, genome, sites)

    @cache
    def follows(context):
        at = [i for i in range(len(context), len(text)) if text[i - len(context) : i] == context]
        return Counter(text[i] for i in at if text[i] != "N")

    def one_sided(context, letter):
        shorter = one_sided(context[1:], letter) if context else 0.25
        counts = follows(context)
        return (counts[letter] + 32 * shorter) / (counts.total() + 32)

    @cache
    def between(left, right):
        at = range(len(left), len(text) - len(right))
        return Counter(
            text[i] for i in at if text[i - len(left) : i] == left and text[i + 1 : i + 1 + len(right)] == right
        )

    def two_sided(left, right, letter):
        if not left and not right:
            shorter = 0.25
        else:
            shorter = (
                two_sided(left, right[:-1], letter) if len(left) == len(right) else two_sided(left[1:], right, letter)
            )
        counts = Counter({k: n for k, n in between(left, right).items() if k != "N"})
        return (counts[letter] + len(counts) * shorter) / (counts.total() + len(counts)) if counts else shorter

    for i, (name, start, ref, (alt,)) in enumerate(sites):
        expected = {ONE_SIDED: [], TWO_SIDED: []}
        for strand in "+-":
            before, after = max(start - 10, 0), start + 11
            window = Seq(genome.fetch(name, before, after).upper())
            site, alleles = start - before, [Seq(ref), Seq(alt)]
            if strand == "-":
                window, site = window.reverse_complement(), len(window) - 1 - site
                alleles = [a.reverse_complement() for a in alleles]
            logs = {ONE_SIDED: [], TWO_SIDED: []}
            for allele in map(str, alleles):
                changed = str(window[:site]) + allele + str(window[site + 1 :])
                steps = range(site, min(site + 11, len(changed)))
                logs[ONE_SIDED].append(sum(np.log(one_sided(changed[max(k - 10, 0) : k], changed[k])) for k in steps))
                left, right = changed[max(site - 4, 0) : site], changed[site + 1 : site + 5]
                if len(left) == len(right) == 4:
                    logs[TWO_SIDED].append(np.log(two_sided(left, right, allele)))
            for score, (of_ref, of_alt) in ((s, v) for s, v in logs.items() if v):
                expected[score].append(of_alt - of_ref)
        for score, values in expected.items():
            if values:
                assert found[score][i] == pytest.approx(np.mean(values), abs=1e-9)


def test_report_table_and_file(model, simulated, tmp_path, monkeypatch):
    options = ControlOptions(pairs=20)
    report = score_controls(model, simulated / "g.gff3", tmp_path / "c.csv", genome="genome.fa", options=options)
    assert report.is_of_run
    assert report.pairs["stop_gained"] == 20
    assert report.pairs["start_lost"] < 20
    saved = json.loads((tmp_path / "c.json").read_text())
    assert saved["auroc"]["stop_gained"]["model"]["value"] == report.auroc["stop_gained"]["model"].value
    assert set(saved["auroc"]["stop_gained"]) == {"model", TWO_SIDED, ONE_SIDED}
    table = pd.read_csv(tmp_path / "c.csv", dtype={"chrom": str})
    assert table.groupby("control")["label"].agg(["size", "sum"]).T.to_dict() == {
        control: {"size": 2 * count, "sum": count} for control, count in report.pairs.items() if count
    }
    genome = Genome.open("genome.fa")
    held = split([genome], DataConfig(genomes=("genome.fa",), window_bp=64)).validation[0]
    at = table["pos"] - 1 + genome.offsets[[genome.index[name] for name in table["chrom"]]]
    assert all(((held[:, 0] <= p) & (p < held[:, 1])).any() for p in at)
    # the table is one of variants: scored as such, it gets the same scores
    score_vcf(model, tmp_path / "c.csv", tmp_path / "again.tsv", genome="genome.fa")
    again = pd.read_csv(tmp_path / "again.tsv", sep="\t")
    np.testing.assert_allclose(again["R2MAE_LLR"], table["llr"], rtol=1e-4, atol=1e-5)
    monkeypatch.chdir(tmp_path)  # where no genome has the name that the run knows
    moved = score_controls(
        model, simulated / "g.gff3", tmp_path / "d.csv", genome=simulated / "genome.fa", options=options
    )
    assert not moved.is_of_run
    assert (tmp_path / "d.csv").read_bytes() == (tmp_path / "c.csv").read_bytes()
    assert any("is no genome of the run" in line for line in moved.lines())


def test_scores_that_know_are_told_from_scores_that_do_not(model, simulated, tmp_path, monkeypatch):
    known = Proteins(Genome.open("genome.fa"), simulated / "g.gff3")

    def knowing(model, variants, genome, options):
        rows = variants.itertuples(index=False)
        return variants.assign(llr=[-float(known.gains_stop(Variant(r[0], r[1] - 1, r[2], (r[3],)))) for r in rows])

    monkeypatch.setattr(controls, "score_variants", knowing)
    report = score_controls(model, simulated / "g.gff3", tmp_path / "c.csv", genome="genome.fa", options=EVERYWHERE)
    assert report.auroc["stop_gained"]["model"].value == 1
    assert report.auroc["start_lost"]["model"].value == 0.5
    assert report.auroc["stop_gained"][TWO_SIDED].value == pytest.approx(0.5, abs=0.1)


def test_bad_input(model, simulated, tmp_path):
    def refused(match, kind, annotation=simulated / "g.gff3", out="c.csv", used=model, **settings):
        with pytest.raises(kind, match=match):
            score_controls(used, annotation, tmp_path / out, genome="genome.fa", options=ControlOptions(**settings))

    (tmp_path / "none.gff3").write_text("1\tx\tgene\t1\t900\t.\t+\t.\tID=g\n")
    rule = r"none.gff3: no pair of any control in all of the genome: 160,000 bp; annotated: .* 0 .*; introns: 0"
    refused(rule, SequenceError, tmp_path / "none.gff3", region="all")
    refused(r"in the held-out part \(--region all takes the whole genome\)", SequenceError, tmp_path / "none.gff3")
    refused("--out must be a file whose name ends in .csv, got .*c.tsv", ConfigError, out="c.tsv")
    refused("--pairs must be at least 1, got 0", ConfigError, pairs=0)
    refused("--seed must be at least 0, got -1", ConfigError, seed=-1)
    decoder = ModelConfig(width=16, depth=2, heads=2, mlp_width=16, objective="mae", decoder_width=16)
    mae = Model.from_pretrained(write_run(tmp_path / "mae", decoder), device="cpu")
    refused("scoring variants needs a model of --model.objective mlm, got mae", RunError, used=mae)


def test_command(model, simulated, tmp_path, capsys):
    argv = ["score-variants", str(tmp_path / "run"), "--genome", "genome.fa", "--out", str(tmp_path / "c.csv")]
    of_controls = [*argv, "--controls", "g.gff3"]
    assert main([*of_controls, "--pairs", "40"]) == 0
    said = capsys.readouterr().out
    assert "stop_gained         40  two-sided counts              0." in said
    assert "Fewer than 40 pairs in 15,999 bp held out: " in said
    assert f"Wrote {tmp_path / 'c.csv'}" in said
    for flags, rule in (
        (argv, "give one of --vcf (variants to score), --controls (an annotation to draw them from) and"),
        ([*of_controls, "--vcf", "x.vcf"], "give one of --vcf"),
        ([*of_controls, "--distance"], "--distance has no effect with --controls: leave it out"),
        ([*argv, "--vcf", "x.vcf", "--pairs", "3"], "--pairs has no effect with --vcf: leave it out"),
    ):
        assert main(flags) == 2
        assert rule in capsys.readouterr().err


def test_real_genes(data, tmp_path):
    folder = data / "genomes"
    genome = Genome.open(folder / "GCF_000005845.2_ASM584v2_genomic.fna.gz")
    annotation = read_annotation(folder / "GCF_000005845.2_ASM584v2_genomic.gff.gz", genome)
    bases = AnnotatedBases(genome, annotation.transcripts, np.array([[4_177_487, 4_641_652]]))
    # three programmed frameshifts, pseudogenes or selenoproteins
    assert (bases.num_coding, bases.num_unreadable) == (415, 3)
    counts = {control: len(draw_pairs(bases, control, 700, 0)) // 2 for control in AnnotatedBases.controls}
    assert counts["stop_gained"] == 700
    assert 380 <= counts["start_lost"] <= 415
    assert counts["splice_broken"] == 0
