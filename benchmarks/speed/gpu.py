"""Tests, speed and memory in minutes on a GPU: ``make gpu``; ``make gpu DRY=1`` tries it on a CPU with tiny sizes.

Each part is a process of its own with a limit in seconds, and appends a row as soon as it is measured. So a part that
hangs, crashes or breaks its CUDA context ends alone, and the rows stay however the script ends.

Nothing is installed. The parts see the repository as it lies, and the unpacked wheels of ``--wheels``, through a
temporary folder on ``PYTHONPATH``; all else is what this Python has. For that reason this file imports the standard
library only and is run by its path: ``python3 benchmarks/speed/gpu.py --parts tests,kernels --out rows``.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PARTS = {
    "environment": 25,
    "tests": 100,
    "kernels": 75,
    "attention": 25,
    "end_to_end": 110,
    "memory": 25,
    "profile": 25,
    "pretraining": 95,
    "compiled": 120,
}
"""Names of the modules in ``parts``, in their order, and seconds each may take: 10 minutes in all."""
RUN_PRESETS = ("small",)
"""What the part ``pretraining`` runs; it may take its seconds for each."""
NEEDS_GPU = """import sys
try:
    import torch
except ImportError:
    sys.exit(f"{sys.executable} has no torch: name another by PYTHON=, or make test first")
if not torch.cuda.is_available():
    sys.exit("torch sees no CUDA GPU here; make gpu DRY=1 tries the script on a CPU")"""
_DRY_S = 120.0  # of each part on a CPU: tiny sizes, but a machine that may be busy
_GRACE_S = 5  # between asking a part to stop and killing it


def link(folder: Path, root: Path = ROOT) -> None:
    """Fill a folder with the package ``dnar2mae`` of a checkout and its tests, all of links.

    ``kernels/``, ``cli/`` and ``benchmarks/`` are installed inside the package, so a bare checkout cannot import them.
    """
    package = folder / "dnar2mae"
    package.mkdir()
    for source in [*(root / "dnar2mae").iterdir(), *(root / name for name in ("kernels", "cli", "benchmarks"))]:
        (package / source.name).symlink_to(source)
    (folder / "tests").symlink_to(root / "tests")


def unpack(wheels: list[Path], folder: Path) -> None:
    """Unpack the wheels in some folders: pure-Python wheels need no more than to be on the path, and no pip."""
    for source in wheels:
        for wheel in sorted(source.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)


def run_part(line: list[str], env: dict[str, str], limit_s: float) -> str:
    """Run a command in a process group of its own; return ``done``, ``failed`` or ``cut``.

    Processes left in the group are ended, also when this process is terminated.
    """
    process = subprocess.Popen(line, env=env, cwd=ROOT, start_new_session=True)
    try:
        return "failed" if process.wait(limit_s) else "done"
    except subprocess.TimeoutExpired:
        return "cut"
    finally:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    """Terminate the group, so that a run can save its state; then kill it."""
    with suppress(subprocess.TimeoutExpired, ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(_GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # also children that outlived their parent
    process.wait()


def main(argv: list[str] | None = None) -> int:
    """Run the parts one after the other; 0 if all were done, 1 if one failed or was cut, 2 without a GPU."""
    options = _parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if not options.dry and subprocess.run([sys.executable, "-c", NEEDS_GPU], check=False).returncode:
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    states = {}
    try:
        with tempfile.TemporaryDirectory(prefix="dnar2mae-gpu-") as site:
            link(Path(site))
            unpack(options.wheels, Path(site))
            for name in options.parts:
                runs = len(options.presets) if name == "pretraining" else 1
                limit_s = options.scale * runs * (_DRY_S if options.dry else PARTS[name])
                print(f"== {name}: at most {limit_s:.0f} s", flush=True)
                start = time.monotonic()
                state = run_part(_line(name, options), _environment(site, options.dry), limit_s)
                states[name] = f"{state} after {time.monotonic() - start:.0f} s"
                print(f"== {name}: {states[name]}", flush=True)
    finally:
        print(f"== rows in {options.out}:", "; ".join(f"{k} {v}" for k, v in states.items()), flush=True)
    return 0 if all(state.startswith("done") for state in states.values()) else 1


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=_parts, default=list(PARTS), help=f"of {','.join(PARTS)}; by default all")
    parser.add_argument("--dry", action="store_true", help="on a CPU, with Triton's interpreter and tiny sizes")
    parser.add_argument("--out", type=Path, help="folder of the rows; by default benchmarks/results, dry runs/gpu-dry")
    parser.add_argument("--wheels", type=Path, nargs="*", default=[], help="folders of wheels that this Python lacks")
    parser.add_argument("--genome", type=Path, help="FASTA of the part pretraining; by default one is simulated")
    parser.add_argument("--presets", type=_words, default=RUN_PRESETS, help="of the part pretraining: small,base,large")
    parser.add_argument("--commit", help="commit in the rows; by default that of git describe")
    parser.add_argument("--scale", type=float, default=1.0, help="factor for the limits")
    options = parser.parse_args(argv)
    for path in [*options.wheels, *([options.genome] if options.genome else [])]:
        if not path.exists():
            parser.error(f"{path}: no such file or folder")
    options.out = (options.out or (ROOT / "runs" / "gpu-dry" if options.dry else RESULTS)).absolute()
    return options


def _words(text: str) -> list[str]:
    return text.split(",")


def _parts(text: str) -> list[str]:
    chosen = _words(text)
    if not set(chosen) <= set(PARTS):
        raise argparse.ArgumentTypeError(f"must be of {', '.join(PARTS)}, got {text}")
    return [name for name in PARTS if name in chosen]


def _line(name: str, options: argparse.Namespace) -> list[str]:
    line = [sys.executable, "-m", "dnar2mae.benchmarks.speed.parts", name, "--out", str(options.out)]
    line += ["--commit", options.commit or _commit(), *(["--dry"] if options.dry else [])]
    line += ["--presets", *options.presets]
    return [*line, "--genome", str(options.genome.absolute())] if options.genome else line


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _environment(site: str, dry: bool) -> dict[str, str]:
    """Environment of the parts: the tree before all else, and caches that go with this run."""
    env = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", "DNAR2MAE_CACHE": f"{site}/cache"}
    env["TMPDIR"] = site  # so that nothing is left of a part that was killed
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [site, os.environ.get("PYTHONPATH")]))
    if dry:  # tiny sizes do not repay a minute of compilation
        env |= {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1", "TORCHDYNAMO_DISABLE": "1"}
    return env


if __name__ == "__main__":
    sys.exit(main())
