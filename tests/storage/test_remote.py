import hashlib
import json
import os
from pathlib import Path

import pytest

from dnar2mae.errors import DataError
from dnar2mae.storage import remote
from dnar2mae.storage.cache import default_cache
from dnar2mae.storage.remote import is_remote, local_path
from tests.storage.server import serving

pytest.importorskip("fsspec")
CONTENT = bytes(range(256)) * 4096  # a megabyte
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(remote, "_PIECE_BYTES", 300_000)
    monkeypatch.setattr(remote, "_WAIT_S", 0.0)
    with serving() as state:
        state.files["/data/genome.fa"] = CONTENT
        yield state


def address(server):
    return f"{server.url}/data/genome.fa"


def test_paths_of_this_machine_stay_as_they_are():
    for path in ("genome.fa", "/a/b.fa", "C:/b.fa", "genome.fa:chr1:1-20", "a//b"):
        assert local_path(path) == Path(path)
        assert not is_remote(path)


def test_a_file_is_downloaded_once_by_pieces(server, capsys):
    path = local_path(address(server))
    assert path.read_bytes() == CONTENT
    assert path.name == "genome.fa"
    assert path.is_relative_to(default_cache() / "downloads")
    assert len(server.gets) == 4
    assert f"downloaded {address(server)}: 1,048,576 bytes, sha256 {SHA256}" in capsys.readouterr().err
    index = json.loads((path.parent / "index.json").read_text())
    assert (index["url"], index["sha256"]) == (address(server), SHA256)
    assert index["state"] == {"size": "1048576", "etag": '"1"'}
    server.requests.clear()
    assert local_path(Path(address(server))) == path  # pathlib drops one of the two slashes
    assert server.requests == ["HEAD /data/genome.fa"]


def test_cut_connections_lose_nothing(server):
    server.cuts = [300_000, 100_000, 50_000, 0]
    assert local_path(address(server)).read_bytes() == CONTENT
    starts = [int(request.split("bytes=")[1].split("-")[0]) for request in server.gets]
    assert starts[:4] == [0, 300_000, 300_000, 300_000]
    assert starts == sorted(starts)


def test_a_download_that_was_given_up_goes_on(server):
    server.cuts = [300_000] + [1000] * 5
    with pytest.raises(DataError, match="genome.fa: cut off after 300,000 of 1,048,576 bytes .*; the same command"):
        local_path(address(server))
    server.requests.clear()
    assert local_path(address(server)).read_bytes() == CONTENT
    assert server.gets[0] == "GET /data/genome.fa bytes=300000-599999"


@pytest.mark.parametrize("etag", ['"2"', None])
def test_a_part_of_another_version_is_thrown_away(server, etag):
    server.etag = etag and '"1"'
    server.cuts = [300_000] + [1000] * 5
    with pytest.raises(DataError, match="cut off"):
        local_path(address(server))
    server.etag, server.files["/data/genome.fa"] = etag, CONTENT[::-1]
    assert local_path(address(server)).read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_is_read_in_one_go(server):
    server.knows_ranges = False
    server.cuts = [len(CONTENT), 500_000]
    assert local_path(address(server)).read_bytes() == CONTENT
    server.etag = '"2"'
    server.cuts = [len(CONTENT)] + [1000] * 9
    with pytest.raises(DataError, match="cut off after [01],?0* of 1,048,576 bytes"):
        local_path(address(server))


def test_a_server_that_names_no_size(server):
    server.sends_size = False
    assert local_path(address(server)).read_bytes() == CONTENT
    server.files["/data/genome.fa"], server.etag = b"short", '"2"'
    assert local_path(address(server)).read_bytes() == b"short"


def test_an_empty_file_is_one(server):
    server.files["/data/genome.fa"] = b""
    assert local_path(address(server)).read_bytes() == b""


def test_another_version_on_the_server_is_downloaded(server):
    path = local_path(address(server))
    server.files["/data/genome.fa"] = CONTENT[::-1]
    assert local_path(address(server)).read_bytes() == CONTENT  # the server says that it is the same
    server.etag = '"2"'
    assert local_path(address(server)) == path
    assert path.read_bytes() == CONTENT[::-1]


