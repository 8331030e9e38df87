import errno
import os
from pathlib import Path

import pytest
import torch

from dnar2mae.errors import ConfigError
from dnar2mae.modalities.registry import build_modality
from dnar2mae.run.checkpoint import Snapshot
from dnar2mae.storage import safe_files
from dnar2mae.storage.safe_files import (
    CHECKSUMS,
    find_damage,
    folder_written_whole,
    locked,
    output_file,
    refuse_inputs,
    write_checksums,
    write_whole,
    written_whole,
)
from tests.modalities.kinds import dna, text


def test_a_text_that_is_there_is_not_written_again(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, "é")
    inode = path.stat().st_ino
    write_whole(path, "é")
    assert path.stat().st_ino == inode
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    write_whole(path, "é")
    assert not path.is_symlink()


def test_a_full_disk_leaves_the_old_text(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_whole(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(safe_files.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_whole(path, "new")
    assert path.read_text() == "old"
    write_whole(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "new"


@pytest.fixture
def renames(monkeypatch):
    """Names that were put in place; what is renamed must be flushed as it is, and the folder above after that."""
    flushed, owed, done = set(), set(), []

    def state(path):
        status = os.stat(path)
        return status.st_ino, None if Path(path).is_dir() else status.st_size

    def fsync(handle, real=os.fsync):
        real(handle)
        status = os.fstat(handle)
        flushed.update({(status.st_ino, status.st_size), (status.st_ino, None)})
        owed.discard(status.st_ino)

    def watched(real):
        def rename(source, target):
            source = Path(source)
            missing = [path for path in (source, *source.rglob("*")) if state(path) not in flushed]
            real(source, target)
            assert not missing, f"renamed before it was flushed: {missing}"
            owed.add(os.stat(Path(target).parent).st_ino)
            done.append(Path(target).name)

        return rename

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", watched(os.rename))
    monkeypatch.setattr(os, "replace", watched(os.replace))
    yield done
    assert not owed, "a folder was not flushed after a rename in it"


def test_a_text_is_flushed_before_it_is_there(tmp_path, renames):
    for content in ("old", "new"):
        write_whole(tmp_path / "a.json", content)
    assert renames == ["a.json"] * 2


def test_a_checkpoint_is_flushed_before_it_is_there(tmp_path, renames):
    model = torch.nn.Linear(2, 2)
    snapshot = Snapshot.take(model, torch.optim.AdamW(model.parameters()), {"step": 1})
    for _ in range(2):
        snapshot.write(tmp_path / "best")
    assert renames == ["best", ".best.old", "best"]


@pytest.mark.parametrize("kind", [dna, text])
def test_a_cache_is_flushed_before_it_is_there(tmp_path, renames, kind):
    build_modality(kind(tmp_path)).open()
    assert len(renames) == 1


def test_no_cut_of_the_checksums_goes_unnoticed(tmp_path):
    for name in ("a.bin", "b.json"):
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path)
    sums = tmp_path / CHECKSUMS
    whole = sums.read_bytes()
    assert find_damage(tmp_path) is None
    for length in range(len(whole) - 1):  # the last line break says nothing
        sums.write_bytes(whole[:length])
        assert find_damage(tmp_path), length


def test_a_file_replaces_the_old_one_or_leaves_it(tmp_path):
    path = tmp_path / "a.npy"
    path.write_text("old")
    with pytest.raises(ValueError, match="stop"), written_whole(path) as partial:  # noqa: PT012
        partial.write_text("half")
        raise ValueError("stop")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a.npy": "old"}
    with written_whole(path) as partial:
        assert partial.suffix == ".npy"
        partial.write_text("new")
        assert path.read_text() == "old"
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a.npy": "new"}


def test_what_a_killed_process_left_is_no_way_out(tmp_path):
    path = tmp_path / "a.txt"
    with written_whole(path) as partial:
        partial.write_text("x")
    partial.symlink_to(tmp_path / "victim")
    with written_whole(path) as partial:
        partial.write_text("y")
    assert path.read_text() == "y"
    assert not (tmp_path / "victim").exists()


def test_any_file_is_flushed_before_it_is_there(tmp_path, renames):
    for _ in range(2):
        with written_whole(tmp_path / "a.bin") as partial:
            partial.write_bytes(b"x")
    assert renames == ["a.bin"] * 2


def test_a_folder_replaces_the_old_one_or_leaves_it(tmp_path, renames):
    folder = tmp_path / "export"
    for content in ("old", "new"):
        with folder_written_whole(folder) as partial:
            (partial / "a").mkdir()
            (partial / "a" / "b.txt").write_text(content)
    with pytest.raises(ValueError, match="stop"), folder_written_whole(folder) as partial:
        raise ValueError("stop")
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert (folder / "a" / "b.txt").read_text() == "new"
    assert renames == ["export", ".export.old", "export"]


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    with output_file(tmp_path / "new" / "x.txt") as partial:
        partial.write_text("x")
    with (
        pytest.raises(ConfigError, match="--out must be writable, got .*y.txt: File exists"),
        output_file(tmp_path / "new" / "x.txt" / "y.txt"),
    ):
        pass


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_of_a_folder_have_the_users_mode(tmp_path, umask):
    before = os.umask(umask)
    try:
        with folder_written_whole(tmp_path / "out") as partial:
            (partial / "sub").mkdir()
            for name in ("weights", "sub/table"):
                (partial / name).touch(mode=0o600)  # as safetensors writes
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*")}
    assert modes == {"weights": 0o666 & ~umask, "table": 0o666 & ~umask, "sub": 0o777 & ~umask}


def test_an_output_that_is_an_input_is_refused(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    source = tmp_path / "folder" / "a.txt"
    source.touch()
    (tmp_path / "soft.txt").symlink_to(source)
    os.link(source, tmp_path / "hard.txt")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    monkeypatch.chdir(tmp_path)
    for name in ("folder/a.txt", "folder/../folder/a.txt", "soft.txt", "hard.txt", "link/a.txt", "folder", "link"):
        with pytest.raises(ConfigError, match=f"--to must not write over an input: .*{name} is .*[ab].txt or holds it"):
            refuse_inputs(Path(name), ("folder/b.txt", None, source), "--to")
    refuse_inputs((Path("folder/b.txt"), Path("folder/a.txt2")), (source, "missing"))
    with pytest.raises(ConfigError, match="--out must not write over an input: missing is missing"):
        refuse_inputs(Path("missing"), ("missing",))


def test_a_lock_refuses_others_and_keeps_the_errors_of_what_it_holds(tmp_path):
    busy = ConfigError("in use")
    with locked(tmp_path, busy), pytest.raises(ConfigError, match="in use"), locked(tmp_path, busy):
        pass
    with pytest.raises(BlockingIOError, match="a pipe"), locked(tmp_path, busy):
        raise BlockingIOError("a pipe")
    with locked(tmp_path, busy):  # what raised has let go
        pass
