"""Readers, gene vocabularies, and what bad input says."""

import gzip
import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, DataError
from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.cell.tenx import open_cells
from dnar2mae.modalities.registry import build_modality
from tests.modalities.kinds import cell_counts, write_cells

h5py = pytest.importorskip("h5py")
COUNTS, KIND = cell_counts(20, 12)
GENES = [f"gene{i}" for i in range(12)]


def cells(path, layer="X", gene_names=None, memory_mb=1024):
    return open_cells(path, CellConfig(layer=layer, gene_names=gene_names, memory_mb=memory_mb))


def modality(*paths, **settings):
    return build_modality(PretrainConfig(modality="cell", data=CellConfig(paths=tuple(map(str, paths)), **settings)))


def write_folder(folder, counts, names=("features.tsv", "barcodes.tsv", "matrix.mtx"), zipped=False, kinds=None):
    from io import BytesIO

    from scipy.io import mmwrite

    folder.mkdir()
    buffer = BytesIO()
    mmwrite(buffer, sp.coo_matrix(counts.T.astype(int)))
    kinds = kinds or ["Gene Expression"] * counts.shape[1]
    lines = [f"ENSG{i}\tgene{i}\t{kind}" for i, kind in enumerate(kinds)]
    if names[0] == "genes.tsv":
        lines = [line.rsplit("\t", 1)[0] for line in lines]
    barcodes = "".join(f"cell{i}\n" for i in range(len(counts)))
    for name, content in zip(names, ("\n".join(lines).encode(), barcodes.encode(), buffer.getvalue()), strict=True):
        path = folder / (name + ".gz" * zipped)
        path.write_bytes(gzip.compress(content) if zipped else content)
    return folder


def write_10x(path, counts, version=3):
    matrix = sp.csr_matrix(counts.astype(np.int32))
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix" if version == 3 else "GRCh38")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        group["shape"] = np.array(counts.shape[::-1])
        group["barcodes"] = [f"cell{i}".encode() for i in range(len(counts))]
        ids, names = ([f"{stem}{i}".encode() for i in range(counts.shape[1])] for stem in ("ENSG", "gene"))
        if version == 2:
            group["genes"], group["gene_names"] = ids, names
        else:
            features = group.create_group("features")
            features["id"], features["name"] = ids, names
            features["feature_type"] = [b"Gene Expression"] * (counts.shape[1] - 1) + [b"Antibody Capture"]
    return path


FORMS = {
    "dense": lambda folder, x: write_cells(folder / "c.h5ad", x),
    "csr": lambda folder, x: write_cells(folder / "c.h5ad", x, form=sp.csr_matrix),
    "csc": lambda folder, x: write_cells(folder / "c.h5ad", x, form=sp.csc_matrix),
    "folder": lambda folder, x: write_folder(folder / "c", x),
    "folder gz": lambda folder, x: write_folder(folder / "c", x, zipped=True),
    "folder v2": lambda folder, x: write_folder(folder / "c", x, ("genes.tsv", "barcodes.tsv", "matrix.mtx")),
    "h5": lambda folder, x: write_10x(folder / "c.h5", x),
    "h5 v2": lambda folder, x: write_10x(folder / "c.h5", x, 2),
}


@pytest.mark.parametrize("memory_mb", [1024, 0])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(tmp_path, form, memory_mb):
    file = cells(FORMS[form](tmp_path, COUNTS), memory_mb=memory_mb)
    assert file.num_cells == 20
    assert file.genes.tolist() == GENES
    assert file.cell_names()[3] == "cell3"
    for rows in (file.rows(3, 17), pickle.loads(pickle.dumps(file)).rows(3, 17)):
        np.testing.assert_array_equal(rows.toarray(), COUNTS[3:17])
    on_disk = memory_mb == 0 and form in ("dense", "csr", "h5", "h5 v2")
    assert file.in_memory != on_disk
    assert file.used.tolist() == [True] * 11 + [form != "h5"]


