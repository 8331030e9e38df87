"""``python -m tests.torture [--kills 120] [--seed 0]``: disturb runs in every way, and compare how they end."""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

import torch

from dnar2mae.run.checkpoint import checkpoints

from ..damage import cut, flip_bit
from .run import Run, write_genome

SIGNALS = (signal.SIGKILL,) * 4 + (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
WITH_WORKERS = 0.15  # of the processes; they take seconds to start


class SkippedError(Exception):
    """A scenario cannot be played on this machine."""


class Torture:
    """The undisturbed run, and the scenarios that are compared with it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        self.cache = folder / "cache"
        os.environ["DNAR2MAE_CACHE"] = str(self.cache)
        self.genome = write_genome(folder / "genome.fa")
        whole = Run(folder / "whole", self.genome)
        whole.finish()  # imports, and builds the cache
        self.seconds = {}
        for num_workers in (1, 0):
            whole.clear()
            start = time.monotonic()
            whole.start(num_workers)
            assert whole.end() == 0, whole.messages()
            self.seconds[bool(num_workers)] = time.monotonic() - start
        self.expected, self.rows = whole.weights(), whole.rows()

    def fresh(self, name: str, **places: Path) -> Run:
        """A run of its own."""
        return Run(self.folder / name, places.get("genome", self.genome), places.get("out"))

    def compare(self, run: Run) -> None:
        """Weights and metrics are those of the undisturbed run, bit by bit."""
        found = run.weights()
        assert found.keys() == self.expected.keys()
        different = [name for name in found if not torch.equal(found[name], self.expected[name])]
        assert not different, f"{run.out}: other weights: {different}"
        rows = run.rows()
        other = next((pair for pair in zip_longest(rows, self.rows) if pair[0] != pair[1]), None)
        assert other is None, f"{run.out}: {len(rows)} rows of metrics, not {len(self.rows)}; got, expected: {other}"
        assert "Traceback" not in run.messages(), run.messages()

    def killed(self, name: str, count: int = 3) -> Run:
        """A run that was killed after some checkpoints."""
        run = self.fresh(name)
        run.start()
        run.wait_for_checkpoints(2)
        time.sleep(self.draw.uniform(0, self.seconds[False] / 4))
        run.kill()
        assert 2 <= len(checkpoints(run.out)) <= count, run.messages()
        return run

    def ends_well(self, run: Run) -> None:
        """Resume to the end, and compare."""
        code = run.finish()
        assert code == 0, f"exit code {code}: {run.messages()}"
        self.compare(run)

    def kills(self, wanted: int) -> str:
        """Signals at random points, start to end, run after run; some of the runs have worker processes."""
        run, done, ended, resumed = self.fresh("kills"), Counter[str](), 0, 0
        while done.total() < wanted or run.out.exists():
            present = checkpoints(run.out)
            with_workers = self.draw.random() < WITH_WORKERS
            run.start(self.draw.choice((1, 2)) if with_workers else 0)
            number = self.draw.choice(SIGNALS) if done.total() < wanted else None
            if number:
                run.process.join(self.draw.uniform(0, 1.2 * self.seconds[with_workers]))
            if number and run.process.is_alive():
                code, allowed = run.kill(number), (0, 130, -number)
                done[f"{number.name}{' with workers' if with_workers else ''}"] += 1
            else:
                code, allowed = run.end(), (0,)
            assert code in allowed, f"exit code {code}, signal {number}: {run.messages()}"
            resumed += self.went_on(run, present)
            if code == 0:
                self.compare(run)
                ended += 1
                run.clear()
        counts = ", ".join(f"{count} {name}" for name, count in sorted(done.items()))
        return f"{counts}; {resumed} resumptions; {ended} runs ended, each as the undisturbed one"

    def went_on(self, run: Run, before: list[Path]) -> bool:
        """Tell whether the last process took up the newest checkpoint of those before; no other may be taken up."""
        said, newest = run.said(), checkpoints(run.out)[-1:]
        assert "damaged checkpoint" not in said, said
        if "resuming from" in said:
            assert before, said
            assert f"resuming from {before[-1]}\n" in said, f"{before[-1]} is the newest: {said}"
            return True
        assert not before or newest == before[-1:], f"{before[-1]} was not taken up: {said}"
        return False

    def flipped_bits(self, times: int = 12) -> str:
        """A bit of a random file of the newest checkpoint, or half of that file gone."""
        for i in range(times):
            run = self.killed("flipped")
            newest = checkpoints(run.out)[-1]
            file = self.draw.choice(sorted(newest.iterdir()))
            if i % 2:
                cut(file, self.draw.random())
            else:
                flip_bit(file, self.draw.randrange(file.stat().st_size * 8))
            self.ends_well(run)
            assert f"{newest.name}: damaged checkpoint" in run.messages(), run.messages()
            run.clear()
        return f"{times} damaged checkpoints, all named and skipped"

    def full_disk(self, times: int = 4) -> str:
        """A file system too small for the run, then a larger one."""
        filled = 0
        while filled < times:
            disk = self.folder / "disk"
            disk.mkdir(exist_ok=True)
            size = f"size={self.draw.randrange(200, 400)}k"
            if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], check=False).returncode:
                raise SkippedError("mounting a tmpfs needs root")
            try:
                run = self.fresh("full", out=disk / "run")
                run.start()
                run.wait_for_checkpoints(self.draw.randrange(3))
                with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
                    while True:
                        file.write(bytes(4096))
                code = run.end()
                if code == 0:  # done before the disk was full
                    self.compare(run)
                    run.log.unlink()
                    continue
                filled += 1
                assert code == 2, f"exit code {code}: {run.messages()}"
                assert "no space left" in run.messages().lower(), run.messages()
                (disk / "ballast").unlink(missing_ok=True)
                subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
                self.ends_well(run)
                run.log.unlink()
            finally:
                subprocess.run(["umount", "--lazy", disk], check=True)
        return f"{times} runs stopped with one line and went on when there was room"

    def damaged_cache(self, times: int = 8) -> str:
        """The genome's cache cut or with a flipped bit, between two processes of a run and in the middle of one."""
        for i in range(times):
            run = self.killed("cache")
            (folder,) = (self.cache / "genomes").iterdir()
            file = self.draw.choice(sorted(folder.iterdir()))
            if i % 2:
                cut(file, self.draw.random())
            else:
                flip_bit(file, self.draw.randrange(file.stat().st_size * 8))
            self.ends_well(run)
            assert "damaged cache" in run.messages(), run.messages()
            run.clear()
        run = self.fresh("cache")
        run.start()
        run.wait_for_checkpoints(2)
        (folder,) = (self.cache / "genomes").iterdir()
        os.truncate(folder / "bases.u8", 1000)
        code = run.end()
        assert code in (0, -signal.SIGBUS), f"exit code {code}: {run.messages()}"
        self.ends_well(run)
        return f"{times} damaged caches built anew; one cut under a process that used it (exit code {code})"

    def genome_index(self) -> str:
        """A truncated .fai index beside the genome."""
        genome = write_genome(self.folder / "indexed.fa")
        index = genome.with_name("indexed.fa.fai")
        index.write_text("one\t15000\t5\t15000\t15001\ntwo\t15000\t15011\t15000\t15001\n")
        run = self.fresh("index", genome=genome)
        run.start()
        run.wait_for_checkpoints(2)
        run.kill()
        cut(index)
        for cache in (self.cache / "genomes").glob("indexed*"):
            shutil.rmtree(cache)
        assert run.finish() == 2, run.messages()
        assert "indexed.fa.fai" in run.messages()
        index.unlink()
        self.ends_well(run)
        shutil.rmtree(next((self.cache / "genomes").glob("indexed*")))
        return "named in one line; the run went on without it"

    def genome_removed(self) -> str:
        """The genome taken away in mid-run: that process goes on, a new one says so, and goes on when it is back."""
        aside = self.genome.with_suffix(".aside")
        run = self.fresh("removed")
        run.start()
        run.wait_for_checkpoints(1)
        self.genome.rename(aside)
        assert run.end() == 0, run.messages()
        self.compare(run)
        run.clear()
        aside.rename(self.genome)
        run = self.killed("removed")
        self.genome.rename(aside)
        assert run.finish() == 2, run.messages()
        assert "genome.fa: no such file" in run.messages()
        shutil.copy(aside, self.genome)
        self.ends_well(run)
        return "the run went on; a new process named the file, and went on when it was back"

    def two_runs(self, times: int = 3) -> str:
        """A second process on the same directory."""
        for _ in range(times):
            first, second = self.fresh("two"), self.fresh("two-b", out=self.folder / "two" / "run")
            first.start()
            first.wait_for_checkpoints(1)
            code = second.finish()
            assert code == 2, f"exit code {code}: {second.messages()}"
            assert f"in use by process {first.process.pid}" in second.messages(), second.messages()
            assert first.end() == 0, first.messages()
            self.compare(first)
            first.clear()
            second.log.unlink()
        return f"{times} second processes refused with one line"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one scenario")
    arguments = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        torture = Torture(Path(folder), arguments.seed)
        alone, with_worker = torture.seconds[False], torture.seconds[True]
        print(f"an undisturbed run takes {alone:.2f} s, with a worker {with_worker:.2f} s", flush=True)
        scenarios: dict[str, Callable[[], str]] = {
            "kills": lambda: torture.kills(arguments.kills),
            "flipped bits": torture.flipped_bits,
            "full disk": torture.full_disk,
            "damaged cache": torture.damaged_cache,
            "genome index": torture.genome_index,
            "genome removed": torture.genome_removed,
            "two runs": torture.two_runs,
        }
        failed = skipped = 0
        for name, scenario in scenarios.items():
            if arguments.only in (None, name):
                try:
                    print(f"{name}: {scenario()}", flush=True)
                except SkippedError as error:
                    skipped += 1
                    print(f"{name}: SKIPPED: {error}", flush=True)
                except AssertionError as error:
                    failed += 1
                    print(f"{name}: FAILED: {error}", flush=True)
    print(f"{failed} scenarios failed, {skipped} skipped; {time.monotonic() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
