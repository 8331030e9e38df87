import gzip
import re
import warnings
from io import StringIO

import numpy as np
import pytest
from Bio import SeqIO

from dnar2mae.errors import SequenceError
from dnar2mae.genome.annotation import read_annotation, read_lines
from dnar2mae.genome.store import Genome

from .helpers import random_bases, write_fasta

LENGTH = 1000


@pytest.fixture
def genome(tmp_path):
    rng = np.random.default_rng(0)
    letters = {name: random_bases(rng, LENGTH) for name in ("one", "two", "a,b")}
    return Genome.open(write_fasta(tmp_path / "genome.fa", letters))


def read(genome, text, name="a.gff3"):
    path = genome.path.with_name(name)
    path.write_text(text)
    return read_annotation(path, genome)


def gff(*rows, pragma="##gff-version 3\n", seqid="one", strand="+"):
    """Lines of (type, start, end, attributes)."""
    lines = (f"{seqid}\tx\t{kind}\t{start}\t{end}\t.\t{strand}\t.\t{text}\n" for kind, start, end, text in rows)
    return pragma + "".join(lines)


GFF3 = (("mRNA", 101, 400, "ID=t"), ("exon", 101, 200, "Parent=t"), ("exon", 301, 400, "Parent=t"))
GTF = tuple(("exon", *span, 'gene_id "g"; transcript_id "t";') for span in ((101, 200), (301, 400)))
BARE = tuple(("exon", *span, "gene_id g; transcript_id t") for span in ((101, 200), (301, 400)))
EXONS = ((100, 200), (300, 400))


class TestDialect:
    @pytest.mark.parametrize("pragma", ["##gff-version 3\n", "##gff-version   3.1.26\n", "# made by hand\n", ""])
    @pytest.mark.parametrize("note", ['note=a "big" one', 'note "big" one', 'a "quoted; phrase" b=c', "x y"])
    def test_a_quoted_phrase_leaves_a_line_gff3(self, genome, pragma, note):
        rows = [(kind, start, end, f"{text};{note}") for kind, start, end, text in GFF3]
        found = read(genome, gff(*GFF3[:1], *rows[1:], pragma=pragma))
        assert (found.format, [t.exons for t in found.transcripts]) == ("GFF3", [EXONS])

    @pytest.mark.parametrize("rows", [GTF, BARE])
    @pytest.mark.parametrize("name", ["a.gtf", "a.gff"])
    @pytest.mark.parametrize("pragma", ["", "##gff-version 2\n", "#gtf-version 2.2\n", "#!genome-build X\n"])
    def test_gtf_with_and_without_quotes(self, genome, rows, name, pragma):
        found = read(genome, gff(*rows, pragma=pragma), name)
        assert (found.format, [t.exons for t in found.transcripts]) == ("GTF", [EXONS])

    def test_one_line_of_the_other_dialect_does_not_change_the_rest(self, genome):
        rows = [*GTF, ("exon", 501, 600, 'ID=x;note="a=b"')]
        assert [t.exons for t in read(genome, gff(*rows, pragma="")).transcripts] == [EXONS]
        rows = [*GFF3, ("exon", 501, 600, 'gene_id "g"; transcript_id "t"')]
        assert [t.exons for t in read(genome, gff(*rows, pragma="")).transcripts] == [EXONS]

    def test_the_stated_version_decides_unless_no_line_is_written_so(self, genome):
        mixed = [("exon", 501, 600, "Parent=u"), *GTF]
        found = read(genome, gff(*mixed))
        assert (found.format, [t.exons for t in found.transcripts]) == ("GFF3", [((500, 600),)])
        assert read(genome, gff(*mixed, pragma="")).format == "GTF"
        assert read(genome, gff(*GTF)).format == "GTF"

    def test_without_attributes_the_name_decides(self, genome):
        text = "one\tx\tgene\t1\t90\t.\t+\t.\n"  # GFF2 may leave the last column out
        assert [read(genome, text, name).format for name in ("a.gtf", "a.gff")] == ["GTF", "GFF3"]

    def test_attributes_of_gtf(self, genome):
        attributes = 'note "a; b" ; gene_id "g" ;transcript_id  t2; tag basic; tag "CCDS"'
        found = read(genome, gff(*GTF, ("exon", 501, 600, attributes), ("CDS", 510, 600, attributes), pragma=""))
        assert [t.exons for t in found.transcripts] == [EXONS, ((500, 600),)]
        assert found.transcripts[1].coding == ((509, 600),)

    def test_columns_with_white_space_around_them(self, genome):
        text = 'one \tx \texon \t101 \t200 \t.\t+ \t. \ttranscript_id "t" \n'
        assert [(t.name, t.exons) for t in read(genome, text).transcripts] == [("one", ((100, 200),))]

    def test_exons_without_a_transcript_belong_to_their_gene(self, genome):
        rows = [
            ("exon", *span, f'gene_id "{gene}"; transcript_id "";') for gene, span in (("g", EXONS[0]), ("h", EXONS[1]))
        ]
        assert [t.exons for t in read(genome, gff(*rows, pragma="")).transcripts] == [((99, 200),), ((299, 400),)]


