import shutil
from dataclasses import replace

import pytest

from dnar2mae.modalities.registry import build_modality
from dnar2mae.storage import fingerprint
from tests.modalities.kinds import dna


@pytest.mark.parametrize("change", ["name", "size", "beginning", "number"])
def test_a_folder_is_known_by_names_sizes_and_beginnings(tmp_path, change):
    def found(folder):
        return fingerprint.of_many(folder, sorted(folder.rglob("*.png")), head_bytes=4)

    here, there = tmp_path / "here", tmp_path / "there"
    (here / "cats").mkdir(parents=True)
    (here / "cats" / "a.png").write_bytes(b"12345678")
    (here / "b.png").write_bytes(b"12345678")
    shutil.copytree(here, there)
    assert found(here) == found(there)
    (there / "b.png").write_bytes(b"1234567x")  # past what is read
    assert found(here) == found(there)
    match change:
        case "name":
            (there / "b.png").rename(there / "c.png")
        case "size":
            (there / "b.png").write_bytes(b"123456789")
        case "beginning":
            (there / "b.png").write_bytes(b"x2345678")
        case _:
            (there / "cats" / "a.png").unlink()
    assert found(here) != found(there)


def test_regions_count_among_the_data(tmp_path):
    config = dna(tmp_path)
    bed = tmp_path / "r.bed"
    found = set()
    for end in (3000, 4000):
        bed.write_text(f"one\t0\t{end}\n")
        for name in ("include", "exclude"):
            found.add(build_modality(replace(config, data=replace(config.data, **{name: str(bed)}))).fingerprint())
    assert len(found) == 4


def test_a_plain_and_a_compressed_genome_are_the_same_data(tmp_path):
    import gzip

    config = dna(tmp_path)
    packed = tmp_path / "other.fa.gz"
    packed.write_bytes(gzip.compress((tmp_path / "genome.fa").read_bytes()))
    other = replace(config, data=replace(config.data, genomes=(str(packed),)))
    assert build_modality(config).fingerprint() == build_modality(other).fingerprint()
