"""Matrices of cells as other tools write them, read as anndata (and scanpy, where it is installed) reads them."""

import shutil

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.cell.store import CellStore, choose_genes
from dnar2mae.modalities.cell.tenx import open_cells

from .cell_files import DTYPES, EXPRESSION, FORMS, cells, ways_of_folders, write_10x_h5, write_folder, write_h5ad

anndata = pytest.importorskip("anndata")
SHARED_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=max(settings.default.max_examples * 3 // 10, 1),
)
pytestmark = pytest.mark.filterwarnings(
    "ignore:Variable names are not unique", "ignore:.*genes occur more than once", "ignore:Observation names"
)


def read(path, memory_mb=1024, **settings):
    return open_cells(path, CellConfig(paths=(str(path),), memory_mb=memory_mb, **settings))


def whole(file):
    """All rows, and the same in two parts."""
    rows = file.rows(0, file.num_cells).toarray()
    middle = file.num_cells // 2
    parts = [file.rows(0, middle).toarray(), file.rows(middle, file.num_cells).toarray()]
    np.testing.assert_array_equal(np.concatenate(parts), rows)
    return rows


def fresh(path):
    """A path without a file, for a reader of an earlier example may still have it open."""
    path.unlink(missing_ok=True)
    return path


def dense(matrix):
    return np.asarray(matrix.todense() if sp.issparse(matrix) else matrix, np.float32)


@SHARED_FOLDER
@given(
    data=cells(),
    forms=st.tuples(*[st.sampled_from(FORMS)] * 3),
    dtype=st.sampled_from(DTYPES),
    compression=st.sampled_from([None, "gzip", "lzf"]),
    has_raw=st.booleans(),
    memory_mb=st.sampled_from([0, 1024]),
)
def test_h5ad(tmp_path, data, forms, dtype, compression, has_raw, memory_mb):
    path = fresh(tmp_path / "c.h5ad")
    write_h5ad(path, data, forms=forms, dtype=dtype, compression=compression, has_raw=has_raw)
    theirs = anndata.read_h5ad(path)
    layers = {"X": theirs.X, "counts": theirs.layers["counts"], **({"raw": theirs.raw.X} if has_raw else {})}
    for layer, matrix in layers.items():
        var = theirs.raw.var if layer == "raw" else theirs.var
        file = read(path, memory_mb, layer=layer)
        np.testing.assert_array_equal(whole(file), dense(matrix))
        assert file.genes.tolist() == list(var.index)
        assert read(path, layer=layer, gene_names="gene_ids").genes.tolist() == list(var["gene_ids"])
        assert file.cell_names().tolist() == list(theirs.obs_names)
    assert file.column("donor").tolist() == list(theirs.obs["donor"].astype(str))


@SHARED_FOLDER
@given(data=cells(), version=st.sampled_from([2, 3]), more=st.booleans(), memory_mb=st.sampled_from([0, 1024]))
def test_10x_h5(tmp_path, data, version, more, memory_mb):
    path = write_10x_h5(fresh(tmp_path / "c.h5"), data, version=version, more_groups=more)
    for names, genes in ((None, data.genes), ("gene_symbols", data.genes), ("gene_ids", data.ids)):
        file = read(path, memory_mb, gene_names=names)
        np.testing.assert_array_equal(whole(file), data.counts.astype(np.float32))
        assert (file.genes.tolist(), file.cell_names().tolist()) == (genes, data.barcodes)
        assert file.used.tolist() == [version == 2 or kind == EXPRESSION for kind in data.kinds]


@SHARED_FOLDER
@given(data=cells(), way=ways_of_folders())
def test_10x_folder(tmp_path, data, way):
    folder = tmp_path / "c"
    shutil.rmtree(folder, ignore_errors=True)
    expected = write_folder(folder, data, way)
    for names, genes in ((None, data.genes), ("gene_ids", data.ids)):
        file = read(folder, gene_names=names)
        np.testing.assert_array_equal(whole(file), expected)
        assert (file.genes.tolist(), file.cell_names().tolist()) == (genes, data.barcodes)
        assert file.used.tolist() == [way["version"] == 2 or kind == EXPRESSION for kind in data.kinds]
    theirs = anndata.io.read_mtx(folder / ("matrix.mtx" + ".gz" * way["zipped"]))
    np.testing.assert_array_equal(dense(theirs.X).T, expected)


@SHARED_FOLDER
@given(data=cells(), way=ways_of_folders())
def test_scanpy_reads_the_same_folder(tmp_path, data, way):
    scanpy = pytest.importorskip("scanpy")
    folder = tmp_path / "c"
    shutil.rmtree(folder, ignore_errors=True)
    write_folder(folder, data, way | {"version": 3, "zipped": True})
    theirs, file = (
        scanpy.read_10x_mtx(folder, var_names="gene_ids", gex_only=False),
        read(folder, gene_names="gene_ids"),
    )
    np.testing.assert_array_equal(whole(file), dense(theirs.X))
    assert (file.genes.tolist(), file.cell_names().tolist()) == (list(theirs.var_names), list(theirs.obs_names))


@SHARED_FOLDER
@given(data=cells(), form=st.sampled_from(FORMS))
def test_genes_of_one_name_are_summed(tmp_path, data, form):
    path = write_h5ad(
        fresh(tmp_path / "c.h5ad"), data, forms=(form,) * 3, dtype="float32", compression=None, has_raw=False
    )
    file = read(path)
    genes = choose_genes([file], "union")
    assert genes == list(dict.fromkeys(data.genes))
    rows = CellStore([file], genes, "counts").rows(np.arange(file.num_cells))
    expected = [[row[np.array(data.genes) == gene].sum() for gene in genes] for row in data.counts]
    np.testing.assert_array_equal(rows.values.toarray(), expected)
    np.testing.assert_array_equal(rows.library, data.counts.sum(1))
