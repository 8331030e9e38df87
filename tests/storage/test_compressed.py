import gzip

import pytest

from dnar2mae.errors import ConfigError
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip, open_maybe_gzip_text, without_compression


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
@pytest.mark.parametrize("zipped", [True, False])
def test_gzip_is_told_by_content(tmp_path, name, zipped):
    content = "é\r\nb\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(content[:2]) + gzip.compress(content[2:]) if zipped else content)
    with open_maybe_gzip(tmp_path / name) as file:
        assert file.read() == content
    with open_maybe_gzip_text(tmp_path / name) as text:
        assert list(text) == ["é\n", "b\n"]
    with open_maybe_gzip_text(tmp_path / name, newline="") as text:
        assert list(text) == ["é\r\n", "b\n"]


@pytest.mark.parametrize("content", [b"", b"\x1f"])
def test_short_files_are_plain(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with open_maybe_gzip(tmp_path / "a") as file:
        assert file.read() == content


def test_errors_are_those_that_are_listed(tmp_path):
    whole = gzip.compress(b"abc" * 1000)
    bad = {"cut": whole[:-9], "flipped": whole[:12] + bytes(len(whole) - 12), "magic": whole[:2]}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    for name in (*bad, "missing"):
        with pytest.raises(READ_ERRORS), open_maybe_gzip(tmp_path / name) as file:
            file.read()


SKIPPED = b"\x5a\x2a\x4d\x18\x03\x00\x00\x00abc"  # a frame that readers skip, as pzstd and the seekable format have


def zstd(content):
    zstandard = pytest.importorskip("zstandard")
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.zst", "a.txt.gz"])
def test_zstd_is_told_by_content_whatever_its_frames(tmp_path, name):
    lines = [f"line {i}\n" for i in range(20_000)]
    content = "".join(lines).encode()
    cuts = [0, 7, 70_000, 70_001, len(content)]
    frames = [zstd(content[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]
    (tmp_path / name).write_bytes(SKIPPED + frames[0] + zstd(b"") + SKIPPED + b"".join(frames[1:]))
    with open_maybe_gzip(tmp_path / name) as file:
        assert file.read() == content
    with open_maybe_gzip_text(tmp_path / name) as text:
        assert list(text) == lines


def test_a_stream_of_unknown_size_is_read(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    with (tmp_path / "a.zst").open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as file:
        file.write(b"A" * 10_000_000)  # packs more in a byte than gzip can
    with open_maybe_gzip(tmp_path / "a.zst") as file:
        parts = list(iter(lambda: file.read(1 << 20), b""))
    assert sum(map(len, parts)) == 10_000_000


def test_damaged_zstd_is_an_error(tmp_path):
    whole = zstd(bytes(range(256)) * 100)
    bad = {"cut": whole[:-3], "cut early": whole[:5], "flipped": whole[:-1] + bytes([whole[-1] ^ 1])}
    bad |= {"second cut": whole + whole[:-3], "rest": whole + b"xyz", "skipped only": SKIPPED[:6]}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises((OSError, EOFError)), open_maybe_gzip(tmp_path / name) as file:
            file.read()


def test_without_zstandard_the_error_names_it(tmp_path, monkeypatch):
    (tmp_path / "a.zst").write_bytes(zstd(b"x"))
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    rule = r"a.zst: a zstd file needs the package zstandard: pip install 'dnar2mae\[zstd\]'"
    with pytest.raises(ConfigError, match=rule), open_maybe_gzip(tmp_path / "a.zst"):
        pass


def test_names_without_the_suffix_of_compression():
    names = ["a.bed", "a.bed.gz", "a.bed.GZ", "a.fa.bgz", "a.gff3.zst", "gz"]
    assert [without_compression(name) for name in names] == ["a.bed", "a.bed", "a.bed", "a.fa", "a.gff3", "gz"]
