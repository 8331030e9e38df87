import errno
import json
import os
import subprocess
import threading

import pytest
import torch
from torch import nn

from dnar2mae.errors import RunError
from dnar2mae.run import checkpoint
from dnar2mae.run.checkpoint import (
    DamagedCheckpointError,
    Snapshot,
    checkpoints,
    load_checkpoint,
    load_newest,
    prune,
    recover,
    step_name,
)
from dnar2mae.run.checkpoint_writer import CheckpointWriter
from dnar2mae.storage import safe_files
from dnar2mae.storage.safe_files import write_checksums
from tests.damage import cut, flip_bit

STATE = {"history": [[0, 2.0]], "guard": [0.5, 0.0]}
FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "SHA256SUMS")


def network():
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    return model, torch.optim.AdamW(model.parameters())


def train(model, optimizer):
    model(torch.randn(3, 4)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.fixture
def run(tmp_path):
    """A run with checkpoints of steps 1, 2 and 3, and its weights after each."""
    model, optimizer = network()
    history = {}
    for step in (1, 2, 3):
        train(model, optimizer)
        snapshot = Snapshot.take(model, optimizer, {"step": step, **STATE})
        snapshot.write(tmp_path / "checkpoints" / step_name(step))
        history[step] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return tmp_path, history


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_what_is_saved_is_loaded(run):
    folder, history = run
    model, optimizer = network()
    path, state = load_newest(folder, model, optimizer)
    assert (path.name, state["step"], state["history"]) == ("step-00000003", 3, [[0, 2.0]])
    assert same(model.state_dict(), history[3])
    assert {key for value in optimizer.state.values() for key in value} == {"step", "exp_avg", "exp_avg_sq"}
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=path, check=False, capture_output=True, text=True)
    assert done.stdout.count(": OK") == 3, done


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["bit", "cut", "empty", "gone"])
def test_damage_is_found_named_and_skipped(run, name, how):
    folder, history = run
    file = checkpoints(folder)[-1] / name
    match how:
        case "bit":
            flip_bit(file, file.stat().st_size * 4)
        case "cut":
            cut(file)
        case "empty":
            file.write_bytes(b"")
        case "gone":
            file.unlink()
    model, optimizer = network()
    with pytest.warns(UserWarning, match="step-00000003: damaged checkpoint: .*; going back to the one before"):
        path, state = load_newest(folder, model, optimizer)
    assert (path.name, state["step"]) == ("step-00000002", 2)
    assert same(model.state_dict(), history[2])


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_what_cannot_be_read_now_is_no_damage(run, monkeypatch, code):
    folder, _ = run

    def failing(file):
        raise OSError(code, os.strerror(code), str(file))

    monkeypatch.setattr(safe_files, "sha256", failing)
    with pytest.raises(RunError, match="step-00000003: cannot read the checkpoint: .*; nothing was changed") as caught:
        load_newest(folder, *network())
    assert not isinstance(caught.value, DamagedCheckpointError)
    assert len(checkpoints(folder)) == 3


def test_every_flipped_bit_of_a_checkpoint_is_found(run):
    folder, _ = run
    newest = checkpoints(folder)[-1]
    model, optimizer = network()
    for name in FILES:
        for bit in range(0, (newest / name).stat().st_size * 8, 61):
            flip_bit(newest / name, bit)
            with pytest.raises(DamagedCheckpointError):
                load_checkpoint(newest, model, optimizer)
            flip_bit(newest / name, bit)
    load_checkpoint(newest, model, optimizer)


def test_no_whole_checkpoint_is_none(run):
    folder, _ = run
    for saved in checkpoints(folder):
        cut(saved / "model.safetensors")
    with pytest.warns(UserWarning, match="damaged") as warned:
        assert load_newest(folder, *network()) is None
    then = [str(warning.message).rpartition("; ")[2] for warning in warned]
    assert then == ["going back to the one before"] * 2 + ["starting from the beginning"]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"format": 2, "step": "../../../etc", "history": []}, "the step in state.json must be a whole number"),
        ({"format": 2, "step": -1}, "must be a whole number"),
        ({"format": 2, "step": 3, "history": [[0, "x"]]}, "the history in state.json must be pairs"),
        ({"format": 2, "step": 3, "guard": [0.5, 0.0]}, "the history in state.json must be pairs"),
        ({"format": 2, "step": 3, "history": []}, "the guard in state.json must be two floats"),
        ({"format": 2, "step": 3, "history": [], "guard": "x"}, "the guard in state.json must be two floats"),
        ({"format": 2, "step": 3, "history": [], "guard": [0.5]}, "the guard in state.json must be two floats"),
        (
            {"format": 2, "step": 3, "history": [], "guard": [10**400, 0.0]},
            "the guard in state.json must be two floats",
        ),
        ({"format": 1, "step": 3}, "expected checkpoint format 2, got 1"),
        ([], "expected checkpoint format 2, got no mapping"),
    ],
)
def test_a_forged_state_is_refused(run, state, message):
    newest = checkpoints(run[0])[-1]
    (newest / "state.json").write_text(json.dumps(state))
    write_checksums(newest)
    with pytest.raises(RunError, match=message):
        load_checkpoint(newest, *network())


