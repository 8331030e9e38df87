import gzip

import pytest

from dnar2mae.config import DataConfig
from dnar2mae.errors import SequenceError
from dnar2mae.genome.bed import read_bed
from dnar2mae.genome.eligible import eligible_starts
from dnar2mae.genome.names import AssemblyReport, aliases
from dnar2mae.genome.split import split
from dnar2mae.genome.store import open_genomes

from .helpers import write_fasta

HEADER = (
    "# Sequence-Name\tSequence-Role\tAssigned-Molecule\tAssigned-Molecule-Location/Type\tGenBank-Accn\tRelationship\t"
    "RefSeq-Accn\tAssembly-Unit\tSequence-Length\tUCSC-style-name"
)
ROWS = (
    "1\tassembled-molecule\t1\tChromosome\tCM000663.2\t=\tNC_000001.11\tPrimary Assembly\t400\tchr1",
    "HSCHR1_CTG1\tunlocalized-scaffold\t1\tChromosome\tKI270706.1\t=\tNT_187361.1\tPrimary Assembly\t30\tna",
    "MT\tassembled-molecule\tMT\tMitochondrion\tJ01415.2\t=\tNC_012920.1\tnon-nuclear\t60\tchrM",
)


def report_in(tmp_path, *rows, newline="\r\n"):
    path = tmp_path / "GCF_1_assembly_report.txt"
    lines = ["# Assembly name:  GRCh38.p14", "#", HEADER, *(rows or ROWS)]
    path.write_text(newline.join(lines) + newline, newline="")
    return path


def refseq(tmp_path):
    named = {"NC_000001.11": "ACGT" * 100, "NT_187361.1": "ACGTACGTAC" * 3, "NC_012920.1": "ACGTAC" * 10}
    return write_fasta(tmp_path / "genomic.fna", named)


@pytest.mark.parametrize(("name", "others"), [("1", {"chr1"}), ("chr1", {"1"}), ("chrX", {"X"})])
def test_with_and_without_chr(name, others):
    assert aliases(name)[0] == name
    assert set(aliases(name)[1:]) == others


def test_a_mitochondrion_has_more_names():
    assert {"MT", "chrM", "Mito"} <= set(aliases("M"))
    assert {"MT", "M"} <= set(aliases("chrM"))
    assert len(set(aliases("MT"))) == len(aliases("MT"))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_report_tells_the_accession_of_every_name(tmp_path, newline):
    (genome,) = open_genomes([refseq(tmp_path)], report_in(tmp_path, newline=newline))
    for name in ("1", "chr1", "CM000663.2", "CM000663", "NC_000001", "NC_000001.11"):
        assert genome.find(name) == "NC_000001.11"
    for name in ("MT", "chrM", "M", "J01415.2", "chrMT"):
        assert genome.find(name) == "NC_012920.1"
    # parts of chromosome 1 that have no place on it are not chromosome 1
    assert genome.find("HSCHR1_CTG1") == "NT_187361.1"
    assert genome.find("NC_000001.10") is None
    assert genome.find("2") is None


def test_without_a_report_accessions_are_names_like_any_other(tmp_path):
    (genome,) = open_genomes([refseq(tmp_path)])
    assert genome.find("chr1") is None


def test_all_that_names_a_sequence_takes_its_other_names(tmp_path):
    genomes = open_genomes([refseq(tmp_path)], report_in(tmp_path))
    bed = tmp_path / "blacklist.bed"
    bed.write_text("chr1\t0\t300\nMT\t0\t10\n")
    assert read_bed(bed, genomes)[0].tolist() == [[0, 300], [430, 440]]
    settings = {"window_bp": 8, "validation": ("M",), "exclude": str(bed)}
    parts = split(genomes, DataConfig(genomes=("genomic.fna",), **settings))
    assert parts.validation[0].tolist() == [[430, 490]]
    (eligible,) = eligible_starts(genomes, parts.training, DataConfig(genomes=("genomic.fna",), **settings))
    assert eligible.starts[0].tolist() == [300, 393]


def test_a_report_may_be_compressed_and_of_one_of_several_genomes(tmp_path):
    path = report_in(tmp_path)
    (tmp_path / "report.txt.gz").write_bytes(gzip.compress(path.read_bytes()))
    other = write_fasta(tmp_path / "yeast.fa", {"chrI": "ACGT" * 20})
    human, yeast = open_genomes([refseq(tmp_path), other], tmp_path / "report.txt.gz")
    assert (human.find("1"), yeast.find("1"), yeast.find("I")) == ("NC_000001.11", None, "chrI")


def test_a_report_of_another_assembly_is_refused(tmp_path):
    genome = refseq(tmp_path)
    with pytest.raises(SequenceError, match=r"NC_000001.11 has 401 bp, in the genome 400: the report of another"):
        open_genomes([genome], report_in(tmp_path, ROWS[0].replace("\t400\t", "\t401\t")))
    with pytest.raises(SequenceError, match=r"assembly_report.txt: names no sequence of .*genomic.fna"):
        open_genomes([genome], report_in(tmp_path, ROWS[0].replace("NC_000001.11", "NC_000001.10")))


@pytest.mark.parametrize("text", ["", "chr1\t5\n", HEADER + "\n", "# Sequence-Name\n"])
def test_another_file_is_no_report(tmp_path, text):
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(SequenceError, match=r"x.txt: not NCBI's \*_assembly_report.txt"):
        AssemblyReport(tmp_path / "x.txt")


def test_a_missing_report_is_one_line(tmp_path):
    with pytest.raises(SequenceError, match="none.txt: cannot be read as an assembly report: No such file"):
        AssemblyReport(tmp_path / "none.txt")
