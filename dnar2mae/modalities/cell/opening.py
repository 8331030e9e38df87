"""Opening a file of cells by the reader for its format."""

from pathlib import Path

from dnar2mae.errors import DataError
from dnar2mae.modalities.cell.files import CellFile, H5adFile
from dnar2mae.modalities.cell.tenx import TenxFolder, TenxH5File


def open_cells(path: str | Path, *, layer: str, gene_names: str | None, memory_mb: int) -> CellFile:
    """Open a file of cells; its format follows from its name.

    Parameters
    ----------
    path
        .h5ad, .h5, or a folder.
    layer, gene_names, memory_mb
        See :class:`dnar2mae.modalities.cell.config.CellConfig`.

    Raises
    ------
    DataError
        If it is missing, of no known format, or damaged.
    ConfigError
        If the package anndata is missing.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_dir():
        return TenxFolder(path, memory_mb, gene_names)
    if path.suffix == ".h5ad":
        return H5adFile(path, memory_mb, layer, gene_names)
    if path.suffix in (".h5", ".hdf5"):
        return TenxH5File(path, memory_mb, gene_names)
    raise DataError(f"{path}: expected an .h5ad file, a 10x .h5 file or a 10x folder")
