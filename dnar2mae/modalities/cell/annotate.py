"""Writing embeddings beside their cells, where scanpy looks for them."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from dnar2mae.modalities.cell.files import CellFile, H5adFile

OBSM_KEY = "X_dnar2mae"


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