class TestIdentity:
    def test_escapes(self, genome):
        rows = [("mRNA", 1, 900, "ID=a%2Cb;Name=x%3By"), ("exon", 1, 90, "Parent=a%2Cb,t%09")]
        found = read(genome, gff(*rows, seqid="a%2Cb"))
        assert [(t.name, t.exons) for t in found.transcripts] == [("a,b", ((0, 90),))] * 2
        assert read_lines(genome.path.with_name("a.gff3"), genome).lines[0].label == "x;y"

    def test_an_exon_of_several_transcripts(self, genome):
        rows = [("exon", 1, 90, "Parent=t,u"), ("exon", 201, 290, "Parent=u"), ("exon", 401, 490, "Parent=t")]
        found = read(genome, gff(*rows)).transcripts
        assert [t.exons for t in found] == [((0, 90), (400, 490)), ((0, 90), (200, 290))]

    @pytest.mark.parametrize("attributes", ["ID=c", "ID=c;Parent=t", "ID=c;Parent=t;part=1/2"])
    def test_one_feature_of_several_lines(self, genome, attributes):
        (found,) = read(genome, gff(("CDS", 1, 90, attributes), ("CDS", 201, 290, attributes))).transcripts
        assert (found.coding, found.spans) == (((0, 90), (200, 290)), ((0, 290),))

    def test_an_id_that_comes_again_on_another_sequence_or_strand_is_another_feature(self, genome):
        rows = [("gene", 1, 300, "ID=g"), ("CDS", 1, 90, "ID=c;Parent=g")]
        text = (
            gff(*rows) + gff(*rows, pragma="", seqid="two") + gff(("CDS", 501, 590, "Parent=g"), pragma="", strand="-")
        )
        found = [(t.name, t.strand, t.spans, t.coding) for t in read(genome, text).transcripts]
        assert found == [
            ("one", "+", ((0, 300),), ((0, 90),)),
            ("two", "+", ((0, 300),), ((0, 90),)),
            ("one", "-", ((500, 590),), ((500, 590),)),
        ]

    def test_a_gene_in_parts_is_not_all_that_lies_between(self, genome):
        genes = [("gene", 1, 100, "ID=g;part=1"), ("gene", 801, 900, "ID=g;part=2")]
        (found,) = read(genome, gff(*genes, ("CDS", 820, 849, "ID=c;Parent=g"))).transcripts
        assert found.spans == ((800, 900),)

    def test_a_sequence_may_be_called_like_a_browser_line(self, tmp_path):
        genome = Genome.open(write_fasta(tmp_path / "g.fa", {"track7": "ACGT" * 10}))
        assert read(genome, gff(("gene", 1, 9, "ID=g"), seqid="track7")).genic == [("track7", 0, 9)]

    @pytest.mark.parametrize("start", ["²", "1_0", "-1", ".", "9" * 5000])
    def test_a_coordinate_has_decimal_digits_alone(self, genome, start):
        with pytest.raises(SequenceError, match="a.gff3:1: a line has 9 tab-separated columns with start and end"):
            read(genome, f"one\tx\tgene\t{start}\t90\t.\t+\t.\tID=g\n")


