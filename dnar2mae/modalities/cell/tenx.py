"""Files of Cell Ranger: HDF5, and folders of three text files; and the opening of a file of any format."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dnar2mae.errors import ConfigError, DataError, raising
from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.cell.files import CellFile, H5adFile, Hdf5File
from dnar2mae.storage.compressed import READ_ERRORS, open_maybe_gzip, open_maybe_gzip_text
from dnar2mae.storage.remote import local_path

_COLUMNS_10X = {None: "name", "gene_symbols": "name", "gene_ids": "id", "name": "name", "id": "id"}
_EXPRESSION = "Gene Expression"
_MATRIX_10X = {"barcodes", "data", "indices", "indptr", "shape"}


class TenxH5File(Hdf5File):
    """Feature-barcode matrix of Cell Ranger 2 and later.

    Parameters
    ----------
    path, memory_mb
        As for :class:`CellFile`.
    gene_names
        ``gene_symbols`` or ``gene_ids``.

    Raises
    ------
    DataError
        If it is not such a file.
    """

    def __init__(self, path: Path, memory_mb: int, gene_names: str | None) -> None:
        super().__init__(path, memory_mb)
        column = _column_10x(gene_names)
        # Cell Ranger 2 names the group by the genome; CellBender writes other groups beside it
        groups = [key for key, group in self.handle.items() if hasattr(group, "keys") and set(group) >= _MATRIX_10X]
        if len(groups) != 1:
            raise DataError(
                f"{path}: expected one matrix of 10x, a group with {', '.join(sorted(_MATRIX_10X))}; "
                + (f"got {', '.join(groups)}: save one of them by itself" if groups else "this is no 10x file")
            )
        self.key = groups[0]
        group = self.handle[self.key]
        features = group.get("features")
        names = group[{"name": "gene_names", "id": "genes"}[column]] if features is None else features[column]
        self.genes = self._texts(names)
        self.used = np.ones(len(self.genes), bool)
        if features is not None and "feature_type" in features:
            self.used = self._texts(features["feature_type"]) == _EXPRESSION
        self.num_cells = int(group["shape"][1])  # 10x matrices are genes by cells
        self.in_memory = group["data"].size * 8 <= memory_mb * 2**20

    def read(self, start: int, stop: int) -> Any:
        """Read consecutive cells."""
        return self.rows_of(self.handle[self.key], start, stop)

    def cell_names(self) -> np.ndarray:
        """Return the barcodes."""
        return self._texts(self.handle[self.key]["barcodes"])

    def _texts(self, dataset: Any) -> np.ndarray:
        """Read names: UTF-8, though strings of fixed length are declared as ASCII."""
        with raising(DataError, f"{self.path}: {dataset.name} cannot be read", OSError, ValueError, TypeError):
            return dataset.asstr("utf-8")[:]


class TenxFolder(CellFile):
    """A folder with matrix.mtx, barcodes.tsv, and features.tsv or genes.tsv, each plain or gzip; read whole.

    Parameters
    ----------
    path, memory_mb
        As for :class:`CellFile`.
    gene_names
        ``gene_symbols`` or ``gene_ids``.

    Raises
    ------
    DataError
        If one of the files is missing or damaged, or they do not agree.
    """

    def __init__(self, path: Path, memory_mb: int, gene_names: str | None) -> None:
        super().__init__(path, memory_mb)
        self.matrix_file, self.barcode_file = self._find("matrix.mtx"), self._find("barcodes.tsv")
        feature_file = self._find("features.tsv", "genes.tsv")
        self.parts = (self.matrix_file, self.barcode_file, feature_file)
        features = self._table(feature_file)
        column = 0 if _column_10x(gene_names) == "id" else min(1, features.shape[1] - 1)  # one column: identifiers only
        self.genes = features[column].to_numpy(object)
        self.used = np.ones(len(self.genes), bool) if features.shape[1] < 3 else (features[2] == _EXPRESSION).to_numpy()
        self.num_cells = len(self.cell_names())

    def read(self, start: int, stop: int) -> Any:
        """Read the matrix."""
        from scipy.io import mmread

        with open_maybe_gzip(self.matrix_file) as file:
            matrix = mmread(file)
        if matrix.shape != (len(self.genes), self.num_cells):
            raise ValueError(
                f"matrix of {matrix.shape[0]} x {matrix.shape[1]}, but {len(self.genes)} features "
                f"and {self.num_cells} barcodes"
            )
        return matrix.T.tocsr().astype(np.float32)[start:stop]

    def cell_names(self) -> np.ndarray:
        """Return the barcodes."""
        return self._table(self.barcode_file)[0].to_numpy(object)

    def _find(self, *names: str) -> Path:
        for name in names:
            for path in (self.path / name, self.path / f"{name}.gz"):
                if path.is_file():
                    return path
        raise DataError(f"{self.path}: a 10x folder needs {' or '.join(names)} (plain or .gz), which is missing")

    def _table(self, path: Path) -> pd.DataFrame:
        with raising(DataError, f"{path}: cannot be read", *READ_ERRORS, UnicodeDecodeError):
            with open_maybe_gzip_text(path) as file:
                text = file.read()
        rows = [line.split("\t") for line in text.split("\n") if line]
        if not rows:
            raise DataError(f"{path}: empty")
        return pd.DataFrame(rows)


def open_cells(path: str | Path, config: CellConfig) -> CellFile:
    """Open a file of cells; its format follows from its name.

    Parameters
    ----------
    path
        .h5ad, .h5, or a folder.
    config
        Layer, names of genes, and memory.

    Raises
    ------
    DataError
        If it is missing, of no known format, or damaged.
    ConfigError
        If the package anndata is missing.
    """
    path = local_path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_dir():
        return TenxFolder(path, config.memory_mb, config.gene_names)
    if path.suffix == ".h5ad":
        return H5adFile(path, config.memory_mb, config.layer, config.gene_names)
    if path.suffix in (".h5", ".hdf5"):
        return TenxH5File(path, config.memory_mb, config.gene_names)
    raise DataError(f"{path}: expected an .h5ad file, a 10x .h5 file or a 10x folder")


def _column_10x(gene_names: str | None) -> str:
    if gene_names not in _COLUMNS_10X:
        raise ConfigError(f"--data.gene-names must be gene_symbols or gene_ids for 10x files, got {gene_names}")
    return _COLUMNS_10X[gene_names]
