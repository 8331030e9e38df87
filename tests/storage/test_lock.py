import os
import sys

import pytest

from dnar2mae.storage.safe_files import lock


@pytest.fixture
def handles(tmp_path):
    found = [os.open(tmp_path, os.O_RDONLY) for _ in range(2)]
    yield found
    for handle in found:
        os.close(handle)


@pytest.mark.skipif(os.name != "posix", reason="needs flock")
def test_one_at_a_time(handles):
    first, second = handles
    assert lock(first, wait=False)
    with pytest.raises(BlockingIOError):
        lock(second, wait=False)


def test_a_system_without_locks_says_so(handles, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    assert not lock(handles[0], wait=True)
