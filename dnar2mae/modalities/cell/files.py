"""Files of cells: AnnData, 10x HDF5 and 10x folders, all read as rows of a sparse matrix."""

import gzip
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from dnar2mae.errors import ConfigError, DataError

_COLUMNS_10X = {None: "name", "gene_symbols": "name", "gene_ids": "id", "name": "name", "id": "id"}
_EXPRESSION = "Gene Expression"


class CellFile(ABC):
    """Cells by genes. Opened when rows are asked for, and again in every process it is sent to.

    Parameters
    ----------
    path
        The file or folder.
    in_memory_mb
        A larger matrix stays on disk, where its form allows.
    """

    num_cells: int
    genes: np.ndarray
    """Name of each column, ``object``."""
    used: Bool[np.ndarray, " G"]
    """Columns that are genes (10x files may hold antibodies and guides, too)."""
    in_memory: bool = True
    warned: bool = False
    """Whether the user knows that values are not whole numbers."""

    def __init__(self, path: Path, in_memory_mb: int) -> None:
        self.path, self.in_memory_mb = path, in_memory_mb
        self._matrix: Any = None
        self._handle: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave matrix and open file behind: the other process opens them itself."""
        return {**self.__dict__, "_matrix": None, "_handle": None}

    def rows(self, start: int, stop: int) -> Any:
        """Consecutive cells as a SciPy CSR matrix of float32.

        Raises
        ------
        DataError
            If the file is damaged.
        """
        try:
            if not self.in_memory:
                return self.read(start, stop)
            if self._matrix is None:
                self._matrix = self.read(0, self.num_cells)
        except (OSError, KeyError, ValueError, EOFError) as error:
            raise DataError(f"{self.path}: cannot be read: {_one_line(error)}") from error
        return self._matrix[start:stop]

    @abstractmethod
    def read(self, start: int, stop: int) -> Any:
        """Read consecutive cells from the file."""

    @abstractmethod
    def cell_names(self) -> np.ndarray:
        """Name of each cell, ``object``."""

    def column(self, name: str) -> np.ndarray:
        """Values of a column that describes cells, as text.

        Raises
        ------
        DataError
            If there is none of this name.
        """
        raise DataError(f"{self.path}: a 10x file has no columns, so none named {name}; save it as h5ad with one")


class _Hdf5File(CellFile):
    """What HDF5 files share."""

    @property
    def handle(self) -> Any:
        """The open file.

        Raises
        ------
        DataError
            If it does not exist or is no HDF5 file.
        """
        if self._handle is None:
            h5py = _need("h5py")
            try:
                self._handle = h5py.File(self.path, "r")
            except OSError as error:
                raise DataError(f"{self.path}: not an HDF5 file that can be read: {_one_line(error)}") from error
        return self._handle

    def _rows_of(self, group: Any, start: int, stop: int) -> Any:
        """Rows of a sparse matrix whose ``indptr`` runs over cells."""
        from scipy.sparse import csr_matrix

        ends = group["indptr"][start : stop + 1].astype(np.int64)
        part = slice(ends[0], ends[-1])
        values = group["data"][part].astype(np.float32, copy=False)
        return csr_matrix((values, group["indices"][part], ends - ends[0]), shape=(stop - start, len(self.genes)))


class H5adFile(_Hdf5File):
    """One matrix of an AnnData file: CSR and dense ones can stay on disk, CSC is read whole.

    Parameters
    ----------
    path, in_memory_mb
        As for :class:`CellFile`.
    layer
        ``X``, ``raw``, or the name of a layer.
    gene_names
        Column of ``var``; by default its index.

    Raises
    ------
    DataError
        If it is no h5ad file, or the layer or the column is missing.
    """

    def __init__(self, path: Path, in_memory_mb: int, layer: str, gene_names: str | None) -> None:
        super().__init__(path, in_memory_mb)
        file = self.handle
        if "obs" not in file or "var" not in file:
            raise DataError(f"{path}: not an h5ad file: it has no obs and var, but {', '.join(file) or 'nothing'}")
        self.key = {"X": "X", "raw": "raw/X"}.get(layer, f"layers/{layer}")
        if self.key not in file:
            there = [name for name, key in (("X", "X"), ("raw", "raw/X")) if key in file] + list(file.get("layers", ()))
            raise DataError(f"{path}: --data.layer {layer} is not there; it has {', '.join(there) or 'no matrix'}")
        matrix, var = file[self.key], self._frame("raw/var" if layer == "raw" else "var")
        if gene_names is not None and gene_names not in var.columns:
            raise DataError(f"{path}: var has no column {gene_names}; it has {', '.join(var.columns) or 'none'}")
        names = var.index if gene_names is None else var[gene_names]
        self.genes = names.astype(str).to_numpy(object)
        self.used = np.ones(len(self.genes), bool)
        is_dense = not hasattr(matrix, "keys")
        self.form = "dense" if is_dense else str(matrix.attrs.get("encoding-type", matrix.attrs.get("h5sparse_format")))
        self.num_cells = int(
            matrix.shape[0] if is_dense else matrix.attrs.get("shape", matrix.attrs.get("h5sparse_shape"))[0]
        )
        size = matrix.size * 4 if is_dense else matrix["data"].size * 8
        self.in_memory = size <= in_memory_mb * 2**20 or self.form.startswith("csc")

    def read(self, start: int, stop: int) -> Any:
        """Read consecutive cells; the whole matrix where it is CSC."""
        from scipy.sparse import csc_matrix, csr_matrix

        matrix = self.handle[self.key]
        if self.form == "dense":
            return csr_matrix(matrix[start:stop].astype(np.float32, copy=False))
        if self.form.startswith("csr"):
            return self._rows_of(matrix, start, stop)
        parts = (matrix["data"][:].astype(np.float32, copy=False), matrix["indices"][:], matrix["indptr"][:])
        return csc_matrix(parts, shape=(self.num_cells, len(self.genes))).tocsr()[start:stop]

    def cell_names(self) -> np.ndarray:
        """Index of obs."""
        return self._frame("obs").index.astype(str).to_numpy(object)

    def column(self, name: str) -> np.ndarray:
        """Values of a column of obs, as text."""
        obs = self._frame("obs")
        if name not in obs.columns:
            raise DataError(f"{self.path}: obs has no column {name}; it has {', '.join(obs.columns) or 'none'}")
        return obs[name].astype(str).to_numpy(object)

    def _frame(self, key: str) -> pd.DataFrame:
        _need("anndata")
        from anndata.io import read_elem

        found = read_elem(self.handle[key])
        if isinstance(found, pd.DataFrame):
            return found
        table = pd.DataFrame.from_records(found)  # anndata before 0.7
        table = table.map(lambda cell: cell.decode() if isinstance(cell, bytes) else cell)
        return table.set_index(table.columns[0])


class TenxH5File(_Hdf5File):
    """Feature-barcode matrix of Cell Ranger 2 and later.

    Parameters
    ----------
    path, in_memory_mb
        As for :class:`CellFile`.
    gene_names
        ``gene_symbols`` or ``gene_ids``.

    Raises
    ------
    DataError
        If it is no such file.
    """

    def __init__(self, path: Path, in_memory_mb: int, gene_names: str | None) -> None:
        super().__init__(path, in_memory_mb)
        self.key, column = next(iter(self.handle), "matrix"), _column_10x(gene_names)
        group = self.handle.get(self.key)
        if not hasattr(group, "keys") or not {"barcodes", "data", "indices", "indptr", "shape"} <= set(group):
            raise DataError(f"{path}: not a 10x file: no group with barcodes, data, indices, indptr and shape")
        features = group.get("features")
        names = group[{"name": "gene_names", "id": "genes"}[column]] if features is None else features[column]
        self.genes = names.asstr()[:]
        self.used = np.ones(len(self.genes), bool)
        if features is not None and "feature_type" in features:
            self.used = features["feature_type"].asstr()[:] == _EXPRESSION
        self.num_cells = int(group["shape"][1])
        self.in_memory = group["data"].size * 8 <= in_memory_mb * 2**20

    def read(self, start: int, stop: int) -> Any:
        """Read consecutive cells."""
        return self._rows_of(self.handle[self.key], start, stop)

    def cell_names(self) -> np.ndarray:
        """Barcodes."""
        return self.handle[self.key]["barcodes"].asstr()[:]


class TenxFolder(CellFile):
    """A folder with matrix.mtx, barcodes.tsv, and features.tsv or genes.tsv, each plain or gzip; read whole.

    Parameters
    ----------
    path, in_memory_mb
        As for :class:`CellFile`.
    gene_names
        ``gene_symbols`` or ``gene_ids``.

    Raises
    ------
    DataError
        If one of the files is missing or damaged, or they do not agree.
    """

    def __init__(self, path: Path, in_memory_mb: int, gene_names: str | None) -> None:
        super().__init__(path, in_memory_mb)
        self.matrix_file, self.barcode_file = self._find("matrix.mtx"), self._find("barcodes.tsv")
        features = self._table(self._find("features.tsv", "genes.tsv"))
        column = 0 if _column_10x(gene_names) == "id" else min(1, features.shape[1] - 1)
        self.genes = features[column].to_numpy(object)
        self.used = np.ones(len(self.genes), bool) if features.shape[1] < 3 else (features[2] == _EXPRESSION).to_numpy()
        self.num_cells = len(self.cell_names())

    def read(self, start: int, stop: int) -> Any:
        """Read the matrix."""
        from scipy.io import mmread

        matrix = mmread(self.matrix_file)
        if matrix.shape != (len(self.genes), self.num_cells):
            raise ValueError(
                f"matrix of {matrix.shape[0]} x {matrix.shape[1]}, but {len(self.genes)} features "
                f"and {self.num_cells} barcodes"
            )
        return matrix.T.tocsr().astype(np.float32)[start:stop]

    def cell_names(self) -> np.ndarray:
        """Barcodes."""
        return self._table(self.barcode_file)[0].to_numpy(object)

    def _find(self, *names: str) -> Path:
        for name in names:
            for path in (self.path / name, self.path / f"{name}.gz"):
                if path.is_file():
                    return path
        raise DataError(f"{self.path}: a 10x folder needs {' or '.join(names)} (plain or .gz), which is missing")

    def _table(self, path: Path) -> pd.DataFrame:
        try:
            content = path.read_bytes()
            text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode()
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read: {_one_line(error)}") from error
        rows = [line.split("\t") for line in text.splitlines() if line]
        if not rows:
            raise DataError(f"{path}: empty")
        return pd.DataFrame(rows)


def open_cells(path: str | Path, *, layer: str, gene_names: str | None, in_memory_mb: int) -> CellFile:
    """Open a file of cells; its kind follows from its name.

    Parameters
    ----------
    path
        .h5ad, .h5, or a folder.
    layer, gene_names, in_memory_mb
        See :class:`dnar2mae.modalities.cell.config.CellConfig`.

    Raises
    ------
    DataError
        If it is missing, of no known kind, or damaged.
    ConfigError
        If the package anndata is missing.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_dir():
        return TenxFolder(path, in_memory_mb, gene_names)
    if path.suffix == ".h5ad":
        return H5adFile(path, in_memory_mb, layer, gene_names)
    if path.suffix in (".h5", ".hdf5"):
        return TenxH5File(path, in_memory_mb, gene_names)
    raise DataError(f"{path}: expected an .h5ad file, a 10x .h5 file or a 10x folder")


def _column_10x(gene_names: str | None) -> str:
    if gene_names not in _COLUMNS_10X:
        raise ConfigError(f"--data.gene-names must be gene_symbols or gene_ids for 10x files, got {gene_names}")
    return _COLUMNS_10X[gene_names]


def _need(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(f"--modality cell needs the package {package}: pip install 'dnar2mae[cells]'") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
