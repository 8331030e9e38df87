"""Programs of this tree on PATH, for tests that run commands in a shell as a user does."""

import os
import subprocess
import sys
from pathlib import Path

_HOW = {
    "python": "",
    "dnar2mae": "-m dnar2mae.cli",
    "pytest": "-m pytest -p no:cacheprovider",
    "torchrun": "-m torch.distributed.run",
}


def run_in_shell(commands: str, folder: Path, **environment: str) -> str:
    """Run commands in a folder, where ``dnar2mae`` and ``python`` are those of this test; return what they print."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name, how in _HOW.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {how} "$@"\n')
        (programs / name).chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    whole = {**os.environ, "PATH": path, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "120", **environment}
    done = subprocess.run(["bash", "-ec", commands], cwd=folder, env=whole, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
