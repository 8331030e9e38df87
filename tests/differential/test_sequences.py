"""FASTA, GenBank and EMBL files as Biopython and pyfaidx read them."""

from io import StringIO

import pytest
from Bio import SeqIO
from Bio.SeqIO.FastaIO import SimpleFastaParser
from hypothesis import given
from hypothesis import strategies as st
from pyfaidx import Fasta as Pyfaidx

from dnar2mae.genome.annotation import read_annotation
from dnar2mae.genome.store import Genome

from ..fuzz.common import TO_STORE
from .strategies import Fasta, Record, dressings, fastas, records


def opened(path, folder):
    return Genome.open(path, cache_dir=folder / "cache", progress=False)


def contents(genome):
    return {name: genome.fetch(name, 0, int(genome.lengths[i])) for i, name in enumerate(genome.names)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("differential")


@given(fasta=fastas(), dressing=dressings, data=st.data())
def test_fasta(folder, fasta: Fasta, dressing, data):
    genome = opened(dressing.write(fasta.text, folder / "a.fa"), folder)
    found = contents(genome)
    parsed = SimpleFastaParser(StringIO(fasta.text.lstrip()))
    expected = {title.split(maxsplit=1)[0]: text.translate(TO_STORE) for title, text in parsed}
    assert list(found.items()) == list(expected.items())
    if fasta.is_even:
        (folder / "oracle.fa").write_text(fasta.text)
        (folder / "oracle.fa.fai").unlink(missing_ok=True)
        with Pyfaidx(str(folder / "oracle.fa")) as oracle:
            assert list(oracle.keys()) == list(genome.names)
            name = data.draw(st.sampled_from(genome.names))
            start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(found[name]))] * 2)))
            assert genome.fetch(name, start, end) == oracle[name][start:end].seq.translate(TO_STORE)
            if start < end and not set("UuXx") & set(oracle[name][start:end].seq):  # which pyfaidx does not complement
                other = oracle[name][start:end].reverse.complement.seq.translate(TO_STORE)
                assert genome.fetch(name, start, end, "-") == other


@given(record=records(), dressing=dressings)
def test_feature_tables(folder, record: Record, dressing):
    path = dressing.write(record.text, folder / "a.gb")
    genome = opened(path, folder)
    parsed = list(SeqIO.parse(StringIO(record.text), record.kind))
    assert contents(genome) == {r.id: str(r.seq).upper().translate(TO_STORE) for r in parsed}
    features = [(r, f) for r in parsed for f in r.features if f.type == "CDS"]
    assert len(features) == len(record.whole)
    if not any(record.whole):
        return
    found = read_annotation(path, genome).transcripts
    whole = [pair for pair, is_whole in zip(features, record.whole, strict=True) if is_whole]
    assert len(found) == len(whole)
    for transcript, (parsed_record, feature) in zip(found, whole, strict=True):
        assert transcript.name == parsed_record.id
        assert transcript.strand == {1: "+", -1: "-"}[feature.location.strand]
        assert len(transcript.coding) == len(feature.location.parts)
        in_order = transcript.coding[:: 1 if transcript.strand == "+" else -1]
        read = "".join(genome.fetch(transcript.name, *part, transcript.strand) for part in in_order)
        assert read == str(feature.extract(parsed_record.seq)).upper().translate(TO_STORE)
        phases = transcript.phases[:: 1 if transcript.strand == "+" else -1]
        assert phases[0] == int(feature.qualifiers.get("codon_start", ["1"])[0]) - 1
        table = feature.qualifiers.get("transl_table")
        assert transcript.genetic_code == (int(table[0]) if table else None)