def test_layers_and_columns(tmp_path):
    import anndata
    import pandas as pd

    index = pd.Index(GENES, dtype=object)
    ids = np.array([f"ENSG{i}" for i in range(12)], object)
    whole = anndata.AnnData(COUNTS, var=pd.DataFrame({"gene_ids": ids}, index=index), layers={"counts": COUNTS + 1})
    whole.obs_names = whole.obs_names.astype(object)
    whole.raw = whole
    small = whole[:, 2:5].copy()
    small.X = small.X * 2
    small.write_h5ad(tmp_path / "c.h5ad")
    np.testing.assert_array_equal(cells(tmp_path / "c.h5ad").rows(0, 20).toarray(), COUNTS[:, 2:5] * 2)
    np.testing.assert_array_equal(cells(tmp_path / "c.h5ad", "counts").rows(0, 20).toarray(), COUNTS[:, 2:5] + 1)
    raw = cells(tmp_path / "c.h5ad", "raw", "gene_ids")
    np.testing.assert_array_equal(raw.rows(0, 20).toarray(), COUNTS)
    assert raw.genes[11] == "ENSG11"
    with pytest.raises(DataError, match=r"--data.layer spliced is not there; it has X, raw, counts"):
        cells(tmp_path / "c.h5ad", "spliced")
    with pytest.raises(DataError, match="var has no column symbol; it has gene_ids"):
        cells(tmp_path / "c.h5ad", gene_names="symbol")


def test_files_share_one_vocabulary(tmp_path):
    a = write_cells(tmp_path / "a.h5ad", COUNTS[:, :8], GENES[:8])
    b = write_folder(tmp_path / "b", COUNTS)
    (tmp_path / "list.txt").write_text("gene11 x\ngene0\n\nother\ngene1\n")
    settings = {"encoding": "whole", "normalisation": "counts"}
    both = modality(a, b, **settings)
    assert both.genes == tuple(GENES)
    rows = both.train.store.rows(np.array([25, 3]))
    np.testing.assert_array_equal(rows.values.toarray(), [COUNTS[5], [*COUNTS[3, :8], 0, 0, 0, 0]])
    np.testing.assert_array_equal(rows.present[1], np.arange(12) < 8)
    np.testing.assert_array_equal(rows.library, [COUNTS[5].sum(), COUNTS[3, :8].sum()])
    assert [f["genes_in_vocabulary"] for f in both.report()["files"].values()] == [8, 12]
    assert modality(a, b, genes="intersection", **settings).genes == tuple(GENES[:8])
    listed = modality(b, genes=str(tmp_path / "list.txt"), **settings)
    assert listed.genes == ("gene11", "gene0", "other", "gene1")
    np.testing.assert_array_equal(
        listed.train.store.rows(np.array([2])).values.toarray()[0], [*COUNTS[2, [11, 0]], 0, COUNTS[2, 1]]
    )
    with pytest.warns(UserWarning, match="only 25.0% of genes in common with the vocabulary"):
        modality(
            write_cells(tmp_path / "c.h5ad", COUNTS[:, :1] + 1, ["gene0"]), genes=str(tmp_path / "list.txt")
        ).open()
    ids = modality(b, gene_names="gene_ids")
    assert ids.genes[0] == "ENSG0"
    with pytest.raises(
        DataError, match=r"no gene in common with the other files; it names gene0.*check --data.gene-names"
    ):
        modality(a, write_cells(tmp_path / "d.h5ad", COUNTS, [f"X{i}" for i in range(12)])).open()