class TestSequencesInside:
    @pytest.mark.parametrize("pragma", ["##FASTA\n", ""])
    @pytest.mark.parametrize("compress", [False, True])
    def test_annotation_and_sequences_of_one_file(self, tmp_path, pragma, compress):
        letters = random_bases(np.random.default_rng(1), 300)
        text = (
            gff(*GFF3[:1], ("exon", 101, 200, "Parent=t"))
            + f"{pragma}>one some > text\n{letters[:99]}\n{letters[99:]}\n"
        )
        text = text.replace("400", "200")
        path = tmp_path / ("g.gff3.gz" if compress else "g.gff3")
        path.write_bytes(gzip.compress(text.encode()) if compress else text.encode())
        genome = Genome.open(path)
        assert (genome.names, genome.fetch("one", 0, 300)) == (("one",), letters)
        assert [t.exons for t in read_annotation(path, genome).transcripts] == [((100, 200),)]

    def test_without_sequences(self, tmp_path):
        (tmp_path / "g.gff3").write_text(gff(*GFF3))
        with pytest.raises(SequenceError, match="this GFF3 holds no sequence; give the FASTA file that it annotates"):
            Genome.open(tmp_path / "g.gff3")


def record(genome, *features, topology="circular", kind="genbank", name="one"):
    """A GenBank or EMBL file with features of (type, location) and more qualifiers."""
    letters = genome.fetch(name, 0, LENGTH).lower()
    text = f"LOCUS       {name:<16} {LENGTH:>11} bp    DNA     {topology:<8} BCT 01-JAN-2000\nACCESSION   {name}\n"
    text += f"VERSION     {name}\nFEATURES             Location/Qualifiers\n"
    for feature, location, *qualifiers in features:
        text += f"     {feature:<16}{location}\n" + "".join(f"                     /{q}\n" for q in qualifiers)
    text += "ORIGIN\n" + "".join(f"{i + 1:>9} {letters[i : i + 60]}\n" for i in range(0, LENGTH, 60)) + "//\n"
    if kind == "embl":
        parsed = SeqIO.read(StringIO(text), "genbank")
        text = parsed.format("embl")
    return text


def coding_letters(genome, transcript):
    """The coding sequence as read: its parts, in the order of reading."""
    parts = transcript.coding[:: 1 if transcript.strand == "+" else -1]
    return "".join(genome.fetch(transcript.name, *part, transcript.strand) for part in parts)


LOCATIONS = {
    "101..200": [(100, 200)],
    "<101..>200": [(100, 200)],
    "(99.101)..(200.203)": [(98, 203)],
    "complement(join(101..200,301..400))": [(100, 200), (300, 400)],
    "join(complement(301..400),complement(101..200))": [(100, 200), (300, 400)],
    "order(101..200,301..400)": [(100, 200), (300, 400)],
    "join(101..200,200..301)": [(100, 200), (199, 301)],
    "join(951..1000,1..40)": [(950, 1000), (0, 40)],
    "complement(join(951..1000,1..40))": [(950, 1000), (0, 40)],
    "join(complement(1..40),complement(951..1000))": [(950, 1000), (0, 40)],
    "join(801..850,951..1000,1..40,101..150)": [(800, 850), (950, 1000), (0, 40), (100, 150)],
    "join(901..950,31..60)": [(900, 950), (30, 60)],
    "join(101..200,300^301,301..400)": [(100, 200), (300, 400)],
}


