import errno

import pytest

from dnar2mae import safe_files
from dnar2mae.safe_files import write_whole


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
