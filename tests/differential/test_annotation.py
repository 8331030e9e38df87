"""GFF3, GTF and BED files as gffutils, bioframe and Biopython read them."""

import warnings
from urllib.parse import unquote

import bioframe
import gffutils
import pytest
from Bio import Align
from hypothesis import given

from dnar2mae.genome.annotation import read_annotation, read_lines
from dnar2mae.genome.bed import bed_lines, read_bed
from dnar2mae.genome.gff import gff_lines, read_dialect
from dnar2mae.genome.store import Genome

from .strategies import LENGTHS, Bed, Gff, beds, dressings, gff3s, gtfs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("differential")


@pytest.fixture(scope="module")
def genome(folder):
    path = folder / "genome.fa"
    path.write_text("".join(f">{name}\n{'ACGT' * (length // 4)}\n" for name, length in LENGTHS.items()))
    return Genome.open(path, cache_dir=folder / "cache", progress=False)


def parts_of(features, parent):
    """Return the exons and coding parts of each parent, by sequence, strand and parent, in the order of the file."""
    parts = {}
    for feature in features:
        if feature.featuretype in ("exon", "CDS"):
            for own in feature.attributes[parent]:
                key = unquote(feature.seqid), feature.strand, own
                kinds = parts.setdefault(key, {"exon": set(), "CDS": set()})
                kinds[feature.featuretype].add((feature.start - 1, feature.end))
    return [(*key, tuple(sorted(kinds["exon"])), tuple(sorted(kinds["CDS"]))) for key, kinds in parts.items()]


@given(gff=gff3s(), dressing=dressings)
def test_gff3(folder, genome, gff: Gff, dressing):
    compare_with_gffutils(folder, genome, gff, dressing)


@given(gff=gtfs(), dressing=dressings)
def test_gtf(folder, genome, gff: Gff, dressing):
    compare_with_gffutils(folder, genome, gff, dressing)


def compare_with_gffutils(folder, genome, gff, dressing):
    path = dressing.write(gff.text, folder / "a.gff")
    dialect = read_dialect(path)
    assert dialect == gff.dialect
    (folder / "oracle.gff").write_text(gff.text)
    found = list(gff_lines(path, dialect))
    expected = list(gffutils.DataIterator(str(folder / "oracle.gff")))
    # gffutils leaves the escapes of the first column
    rows = [(unquote(f.seqid), f.start - 1, f.end, f.strand, f.featuretype) for f in expected]
    assert [line[1:6] for line in found] == rows
    assert [line.phase for line in found] == [None if f.frame == "." else int(f.frame) for f in expected]
    if dialect == "GFF3":
        assert [line.id for line in found] == ["".join(f.attributes.get("ID", "")) for f in expected]
        assert [list(line.parents) for line in found] == [f.attributes.get("Parent", []) for f in expected]
    transcripts = read_annotation(path, genome).transcripts
    wanted = parts_of(expected, "Parent" if dialect == "GFF3" else "transcript_id")
    assert [(t.name, t.strand, t.exons, t.coding) for t in transcripts] == [
        (n, s, *parts) for n, s, _, *parts in wanted
    ]


@given(bed=beds(), dressing=dressings)
def test_bed(folder, genome, bed: Bed, dressing):
    path, plain = dressing.write(bed.text, folder / "a.bed"), folder / "oracle.bed"
    plain.write_text(bed.text)
    if not set(range(bed.text.count("\n"))) - set(bed.others):
        return
    table = bioframe.read_table(
        str(plain), schema=f"bed{bed.columns}", sep=r"\s+", skiprows=bed.others, dtype={"chrom": str}, engine="python"
    )
    table = table[table["start"] < table["end"]]  # insertion points hold no base
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* hold no base")
        rows = [(line.name, line.start, line.end) for line in bed_lines(path)]
        assert rows == list(table[["chrom", "start", "end"]].itertuples(index=False, name=None))
        if not rows:
            return
        (regions,) = read_bed(path, [genome])
        placed = read_lines(path, genome).lines
    sequence = genome.sequence_of(regions[:, 0])
    merged = [
        (genome.names[i], *(pair - genome.offsets[i]).tolist()) for i, pair in zip(sequence, regions, strict=True)
    ]
    expected = bioframe.merge(table, min_dist=0)[["chrom", "start", "end"]].itertuples(index=False, name=None)
    assert sorted(merged) == sorted(expected)
    if bed.columns == 12:
        exons = [(line.name, line.start, line.end) for line in placed if line.type == "exon"]
        assert exons == blocks(bed, folder / "oracle.tsv")


def blocks(bed, path):
    """Return the blocks of all lines, as Biopython reads them."""
    lines = [line.split() for i, line in enumerate(bed.text.splitlines()) if i not in bed.others]
    path.write_text("".join("\t".join(fields) + "\n" for fields in lines if fields[1] != fields[2]))
    with path.open() as file:
        return [
            (alignment.target.id, int(start), int(end))
            for alignment in Align.parse(file, "bed")
            for start, end in (sorted(block) for block in alignment.aligned[0])
        ]
