import multiprocessing
import os
import signal

import pytest

from dnar2mae.config import DataConfig, PretrainConfig
from dnar2mae.config_file import read_config
from dnar2mae.errors import RunError
from dnar2mae.run_directory import RunDirectory

CONFIG = PretrainConfig(data=DataConfig(genomes=("genome.fa",)))


def hold(path, *, resume=False, overwrite=False):
    return RunDirectory(path).hold(CONFIG, resume=resume, overwrite=overwrite)


def hold_until_killed(path, held):
    with hold(path):
        held.set()
        signal.pause()


@pytest.fixture
def other(tmp_path):
    """Another process that uses the run directory."""
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold_until_killed, args=(tmp_path / "run", held), daemon=True)
    process.start()
    assert held.wait(60)
    yield process
    process.kill()
    process.join()


@pytest.mark.skipif(os.name != "posix", reason="needs flock")
@pytest.mark.parametrize("settings", [{}, {"resume": True}, {"overwrite": True}], ids=["new", "resume", "overwrite"])
def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path, other, settings):
    config = (tmp_path / "run" / "config.yaml").read_bytes()
    with pytest.raises(RunError, match=f"run: in use by process {other.pid} on .*; wait for its end or choose"):
        hold(tmp_path / "run", **settings).__enter__()
    assert (tmp_path / "run" / "config.yaml").read_bytes() == config
    other.kill()
    other.join()
    with hold(tmp_path / "run", resume=True):
        pass


def test_a_directory_is_free_again_after_use(tmp_path):
    for settings in ({}, {"resume": True}, {"overwrite": True}):
        with hold(tmp_path / "run", **settings):
            assert read_config(tmp_path / "run" / "config.yaml") == CONFIG


def test_the_rules_hold_under_the_lock_too(tmp_path):
    with hold(tmp_path / "run"):
        pass
    with pytest.raises(RunError, match="not empty"):
        hold(tmp_path / "run").__enter__()


def test_without_locks_there_is_a_warning(tmp_path, monkeypatch):
    import fcntl

    def unknown(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with pytest.warns(UserWarning, match="no locks here"), hold(tmp_path / "run"):
        pass


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints", "summary.json", ".lock", "loss.png", "tensorboard"])
@pytest.mark.parametrize("settings", [{"resume": True}, {"overwrite": True}], ids=["resume", "overwrite"])
def test_links_out_of_the_directory_are_refused(tmp_path, name, settings):
    with hold(tmp_path / "run"):
        pass
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis.txt").write_text("do not lose me")
    link = tmp_path / "run" / name
    if link.is_dir():
        link.rmdir()
    link.unlink(missing_ok=True)
    link.symlink_to(victim / "thesis.txt" if "." in name else victim)
    with pytest.raises(RunError, match="a link out of the run directory|cannot write the run"):
        hold(tmp_path / "run", **settings).__enter__()
    assert (victim / "thesis.txt").read_text() == "do not lose me"


@pytest.mark.parametrize("step", range(12))
def test_a_start_that_is_killed_can_be_started_again(tmp_path, monkeypatch, step):
    """Stop the making of a run, new or over an old one, at each of its file operations in turn."""

    class KilledError(BaseException):
        pass

    with hold(tmp_path / "old"):
        (tmp_path / "old" / "checkpoints" / "step-00000001").mkdir()
    for name in ("new", "old"):
        calls = []

        def dying(function, calls=calls):
            def call(*args, **settings):
                calls.append(function)
                if len(calls) > step:
                    raise KilledError
                return function(*args, **settings)

            return call

        with monkeypatch.context() as patch:
            for function in ("mkdir", "fsync", "replace", "rename", "unlink", "rmdir"):
                patch.setattr(os, function, dying(getattr(os, function)))
            try:
                with hold(tmp_path / name, overwrite=name == "old"):
                    pass
            except KilledError:
                pass
        started = (tmp_path / name / "config.yaml").exists()
        with hold(tmp_path / name, overwrite=started):
            assert read_config(tmp_path / name / "config.yaml") == CONFIG
