import multiprocessing
import os
import signal

import pytest

from dnar2mae.config import DataConfig, PretrainConfig
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.run.config_file import read_config
from dnar2mae.run.directory import RunDirectory
from tests.damage import cut

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
        (tmp_path / "old" / "notes.txt").write_text("of the user")
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
            assert read_config(tmp_path / name / "config.yaml", whole=True) == CONFIG
            assert not list((tmp_path / name / "checkpoints").iterdir())
    assert (tmp_path / "old" / "notes.txt").read_text() == "of the user"


def test_overwriting_removes_the_run_and_nothing_else(tmp_path):
    run = tmp_path / "run"
    with hold(run):
        pass
    ours = ["metrics.jsonl", "summary.json", "loss.png", "held_out-best.png", "genes.json", ".metrics.jsonl.partial"]
    theirs = ["notes.txt", "export/config.json", ".git/HEAD", "held_out-cells.txt", "old.png"]
    for name in (*ours, *theirs, "checkpoints/step-00000001/state.json", "tensorboard/events"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("x")
    with hold(run, overwrite=True):
        left = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert left == {*theirs, "config.yaml", "environment.json", ".lock"}


@pytest.mark.parametrize("text", ["site: my blog\n", "steps: 7\n", "{}", "[" * 3000])
@pytest.mark.parametrize("environment", [None, "{}", '"dnar2mae"', "5", "[" * 3000])
def test_a_folder_with_a_configuration_of_something_else_is_not_overwritten(tmp_path, text, environment):
    (tmp_path / "metrics.jsonl").write_text("do not lose me")
    (tmp_path / "config.yaml").write_text(text)
    if environment is not None:
        (tmp_path / "environment.json").write_text(environment)
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    with pytest.raises(RunError, match="holds no dnar2mae run, so --overwrite will not remove it"):
        hold(tmp_path, overwrite=True).__enter__()
    assert {path: path.read_text() for path in before} == before


def test_a_run_with_a_damaged_configuration_can_be_overwritten(tmp_path):
    with hold(tmp_path / "run"):
        pass
    cut(tmp_path / "run" / "config.yaml")
    with pytest.raises(ConfigError, match="cut short|not YAML"):
        hold(tmp_path / "run", resume=True).__enter__()
    with hold(tmp_path / "run", overwrite=True):
        assert read_config(tmp_path / "run" / "config.yaml", whole=True) == CONFIG


@pytest.mark.parametrize("damage", ["other", "not UTF-8"])
def test_a_run_resumes_on_the_data_it_began_with(tmp_path, damage):
    def begin(data, **settings):
        directory = RunDirectory(tmp_path / "run")
        with directory.hold(CONFIG, **{"resume": False, "overwrite": False, **settings}, data=data):
            pass
        return directory.data_file

    assert not begin("").exists()
    assert begin("aa", resume=True).read_text() == "aa\n"
    begin("aa", resume=True)
    begin("", resume=True)
    if damage == "not UTF-8":
        (tmp_path / "run" / "data.sha256").write_bytes(b"\xff\n")
    with pytest.raises(RunError, match="run: the run began with other data: name files of the same content"):
        begin("aa" if damage == "not UTF-8" else "bb", resume=True)
    assert begin("bb", overwrite=True).read_text() == "bb\n"