class TestFeatureTables:
    @pytest.mark.parametrize("location", LOCATIONS)
    @pytest.mark.parametrize("kind", ["genbank", "embl"])
    def test_locations_are_biopythons(self, genome, location, kind):
        text = record(genome, ("CDS", location, "codon_start=2"), kind=kind)
        (found,) = read(genome, text, "a.gb").transcripts
        (feature,) = SeqIO.read(StringIO(text), kind).features
        assert list(found.coding) == LOCATIONS[location]
        assert found.strand == {1: "+", -1: "-"}[feature.location.strand]
        assert coding_letters(genome, found) == str(feature.extract(SeqIO.read(StringIO(text), kind).seq)).upper()
        in_order = found.phases[:: 1 if found.strand == "+" else -1]
        assert in_order == (1, *[None] * (len(found.coding) - 1))

    def test_a_gene_over_the_origin_covers_its_two_ends_alone(self, genome):
        features = [(kind, "join(951..1000,1..40)", 'locus_tag="g"') for kind in ("gene", "CDS")]
        found = read(genome, record(genome, *features), "a.gb")
        assert [t.spans for t in found.transcripts] == [((950, 1000), (0, 40))]
        assert set(found.genic) == {("one", 950, 1000), ("one", 0, 40)}

    def test_what_ends_and_goes_on_at_the_origin_is_around_it_in_a_linear_record(self, genome):
        text = record(genome, ("CDS", "join(951..1000,1..40)"), topology="linear")
        assert [t.spans for t in read(genome, text, "a.gb").transcripts] == [((950, 1000), (0, 40))]

    @pytest.mark.parametrize(
        ("location", "local"),
        [
            ("join(101..200,J00194.1:100..202)", [(100, 200)]),
            ("join(complement(701..720),101..120,201..220)", [(700, 720), (100, 120), (200, 220)]),
            ("join(701..720,101..120,401..420)", [(700, 720), (100, 120), (400, 420)]),
        ],
    )
    def test_parts_elsewhere_or_in_no_order_are_genic_and_no_transcript(self, genome, location, local):
        text = record(genome, ("CDS", location), ("CDS", "1..90"), topology="linear")
        found = read(genome, text, "a.gb")
        assert [t.coding for t in found.transcripts] == [((0, 90),)]
        assert set(found.genic) == {("one", *span) for span in (*local, (0, 90))}

    def test_trans_splicing(self, genome):
        text = record(genome, ("CDS", "join(701..720,101..120)", "trans_splicing"), ("CDS", "1..90"))
        assert [t.coding for t in read(genome, text, "a.gb").transcripts] == [((0, 90),)]

    def test_features_without_a_place_are_counted(self, genome):
        odd = ["1..x", "123^125", "123^124", "J00194.1:100..202", "unknown"]
        text = record(genome, *(("CDS", location) for location in odd), ("CDS", "1..90"), ("misc_feature", "2..x"))
        counted = "1 between two bases, 1 on another sequence, 3 with a location that cannot be read"
        with pytest.warns(UserWarning, match=rf"a.gb: features left out: {counted}$"):
            found = read(genome, text, "a.gb")
        assert [t.coding for t in found.transcripts] == [((0, 90),)]

    def test_a_gene_of_another_record_with_the_same_tag(self, genome):
        one = record(genome, ("gene", "1..900", 'locus_tag="g"'))
        two = record(genome, ("CDS", "101..190", 'locus_tag="g"'), name="two")
        assert [(t.name, t.spans) for t in read(genome, one + two, "a.gb").transcripts] == [("two", ((100, 190),))]

    def test_embl_is_genbank(self, genome):
        features = [("gene", "complement(join(951..1000,1..40))", 'locus_tag="g"'), ("tRNA", "101..190")]
        texts = {kind: record(genome, *features, kind=kind) for kind in ("genbank", "embl")}
        assert texts["embl"].startswith("ID   one;")
        found = {kind: read(genome, text, "a.embl") for kind, text in texts.items()}  # the first line decides
        assert (found["genbank"].format, found["embl"].format) == ("GenBank", "EMBL")
        assert found["genbank"].transcripts == found["embl"].transcripts
        assert found["genbank"].genic == found["embl"].genic

    def test_another_format_of_that_name(self, genome):
        with pytest.raises(SequenceError, match="GenBank starts with LOCUS and EMBL with ID, but this file is fasta"):
            read(genome, ">one\nACGT\n", "a.gb")


