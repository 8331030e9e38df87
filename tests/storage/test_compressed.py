import gzip

import pytest

from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip, open_maybe_gzip_text


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