def test_duplicate_genes_are_summed_if_they_are_counts(tmp_path):
    names = ["twice", "twice", *GENES[2:]]
    path = write_folder(tmp_path / "c", COUNTS)
    text = (path / "features.tsv").read_text().replace("gene0\t", "twice\t").replace("gene1\t", "twice\t")
    (path / "features.tsv").write_text(text)
    found = modality(path, normalisation="counts", encoding="whole")
    with pytest.warns(UserWarning, match=r"1 genes occur more than once \(twice\); their counts are summed"):
        found.open()
    values = found.train.store.rows(np.arange(20)).values.toarray()
    assert found.genes == tuple(names[1:])
    np.testing.assert_array_equal(values[:, 0], COUNTS[:, :2].sum(1))
    with pytest.raises(DataError, match=r"\(twice\); normalised values cannot be summed"):
        modality(path, normalisation="none").open()


def _with(value):
    counts = COUNTS.copy()
    counts[4, 7] = value
    return counts


BAD_VALUES = [
    (
        -1.5,
        "log1p_cp10k",
        r"X holds -1.5 \(cell cell4, gene gene7\), but --data.normalisation log1p_cp10k needs counts",
    ),
    (
        -1,
        "counts",
        r"X holds -1 \(cell cell4, gene gene7\).*name a layer of counts by --data.layer.*normalisation none",
    ),
    (0.5, "counts", r"X holds 0.5 \(cell cell4, gene gene7\), but --data.normalisation counts needs whole numbers"),
    (np.nan, "none", r"X holds nan \(cell cell4, gene gene7\); values must be finite"),
    (np.inf, "log1p_cp10k", r"X holds inf .*; values must be finite"),
]


@pytest.mark.parametrize(("value", "normalisation", "match"), BAD_VALUES)
@pytest.mark.parametrize("memory_mb", [0, 1024])
def test_bad_values_say_where(tmp_path, value, normalisation, match, memory_mb):
    path = write_cells(tmp_path / "c.h5ad", _with(value), form=sp.csr_matrix)
    with pytest.raises(DataError, match=match):
        modality(path, normalisation=normalisation, memory_mb=memory_mb).open()


def test_values_that_are_no_counts(tmp_path):
    path = write_cells(tmp_path / "c.h5ad", _with(0.5))
    with pytest.warns(UserWarning, match="values are not whole numbers; if they are no counts, name a layer") as seen:
        modality(path).open()
    assert len(seen) == 1
    scaled = modality(write_cells(tmp_path / "s.h5ad", _with(-2)), normalisation="none", encoding="whole")
    np.testing.assert_array_equal(scaled.train.store.rows(np.arange(20)).values.toarray(), _with(-2))


def test_cells_without_counts_are_left_out(tmp_path):
    counts = COUNTS.copy()
    counts[[2, 9]] = 0
    found = modality(write_cells(tmp_path / "c.h5ad", counts))
    with pytest.warns(UserWarning, match="2 of 20 cells hold no count and are left out"):
        found.open()
    assert not set(found.train.cells) & {2, 9}
    assert found.report()["cells_without_counts"] == 2
    assert len(found.train.cells) + len(found.validation) == 18
    with pytest.raises(DataError, match=r"cells with counts are needed to train on and to hold out, got 0 and 0"):
        with pytest.warns(UserWarning, match="20 of 20"):
            modality(write_cells(tmp_path / "z.h5ad", COUNTS * 0)).open()


