"""Coverage-guided fuzzing: ``python -m tests.fuzz [TARGET ...] [--seconds 60]``; inputs that fail are kept."""

import argparse
import importlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGETS = ("fasta", "twobit", "genbank", "bed", "gff", "vcf", "config", "checkpoint")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", default=TARGETS)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="corpus and failing inputs")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return _fuzz(arguments.targets[0], arguments.seconds, arguments.out)
    line = [sys.executable, "-m", "tests.fuzz", "--one"]
    line += ["--seconds", str(arguments.seconds), "--out", str(arguments.out)]
    verdicts = [_verdict([*line, target], arguments.out / target, arguments.seconds) for target in arguments.targets]
    for target, verdict in zip(arguments.targets, verdicts, strict=True):
        print(f"{target}: {verdict or 'no finding'}", file=sys.stderr)
    return 1 if any(verdicts) else 0


def _verdict(line: list[str], folder: Path, seconds: int) -> str | None:
    """Fuzz one target; say what was found, or that it did not run to its end."""
    start = time.time()
    code = subprocess.run(line, check=False).returncode
    kept = [file for file in folder.glob("*-*") if file.stat().st_mtime >= start]  # crash-, timeout-, oom-
    if kept:
        return f"see {', '.join(map(str, kept))}"
    if code or time.time() - start < seconds:
        return f"NOT FUZZED to the end: exit code {code} after {time.time() - start:.0f} of {seconds} s"
    return None


def _fuzz(name: str, seconds: int, out: Path) -> int:
    import atheris

    with atheris.instrument_imports(include=["dnar2mae", "Bio.GenBank"]):
        target = importlib.import_module(f"tests.fuzz.{name}")
    corpus = out / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(target.SEEDS):
        (corpus / f"seed-{i}").write_bytes(seed)
    memory = Path("/dev/shm")  # where fsync costs nothing
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        target.check(target.SEEDS[0], Path(scratch))  # late imports, which may take longer than an input may
        flags = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=4096", "-max_len=4096"]
        flags += [f"-artifact_prefix={out / name}/", "-print_final_stats=1", "-verbosity=0"]
        atheris.Setup([name, *flags, str(corpus)], lambda data: target.check(data, Path(scratch)))
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