def test_a_server_without_versions_is_named(server):
    server.etag = None
    local_path(address(server))
    with pytest.warns(UserWarning, match=f"names no version; using the copy of .*#sha256={SHA256} behind"):
        local_path(address(server))


def test_one_that_changes_meanwhile_is_refused(server, monkeypatch):
    run = remote._Transfer.run

    def change(self, bar):
        run(self, bar)
        server.etag = '"2"'

    monkeypatch.setattr(remote._Transfer, "run", change)
    with pytest.raises(DataError, match="genome.fa: it changed meanwhile; start again"):
        local_path(address(server))


def test_a_copy_is_used_when_the_server_is_gone(server):
    path = local_path(address(server))
    server.status = 503
    with pytest.warns(UserWarning, match=r"genome.fa: cannot be reached \(503\); using the copy of \d{4}-"):
        assert local_path(address(server)) == path
    with pytest.raises(DataError, match="other.fa: no such file"):
        local_path(f"{server.url}/data/other.fa")


@pytest.mark.parametrize(
    ("status", "said"), [(403, r"access is not allowed \(403\)"), (500, r"cannot be reached \(500\)")]
)
def test_refusals_are_named(server, status, said):
    server.status = status
    with pytest.raises(DataError, match=f"genome.fa: {said}"):
        local_path(address(server))


def test_a_missing_file_and_a_missing_server(server):
    with pytest.raises(DataError, match=r"none.fa: no such file \(404\)"):
        local_path(f"{server.url}/none.fa")
    with pytest.raises(DataError, match="none.fa: cannot be reached"):
        local_path("http://127.0.0.1:9/none.fa")


def test_a_checksum_is_asked_for_and_spares_the_question(server):
    with pytest.raises(DataError, match=f"genome.fa: its sha256 must be {'0' * 64}, got {SHA256}"):
        local_path(f"{address(server)}#sha256={'0' * 64}")
    with pytest.raises(DataError, match="a checksum has 64 hexadecimal digits, got 3"):
        local_path(f"{address(server)}#sha256=abc")
    path = local_path(f"{address(server)}#sha256={SHA256.upper()}")
    server.requests.clear()
    assert local_path(f"{address(server)}#sha256={SHA256}") == path
    assert server.requests == []


def test_a_damaged_copy_is_downloaded_again(server):
    path = local_path(address(server))
    path.write_bytes(b"x")
    with pytest.warns(UserWarning, match="damaged cache"):
        assert local_path(address(server)).read_bytes() == CONTENT


def test_bytes_are_kept_as_they_are_on_the_server(server):
    server.files["/a%20b/x.fa.gz"] = b"\x1f\x8b\x00"
    path = local_path(f"{server.url}/a%20b/x.fa.gz?token=1")
    assert path.name == "x.fa.gz"
    assert path.read_bytes() == b"\x1f\x8b\x00"


def test_other_stores_go_the_same_way(monkeypatch):
    import fsspec

    with fsspec.open("memory://bucket/genome.fa", "wb") as file:
        file.write(CONTENT)
    monkeypatch.setattr(remote, "_PIECE_BYTES", 300_000)
    assert local_path("memory://bucket/genome.fa").read_bytes() == CONTENT


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_missing_package_is_named(scheme, package, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(DataError, match=f"{scheme}://b/g.fa needs the package {package}: pip install '{package}'"):
        local_path(f"{scheme}://b/g.fa")
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(DataError, match=r"needs the package fsspec: pip install 'dnar2mae\[remote\]'"):
        local_path("https://b/g.fa")


def test_an_unknown_scheme_is_an_error():
    with pytest.raises(DataError, match="gopher://b/g.fa: Protocol not known: gopher"):
        local_path("gopher://b/g.fa")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs users")
def test_downloads_are_this_users_alone(server):
    before = os.umask(0)
    try:
        path = local_path(address(server))
    finally:
        os.umask(before)
    assert path.parents[1].stat().st_mode & 0o777 == 0o700
