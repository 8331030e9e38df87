"""Files of cells, read as rows of a sparse matrix; and AnnData files among them."""

import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from dnar2mae.errors import DataError, needing, raising

OBSM_KEY = "X_dnar2mae"


class CellFile(ABC):
    """A matrix of cells by genes, opened when rows are first read, and again in every process it is sent to.

    Parameters
    ----------
    path
        The file or folder.
    memory_mb
        A larger matrix stays on disk, where its format allows.
    """

    parts: tuple[Path, ...]
    """The files it consists of."""
    num_cells: int
    genes: np.ndarray
    """Name of each column, ``object``."""
    used: Bool[np.ndarray, " G"]
    """Columns that are genes (10x files may have antibodies and guides, too)."""
    in_memory: bool = True
    warned: bool = False
    """Whether a warning has named values that are not whole numbers."""

    def __init__(self, path: Path, memory_mb: int) -> None:
        self.path, self.parts, self.memory_mb = path, (path,), memory_mb
        self._matrix: Any = None
        self._handle: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out matrix and open file: the other process opens them itself."""
        return {**self.__dict__, "_matrix": None, "_handle": None}

    def rows(self, start: int, stop: int) -> Any:
        """Return consecutive cells as a SciPy CSR matrix of float32.

        Raises
        ------
        DataError
            If the file is damaged.
        """
        with raising(DataError, f"{self.path}: cannot be read", OSError, KeyError, ValueError, EOFError):
            if not self.in_memory:
                return self.read(start, stop)
            if self._matrix is None:
                self._matrix = self.read(0, self.num_cells)
        return self._matrix[start:stop]

    @abstractmethod
    def read(self, start: int, stop: int) -> Any:
        """Read consecutive cells from the file."""

    @abstractmethod
    def cell_names(self) -> np.ndarray:
        """Return the name of each cell, ``object``."""

    def column(self, name: str) -> np.ndarray:
        """Return the values of a column that describes cells, as text.

        Raises
        ------
        DataError
            If there is none of this name.
        """
        raise DataError(f"{self.path}: a 10x file has no columns, so none named {name}; save it as h5ad with one")


class Hdf5File(CellFile):
    """Base class of HDF5 files."""

    @property
    def handle(self) -> Any:
        """The open file.

        Raises
        ------
        DataError
            If it does not exist or is no HDF5 file.
        """
        if self._handle is None:
            h5py = need("h5py")
            with raising(DataError, f"{self.path}: not an HDF5 file that can be read", OSError):
                self._handle = h5py.File(self.path, "r")
        return self._handle

    def rows_of(self, group: Any, start: int, stop: int) -> Any:
        """Return rows of a sparse matrix whose ``indptr`` runs over cells."""
        from scipy.sparse import csr_matrix

        ends = group["indptr"][start : stop + 1].astype(np.int64)
        part = slice(ends[0], ends[-1])
        values = group["data"][part].astype(np.float32, copy=False)
        return csr_matrix((values, group["indices"][part], ends - ends[0]), shape=(stop - start, len(self.genes)))


class H5adFile(Hdf5File):
    """One matrix of an AnnData file: CSR and dense ones can stay on disk, CSC is read whole.

    Parameters
    ----------
    path, memory_mb
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

    def __init__(self, path: Path, memory_mb: int, layer: str, gene_names: str | None) -> None:
        super().__init__(path, memory_mb)
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
        self.format = (
            "dense" if is_dense else str(matrix.attrs.get("encoding-type", matrix.attrs.get("h5sparse_format")))
        )
        self.num_cells = int(
            matrix.shape[0] if is_dense else matrix.attrs.get("shape", matrix.attrs.get("h5sparse_shape"))[0]
        )
        size = matrix.size * 4 if is_dense else matrix["data"].size * 8  # bytes: float32, and an int32 index if sparse
        # rows of CSC lie all over the file: it is turned into CSR once, in memory
        self.in_memory = size <= memory_mb * 2**20 or self.format.startswith("csc")

    def read(self, start: int, stop: int) -> Any:
        """Read consecutive cells; the whole matrix where it is CSC."""
        from scipy.sparse import csc_matrix, csr_matrix

        matrix = self.handle[self.key]
        if self.format == "dense":
            return csr_matrix(matrix[start:stop].astype(np.float32, copy=False))
        if self.format.startswith("csr"):
            return self.rows_of(matrix, start, stop)
        parts = (matrix["data"][:].astype(np.float32, copy=False), matrix["indices"][:], matrix["indptr"][:])
        return csc_matrix(parts, shape=(self.num_cells, len(self.genes))).tocsr()[start:stop]

    def cell_names(self) -> np.ndarray:
        """Return the index of obs."""
        return self._frame("obs").index.astype(str).to_numpy(object)

    def column(self, name: str) -> np.ndarray:
        """Return the values of a column of obs, as text."""
        obs = self._frame("obs")
        if name not in obs.columns:
            raise DataError(f"{self.path}: obs has no column {name}; it has {', '.join(obs.columns) or 'none'}")
        return obs[name].astype(str).to_numpy(object)

    def _frame(self, key: str) -> pd.DataFrame:
        need("anndata")
        from anndata.io import read_elem

        content = read_elem(self.handle[key])
        if isinstance(content, pd.DataFrame):
            return content
        table = pd.DataFrame.from_records(content)  # anndata before 0.7
        table = table.map(lambda cell: cell.decode() if isinstance(cell, bytes) else cell)
        return table.set_index(table.columns[0])


def write_h5ad(vectors: Float[np.ndarray, "N D"], file: CellFile, out: Path) -> None:
    """Write an h5ad file with ``obsm["X_dnar2mae"]``.

    An h5ad input is copied as a file and the vectors are added to the copy, so that nothing else of it changes and it
    need not fit in memory; other input becomes an AnnData of its matrix, cell names and gene names.

    Parameters
    ----------
    vectors
        One row per cell.
    file
        Where the cells come from.
    out
        New file; never the input itself.
    """
    import anndata
    import h5py
    from anndata.io import write_elem

    if isinstance(file, H5adFile):
        shutil.copyfile(file.path, out)
        with h5py.File(out, "r+") as copy:
            if "obsm" not in copy:
                write_elem(copy, "obsm", {})
            write_elem(copy["obsm"], OBSM_KEY, vectors)
        return
    names = {"obs": file.cell_names(), "var": file.genes}
    frames = {key: pd.DataFrame(index=pd.Index(value.astype(object), dtype=object)) for key, value in names.items()}
    cells = anndata.AnnData(file.rows(0, file.num_cells), **frames, obsm={OBSM_KEY: vectors})
    cells.var_names_make_unique()  # two identifiers may share a symbol
    cells.write_h5ad(out)


def need(package: str) -> Any:
    """Import a package of the extra ``cells``.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    import importlib

    with needing("--modality cell", package, "dnar2mae[cells]"):
        return importlib.import_module(package)
