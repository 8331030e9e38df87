"""Speed and memory of the path from a FASTA file to tokens, against reading and copying the same bytes in one run.

    python -m dnar2mae.benchmarks.speed.bench_genome --megabases 1000

Prints rates, their ratio to the floor (reading the file; SHA-256 of, or copying, as many bytes in memory), and peak
resident memory; appends rows to ``benchmarks/results/genome.csv``. One thread.
"""

import hashlib
import os
import platform
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tyro

from dnar2mae.benchmarks.speed import rows
from dnar2mae.config import DataConfig
from dnar2mae.genome.split import split
from dnar2mae.genome.store import Genome
from dnar2mae.genome.windows import WindowSource
from dnar2mae.run.directory import environment
from dnar2mae.tokenizers import KmerTokenizer

RESULTS = Path(__file__).parents[1] / "results" / "genome.csv"


@dataclass(frozen=True, kw_only=True)
class GenomeBenchSettings:
    """Time the genome store, the windows and the tokenizers."""

    megabases: int = 200
    """Size of the generated FASTA file."""
    windows: int = 1_000_000
    """Windows of 512 bp to draw."""


def write_fasta(path: Path, megabases: int) -> None:
    """Write random bases in lines of 60, as 10 sequences, a tenth of them in lower case."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for sequence in range(10):
            file.write(b">chr%d\n" % sequence)
            for part in range(megabases // 10):
                letters = b"acgt" if part % 10 == 0 else b"ACGT"
                lines = np.frombuffer(letters, np.uint8)[rng.integers(0, 4, (16_667, 60))]
                file.write(np.column_stack([lines, np.full(len(lines), 10, np.uint8)]).tobytes())


def seconds(function: Callable[[], object]) -> float:
    """Return the wall-clock time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak_rss_mb() -> float:
    """Return the most resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read_through(path: Path) -> None:
    """Read a file in chunks."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 22):
            pass


def main(settings: GenomeBenchSettings) -> int:
    """Generate, time, print, record."""
    stamp = environment()
    about = {"megabases": settings.megabases, "commit": stamp["commit"], "date": stamp["started"][:10]}
    about["device"] = f"{platform.machine()}, one core"

    def note(what: str, rate: float, unit: str, floor: float) -> None:
        row = {"what": what, "rate": f"{rate:.4g}", "unit": unit, "floor": f"{floor:.4g}"}
        row |= {"share_of_floor": f"{rate / floor:.3f}", "peak_rss_mb": f"{peak_rss_mb():.0f}"}
        rows.append(RESULTS, row | about)
        print(
            f"{what:34} {rate:12,.0f} {unit:12} {rate / floor:6.1%} of the floor, {peak_rss_mb():5.0f} MB", flush=True
        )

    with tempfile.TemporaryDirectory() as folder:
        os.environ["DNAR2MAE_CACHE"] = str(Path(folder) / "cache")
        fasta = Path(folder) / "random.fa"
        write_fasta(fasta, settings.megabases)
        size_mb = fasta.stat().st_size / 1e6
        floor = size_mb / seconds(lambda: read_through(fasta))
        note("build from plain FASTA", size_mb / seconds(lambda: Genome.open(fasta, progress=False)), "MB/s", floor)
        opened = settings.megabases / seconds(lambda: Genome.open(fasta))
        hashed = settings.megabases / seconds(lambda: hashlib.sha256(bytes(settings.megabases * 1_000_000)))
        note("open a built genome, all checked", opened, "Mb/s", hashed)
        genome = Genome.open(fasta)
        config = DataConfig(genomes=(str(fasta),))
        source = WindowSource([genome], split([genome], config).training, config)
        tokenizer, batch = KmerTokenizer(), 256
        ids = np.arange(settings.windows // batch * batch).reshape(-1, batch)
        block = np.zeros((batch, 512), np.uint8)
        copies = ids.size / seconds(lambda: deque((block.astype(np.int32) for _ in ids), maxlen=0))
        drawn = ids.size / seconds(lambda: deque((tokenizer.encode(source.codes(row)) for row in ids), maxlen=0))
        note("windows of 512 bp with tokens", drawn, "windows/s", copies)
        codes = np.random.default_rng(0).integers(0, 4, (4096, 512)).astype(np.uint8)
        copied = codes.size / 1e6 / min(seconds(lambda: codes.astype(np.int32)) for _ in range(5))
        for k, stride in ((1, 1), (6, 1), (6, 6), (8, 3)):
            encode = partial(KmerTokenizer(k, stride).encode, codes)
            rate = codes.size / 1e6 / min(seconds(encode) for _ in range(5))
            note(f"tokens, k = {k}, stride = {stride}", rate, "Mb/s", copied)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(GenomeBenchSettings)))
