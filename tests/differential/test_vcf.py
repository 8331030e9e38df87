"""VCF files as other tools write them: read as pysam and cyvcf2 read them, aligned as bcftools does, written back."""

import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnar2mae.genome.store import Genome
from dnar2mae.variants.alleles import Variant, judge
from dnar2mae.variants.files import VcfFile, field_names
from dnar2mae.variants.options import ScoreOptions
from dnar2mae.variants.scores import Scores

from .vcf_files import SEQUENCES, plain_site, vcf_files

pysam = pytest.importorskip("pysam")
bcftools = pytest.importorskip("pysam.bcftools")  # the program itself, as a library
LONGEST_BP = 8
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
SHARE = {"few": max(settings.default.max_examples * 3 // 10, 1), "all": settings.default.max_examples}


@pytest.fixture
def genome(tmp_path):
    (tmp_path / "g.fa").write_text("".join(f">{name}\n{bases}\n" for name, bases in SEQUENCES.items()))
    return Genome.open(tmp_path / "g.fa")


def stored(written, folder):
    path = folder / f"in{written.suffix}"
    path.write_bytes(written.stored)
    return path


def fields(line):
    """Contig, position, ID, REF and ALT of a line, as tools report them."""
    contig, position, name, ref, alt = line.split("\t")[:5]
    return contig, int(position), name, ref, () if alt == "." else tuple(alt.split(","))


@settings(SHARED_FOLDER, max_examples=SHARE["all"])
@given(written=vcf_files())
def test_records_and_their_alleles(genome, tmp_path, written):
    found = list(VcfFile(stored(written, tmp_path)).records())
    lines = written.lines[written.num_header :]
    assert [tuple(record[:5]) for record in found] == [fields(line) for line in lines]
    for record, line in zip(found, lines, strict=True):
        assert "\t".join(record.columns) == line
        site = judge(genome, Variant(record.chrom, record.pos - 1, record.ref, record.alts), LONGEST_BP)
        assert tuple(site) == plain_site(line.split("\t"), LONGEST_BP)


@settings(SHARED_FOLDER, max_examples=SHARE["few"])
@given(written=vcf_files(compressed=("", "bgzip")))
def test_pysam_and_cyvcf2_read_the_same(tmp_path, written):
    path = stored(written, tmp_path)
    ours = VcfFile(path)
    records = list(ours.records())
    before = pysam.set_verbosity(0)
    try:
        with pysam.VariantFile(str(path)) as file:
            declared = set(file.header.info)
            theirs = [
                (r.chrom, r.pos, r.id or ".", r.ref, r.alts or (), *map(r.info.__contains__, ["DB"])) for r in file
            ]
    finally:
        pysam.set_verbosity(before)
    assert theirs == [(*record[:5], ours.label(record, "DB", 0) == "1") for record in records]
    assert all(ours.has_field(name) for name in declared)
    cyvcf2 = pytest.importorskip("cyvcf2")
    file = cyvcf2.VCF(str(path))
    found = [(v.CHROM, v.POS, v.ID or ".", v.REF, tuple(v.ALT)) for v in file]
    file.close()
    assert found == [tuple(record[:5]) for record in records]


@settings(SHARED_FOLDER, max_examples=SHARE["few"])
@given(written=vcf_files(), suffix=st.sampled_from([".vcf", ".vcf.gz"]), distance=st.booleans())
def test_what_is_written_is_the_input_and_the_scores(tmp_path, written, suffix, distance):
    out = tmp_path / f"out{suffix}"
    file = VcfFile(stored(written, tmp_path))
    expected = []
    with file.writer(out, field_names(ScoreOptions(distance=distance)), "a model") as writer:
        for number, record in enumerate(file.records()):
            ratio = np.array([number + i if i % 2 else np.nan for i in range(len(record.alts))], float)
            statuses = ["scored" if i % 2 else "alt_unknown" for i in range(len(record.alts))]
            writer.write(record, Scores(ratio, -ratio, ratio), statuses)
            expected.append((ratio, statuses))
    content = gzip.decompress(out.read_bytes()) if suffix == ".vcf.gz" else out.read_bytes()
    end = "\r\n" if b"\r\n" in written.content else "\n"
    *found, last = content.decode().split(end)
    assert last == ""
    ours = ("##INFO=<ID=R2MAE_", "##dnar2mae_model=")
    header, lines = written.lines[: written.num_header], written.lines[written.num_header :]
    assert [line for line in found[: -len(lines)] if not line.startswith(ours)] == [
        line for line in header if not line.startswith(ours)
    ]
    for line, scored, (_, statuses) in zip(lines, found[-len(lines) :], expected, strict=True):
        columns, changed = line.split("\t"), scored.split("\t")
        kept = [item for item in columns[7].split(";") if not item.startswith("R2MAE_") and item != "."]
        added = changed[7].split(";")[len(kept) :] if statuses else []
        assert [item.partition("=")[0] for item in added] == ["R2MAE_LLR", *["R2MAE_DIST"] * distance, "R2MAE_STATUS"][
            : len(added)
        ]
        columns[7] = ";".join(kept + added) or "."
        assert changed == columns
    before = pysam.set_verbosity(0)
    try:
        with pysam.VariantFile(str(out)) as scored:
            for record, (ratio, statuses) in zip(scored, expected, strict=True):
                if not statuses:
                    assert "R2MAE_STATUS" not in record.info
                    continue
                assert list(record.info["R2MAE_STATUS"]) == statuses
                names = ["R2MAE_LLR", *(["R2MAE_DIST"] if distance else [])]
                for name, values in zip(names, (ratio, -ratio), strict=False):
                    found = np.array(record.info[name], float)
                    np.testing.assert_array_equal(found, values)
    finally:
        pysam.set_verbosity(before)


@settings(SHARED_FOLDER, max_examples=SHARE["few"])
@given(written=vcf_files(compressed=("",)))
def test_indels_are_aligned_as_bcftools_norm_does(genome, tmp_path, written):
    kept = []
    for line in written.lines[written.num_header :]:
        columns = line.split("\t")
        if plain_site(columns, 10**6)[0] and set(columns[3].upper()) and columns[0] in SEQUENCES:
            alts = [
                a for a in columns[4].split(",") if not {*a.upper()} - {*"ACGT"} and a.upper() != columns[3].upper()
            ]
            kept += [[*columns[:2], ".", columns[3].upper(), alt.upper(), ".", ".", "."] for alt in alts]
    header = ["##fileformat=VCFv4.2", *(f"##contig=<ID={name}>" for name in SEQUENCES)]
    header.append("\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"]))
    path = tmp_path / "norm.vcf"
    path.write_text("\n".join([*header, *("\t".join(columns) for columns in kept)]) + "\n")
    lines = bcftools.norm("--no-version", "-f", str(genome.path), str(path)).splitlines()
    theirs = [
        tuple(line.split("\t")[i].upper() if i > 1 else line.split("\t")[i] for i in (0, 1, 3, 4))
        for line in lines
        if not line.startswith("#")
    ]
    ours = []
    for contig, position, _, ref, alt, *_ in kept:
        (found,) = judge(genome, Variant(contig, int(position) - 1, ref, (alt,)), 10**6).alleles
        ours.append(_anchored(genome, found))
    assert sorted(theirs) == sorted(ours)


def _anchored(genome, allele):
    """The shortest allele as VCF writes it: an indel with the base before it, at the start of a sequence after it."""
    name, start, ref, alt = allele
    if not (ref and alt):
        place = start - 1 if start else len(ref)
        base = genome.fetch(name, place, place + 1).upper()
        ref, alt, start = (base + ref, base + alt, start - 1) if start else (ref + base, alt + base, 0)
    return name, str(start + 1), ref, alt