def test_a_killed_writer_leaves_every_visible_checkpoint_whole(run, monkeypatch):
    """Stop the writing of a checkpoint at each of its file operations in turn, as a kill would."""

    class KilledError(BaseException):
        pass

    folder, _ = run
    model, optimizer = network()
    train(model, optimizer)
    snapshot = Snapshot.take(model, optimizer, {"step": 4, **STATE})
    best = folder / "checkpoints" / "best"
    snapshot.write(best)
    operations = [(checkpoint, "save_file"), (checkpoint, "write_checksums"), (safe_files, "flush")]
    operations += [(checkpoint.Path, "rename"), (safe_files.shutil, "rmtree")]
    for target, name in operations:
        for allowed in range(6):
            calls = []
            real = getattr(target, name)

            def dying(*args, real=real, calls=calls, allowed=allowed, **settings):
                calls.append(args)
                if len(calls) > allowed:
                    raise KilledError
                return real(*args, **settings)

            with monkeypatch.context() as patch:
                patch.setattr(target, name, dying)
                try:
                    snapshot.write(best)
                    prune(folder, 3)
                except KilledError:
                    pass
            recover(folder)
            load_checkpoint(best, *network())
            for saved in checkpoints(folder):
                load_checkpoint(saved, *network())
            assert not list((folder / "checkpoints").glob(".*"))


def test_pruning_keeps_the_last_and_drops_what_was_skipped(run):
    folder, _ = run
    prune(folder, 1, newest="step-00000002")
    assert [path.name for path in checkpoints(folder)] == ["step-00000002"]


def test_what_cannot_be_removed_ends_nothing(run, monkeypatch):
    """As on NFS, where a folder keeps the files that a process has open."""
    folder, _ = run
    snapshot = Snapshot.take(*network(), {"step": 4, **STATE})
    best = folder / "checkpoints" / "best"
    with monkeypatch.context() as patch:
        patch.setattr(safe_files.shutil, "rmtree", lambda *_, **__: None)
        for _ in range(3):
            snapshot.write(best)
        prune(folder, 1)
        recover(folder)
    load_checkpoint(best, *network())
    assert [path.name for path in checkpoints(folder)] == ["step-00000003"]
    recover(folder)
    assert not list((folder / "checkpoints").glob(".*"))


def test_recovery_meets_links_and_other_processes(run, monkeypatch):
    folder, _ = run
    place = folder / "checkpoints"
    for name in (".best.old", ".x.partial"):
        (place / name).symlink_to(checkpoints(folder)[0])
    (place / ".y.old").write_text("a file")
    recover(folder)
    assert [len(checkpoints(folder)), *place.glob(".*")] == [3]
    checkpoints(folder)[0].rename(place / ".best.old")
    real = checkpoint.Path.rename

    def second(self, target):
        real(self, target)
        return real(self, target)

    monkeypatch.setattr(checkpoint.Path, "rename", second)
    recover(folder)
    load_checkpoint(place / "best", *network())


class TestWriter:
    def test_training_goes_on_while_it_writes(self, tmp_path, monkeypatch):
        gate = threading.Event()
        real = Snapshot.write
        monkeypatch.setattr(Snapshot, "write", lambda self, folder: (gate.wait(30), real(self, folder)))
        model, optimizer = network()
        train(model, optimizer)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        history = [[0, 2.0]]
        with CheckpointWriter(tmp_path, keep=2) as writer:
            writer.save(step_name(1), Snapshot.take(model, optimizer, {**STATE, "step": 1, "history": history}))
            train(model, optimizer)
            history.append([1, 1.0])
            writer.check()
            assert not checkpoints(tmp_path)
            gate.set()
        assert not same(before, model.state_dict())
        _, state = load_newest(tmp_path, model, optimizer)
        assert same(before, model.state_dict())
        assert state["history"] == [[0, 2.0]]

    def test_it_keeps_the_last(self, tmp_path):
        model, optimizer = network()
        with CheckpointWriter(tmp_path, keep=2) as writer:
            for step in (1, 2, 3):
                writer.save(step_name(step), Snapshot.take(model, optimizer, {"step": step}))
                writer.save("best", Snapshot.take(model, optimizer, {"step": step}))
        assert [path.name for path in checkpoints(tmp_path)] == ["step-00000002", "step-00000003"]
        assert load_checkpoint(tmp_path / "checkpoints" / "best", model)["step"] == 3

    @pytest.mark.parametrize("when", ["save", "check", "exit"])
    def test_its_errors_reach_the_loop(self, tmp_path, when):
        model, optimizer = network()
        (tmp_path / "checkpoints").write_text("in the way")

        def loop():
            with CheckpointWriter(tmp_path, keep=2) as writer:
                writer.save(step_name(1), Snapshot.take(model, optimizer, {"step": 1}))
                if when == "save":
                    writer.save(step_name(2), Snapshot.take(model, optimizer, {"step": 2}))
                if when == "check":
                    writer._writing.exception()
                    writer.check()
                if when != "exit":
                    raise AssertionError("the loop went on")

        with pytest.raises(RunError, match="step-00000001: cannot write the checkpoint"):
            loop()

    def test_an_earlier_error_goes_first(self, tmp_path):
        model, optimizer = network()
        (tmp_path / "checkpoints").write_text("in the way")

        def loop():
            with CheckpointWriter(tmp_path, keep=2) as writer:
                writer.save(step_name(1), Snapshot.take(model, optimizer, {"step": 1}))
                raise KeyError("the first")

        with pytest.raises(KeyError, match="the first"):
            loop()


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", small], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        model = nn.Linear(100, 50)
        optimizer = torch.optim.AdamW(model.parameters())
        model(torch.ones(1, 100)).sum().backward()
        optimizer.step()

        def loop():
            with CheckpointWriter(small, keep=100) as writer:
                for step in range(1, 50):
                    writer.save(step_name(step), Snapshot.take(model, optimizer, {"step": step, **STATE}))

        with pytest.raises(RunError, match="cannot write the checkpoint: .*No space left"):
            loop()
        assert len(checkpoints(small)) >= 3
        for saved in checkpoints(small):
            load_checkpoint(saved, model, optimizer)
        assert not list((small / "checkpoints").glob(".*"))
    finally:
        subprocess.run(["umount", small], check=True)