def test_bad_files(tmp_path):
    def refused(match, path, kind=DataError, **settings):
        with pytest.raises(kind, match=match):
            modality(path, **settings).open()

    (tmp_path / "text.h5ad").write_text("no HDF5")
    refused(r"text.h5ad: not an HDF5 file that can be read", tmp_path / "text.h5ad")
    refused(r"no.h5ad: no such file or folder", tmp_path / "no.h5ad")
    (tmp_path / "c.csv").write_text("a,b")
    refused(r"c.csv: expected an .h5ad file, a 10x .h5 file or a 10x folder", tmp_path / "c.csv")
    tenx = write_10x(tmp_path / "c.h5", COUNTS)
    refused(r"c.h5ad: not an h5ad file: it has no obs and var, but matrix", tenx.rename(tmp_path / "c.h5ad"))
    h5ad = write_cells(tmp_path / "d.h5ad", COUNTS)
    refused(r"d.h5: expected one matrix of 10x, a group with barcodes", h5ad.rename(tmp_path / "d.h5"))
    folder = write_folder(tmp_path / "f", COUNTS)
    refused("--data.gene-names must be gene_symbols or gene_ids for 10x", folder, ConfigError, gene_names="symbol")
    refused(
        "a 10x file has no columns, so none named donor", folder, validation_column="donor", validation_values=("a",)
    )
    (folder / "barcodes.tsv").write_text("one\ntwo\n")
    refused(r"f: cannot be read: matrix of 12 x 20, but 12 features and 2 barcodes", folder)
    (folder / "barcodes.tsv").write_text("")
    refused("barcodes.tsv: empty", folder)
    (folder / "features.tsv").unlink()
    refused(r"f: a 10x folder needs features.tsv or genes.tsv \(plain or .gz\), which is missing", folder)
    write_cells(tmp_path / "g.h5ad", COUNTS)
    refused("training needs two cells or more, one to hold out, got 1", write_cells(tmp_path / "e.h5ad", COUNTS[:1]))
    refused("--data.genes must be union, intersection or a readable", tmp_path / "g.h5ad", ConfigError, genes="no.txt")
    with pytest.raises(ConfigError, match="no cells given: name at least one"):
        modality().open()


def test_a_damaged_file(tmp_path):
    path = write_cells(tmp_path / "c.h5ad", COUNTS, form=sp.csr_matrix)
    with h5py.File(path, "r+") as file:
        del file["X/indices"]
    with pytest.raises(DataError, match="c.h5ad: cannot be read"):
        modality(path).open()


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    import sys

    path = write_cells(tmp_path / "c.h5ad", COUNTS)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r"--modality cell needs the package h5py: pip install 'dnar2mae\[cells\]'"):
        modality(path).open()


BAD_SETTINGS = [
    ({"num_genes": 0}, "--data.num-genes must be at least 1, got 0"),
    ({"zero_share": 1.0}, r"--data.zero-share must be in \[0, 1\), got 1.0"),
    ({"validation_share": 0.0}, r"--data.validation-share must be in \(0, 0.5\], got 0.0"),
    ({"validation_column": "x"}, "--data.validation-values must be given with --data.validation-column"),
    ({"memory_mb": -1}, "--data.memory-mb must be at least 0, got -1"),
]


@pytest.mark.parametrize(("settings", "match"), BAD_SETTINGS)
def test_bad_settings(settings, match):
    with pytest.raises(ConfigError, match=match):
        replace(CellConfig(), **settings)


def test_the_three_files_of_a_10x_folder_are_its_data(tmp_path):
    folder = write_folder(tmp_path / "f", cell_counts(20, 12)[0])
    before = modality(folder).fingerprint()
    (folder / "web_summary.html").write_text("no data")
    folder = folder.rename(tmp_path / "moved")
    assert modality(folder).fingerprint() == before
    for name in ("features.tsv", "barcodes.tsv", "matrix.mtx"):
        content = (folder / name).read_text()
        (folder / name).write_text(content + "\n")
        assert modality(folder).fingerprint() != before
        (folder / name).write_text(content)


def test_groups_beside_the_matrix_of_10x(tmp_path):
    path = write_10x(tmp_path / "c.h5", COUNTS)
    with h5py.File(path, "r+") as file:
        file.create_group("droplet_latents")  # of CellBender, before "matrix" in the order of names
    np.testing.assert_array_equal(cells(path).rows(0, 20).toarray(), COUNTS)
    path = write_10x(tmp_path / "two.h5", COUNTS, 2)
    with h5py.File(path, "r+") as file:
        file.copy("GRCh38", "mm10")
    with pytest.raises(DataError, match="expected one matrix of 10x, .* got GRCh38, mm10: save one of them by itself"):
        cells(path)
