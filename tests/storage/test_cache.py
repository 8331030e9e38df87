import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dnar2mae.errors import RunError
from dnar2mae.storage.cache import default_cache, own_compile_cache


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """What a test sets goes with it."""
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    with config.patch("cpp_cache_precompile_headers", True):
        yield


def test_the_cache_of_compile_is_the_users_own():
    before = os.umask(0)
    try:
        own_compile_cache()
    finally:
        os.umask(before)
    folder = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert folder.is_relative_to(default_cache())
    assert [place.stat().st_mode & 0o777 for place in (folder, folder.parent)] == [0o700] * 2
    own_compile_cache()


def test_one_that_is_set_stays(monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/mine")
    own_compile_cache()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/mine"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs users")
def test_one_of_others_is_refused(tmp_path):
    folder = default_cache() / "compile" / "inductor"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with pytest.raises(RunError, match="other users may write to .*inductor .*, so this cache is not used"):
        own_compile_cache()
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="inductor is a link"):
        own_compile_cache()
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


def test_one_that_cannot_be_made_is_an_error():
    default_cache().write_text("a file")
    with pytest.raises(RunError, match="cannot make the cache of --compile"):
        own_compile_cache()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a compiler")
def test_torch_puts_nothing_elsewhere(tmp_path):
    code = (
        "import torch, dnar2mae.training.trainer\nfrom dnar2mae.storage.cache import own_compile_cache\n"
        "own_compile_cache()\n"
        "print(torch.compile(lambda x: x.sin() + 1)(torch.zeros(8)).sum().item())\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = os.environ | {"TMPDIR": str(elsewhere)}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment, timeout=280
    )
    assert done.stdout == "8.0\n", done.stderr
    assert list((default_cache() / "compile" / "inductor").rglob("*.so"))
    assert not list(elsewhere.glob("torchinductor_*/*"))  # the folder itself is made when torch is imported
