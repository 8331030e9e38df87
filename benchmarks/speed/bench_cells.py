"""Speed and memory of reading cells in training order from an h5ad file on disk.

    python -m dnar2mae.benchmarks.speed.bench_cells --cells 200000

Writes a sparse AnnData file of simulated counts to a temporary folder, reads it as a run would, and prints cells a
second and peak resident memory; appends rows to ``benchmarks/results/cells.csv``. One thread.
"""

import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import tyro

from dnar2mae.batch import batches_of
from dnar2mae.benchmarks.speed import rows
from dnar2mae.benchmarks.speed.bench_genome import peak_rss_mb, seconds
from dnar2mae.config import PretrainConfig
from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.registry import build_modality

RESULTS = Path(__file__).parents[1] / "results" / "cells.csv"
_PART = 5_000


@dataclass(frozen=True, kw_only=True)
class CellBenchSettings:
    """Time the reading of cells."""

    cells: int = 200_000
    """Cells in the file."""
    genes: int = 20_000
    """Genes in the file."""
    expressed: int = 1_000
    """Genes with a count in each cell."""
    read: int = 20_000
    """Cells to read in training order."""


def write_cells(path: Path, settings: CellBenchSettings) -> None:
    """Write a CSR h5ad file part by part; its counts are geometric and its genes uniform."""
    import anndata
    import pandas as pd
    from scipy.sparse import csr_matrix

    frames = [
        pd.DataFrame(index=pd.Index([f"{stem}{i}" for i in range(number)], dtype=object))
        for stem, number in (("cell", settings.cells), ("gene", settings.genes))
    ]
    empty = csr_matrix((settings.cells, settings.genes), dtype=np.float32)
    anndata.AnnData(empty, obs=frames[0], var=frames[1]).write_h5ad(path)
    rng, each = np.random.default_rng(0), settings.expressed
    with h5py.File(path, "r+") as file:
        group = file["X"]
        for name in ("data", "indices", "indptr"):
            del group[name]
        size = settings.cells * each
        group["indptr"] = np.arange(0, size + 1, each)
        data = group.create_dataset("data", (size,), np.float32, chunks=(1 << 16,))
        indices = group.create_dataset("indices", (size,), np.int32, chunks=(1 << 16,))
        step = settings.genes // each
        for start in range(0, settings.cells, _PART):
            number = min(_PART, settings.cells - start)
            part = slice(start * each, (start + number) * each)
            data[part] = rng.geometric(0.5, number * each)
            indices[part] = (np.arange(each) * step + rng.integers(0, step, (number, each))).ravel()


def main(settings: CellBenchSettings) -> int:
    """Write, read, print, record."""
    stamp = rows.stamp()
    about = {"cells": settings.cells, "genes": settings.genes, "counts_per_cell": settings.expressed}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.h5ad"
        write_cells(path, settings)
        about |= {"file_mb": round(path.stat().st_size / 1e6)}
        about |= {name: stamp[name] for name in ("commit", "date", "device")}
        for encoding in ("whole", "genes"):
            data = CellConfig(paths=(str(path),), memory_mb=0, encoding=encoding)
            modality = build_modality(PretrainConfig(modality="cell", data=data))
            opened = seconds(modality.open)
            source, start = modality.train, time.perf_counter()
            deque(batches_of(source, np.arange(settings.read), 32), maxlen=0)
            rates = {"open": settings.cells / opened, "batches": settings.read / (time.perf_counter() - start)}
            for what, rate in rates.items():
                row = {
                    "what": f"{what}, {encoding}",
                    "cells_per_s": f"{rate:.4g}",
                    "peak_rss_mb": f"{peak_rss_mb():.0f}",
                }
                rows.append(RESULTS, row | about)
                print(f"{row['what']:16} {rate:10,.0f} cells/s, {peak_rss_mb():6.0f} MB resident", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(CellBenchSettings)))