class TestCircularGff3:
    PARTS = ((1, 40), (951, 1000))
    ROWS = (("gene", 951, 1040, "ID=g"), ("CDS", 951, 1040, "ID=c;Parent=g"))

    @pytest.mark.parametrize("strand", "+-")
    def test_beyond_the_end_is_over_the_origin(self, genome, strand):
        region = gff(("region", 1, LENGTH, "ID=r;Is_circular=true"))
        text = gff(*self.ROWS, strand=strand).replace("\t.\tID=c", "\t1\tID=c")
        for whole in (region + text, text + region):
            found = read(genome, whole)
            (transcript,) = found.transcripts
            assert transcript.spans == transcript.coding == ((950, 1000), (0, 40))
            assert transcript.phases == ((1, None) if strand == "+" else (None, 1))
            assert set(found.genic) == {("one", 950, 1000), ("one", 0, 40)}
            assert not found.unplaced

    def test_lines_of_one_feature_go_on_beyond_the_origin(self, genome):
        region = ("region", 1, LENGTH, "ID=r;Is_circular=true")
        lines = [(kind, *span, of) for kind, of in (("gene", "ID=g"), ("CDS", "ID=c;Parent=g")) for span in self.PARTS]
        (transcript,) = read(genome, gff(region, *lines)).transcripts
        assert transcript.spans == transcript.coding == ((950, 1000), (0, 40))
        (linear,) = read(genome, gff(*lines)).transcripts
        assert linear.coding == ((0, 40), (950, 1000))

    def test_a_contig_may_be_called_track(self, genome):
        text = gff(("gene", 1, 90, "ID=g")) + gff(("gene", 1, 90, "ID=h")).replace("one\t", "track\t")
        assert read(genome, text).unplaced == {"track": 1}

    def test_it_is_left_out_where_nothing_says_that_the_sequence_is_circular(self, genome):
        found = read(genome, gff(*self.ROWS, ("gene", 1, 90, "ID=h")))
        assert found.unplaced == {"one, beyond its end": 2}
        assert found.genic == [("one", 0, 90)]

    def test_all_of_a_feature_beyond_the_end(self, genome):
        region, exon = ("region", 1, LENGTH, "Is_circular=true"), ("exon", 1011, 1040, "Parent=t")
        (found,) = read(genome, gff(region, ("exon", 951, 980, "Parent=t"), exon)).transcripts
        assert (found.exons, found.spans) == (((950, 980), (10, 40)), ((950, 1000), (0, 40)))
        assert found.introns() == []
        with pytest.raises(SequenceError, match="outside sequence one: 1010-1040"):
            read(genome, gff(exon))


def test_a_byte_order_mark_is_no_part_of_a_file(genome):
    for name, text in (
        ("a.gff3", gff(*GFF3)),
        ("a.bed", "one\t0\t9\tn\t0\t+\n"),
        ("a.gb", record(genome, ("CDS", "1..9"))),
    ):
        plain = read(genome, text, name)
        path = genome.path.with_name(name)
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert read_annotation(path, genome) == plain


def test_the_worm_and_the_bacterium_are_read_as_before(data):
    """Counted by a reading of their lines that knows nothing of transcripts."""
    genome = Genome.open(data / "genomes" / "GCF_000005845.2_ASM584v2_genomic.fna.gz", progress=False)
    path = data / "genomes" / "GCF_000005845.2_ASM584v2_genomic.gff.gz"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_annotation(path, genome)
    with gzip.open(path, "rt") as file:
        owners = {m[1] for line in file if "\tCDS\t" in line for m in [re.search(r"Parent=([^;]+)", line)] if m}
    assert sum(bool(t.coding) for t in found.transcripts) == len(owners)
