"""Matrices of cells written as h5ad, 10x HDF5 and 10x folders, in the ways that tools write them."""

import gzip
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from hypothesis import strategies as st

FORMS = ["dense", "csr", "csc", "unsorted csr"]
DTYPES = ["float32", "float64", "int32", "int64", "uint16"]
EXPRESSION = "Gene Expression"


class Cells(NamedTuple):
    """A matrix and its names."""

    counts: np.ndarray
    genes: list[str]
    ids: list[str]
    barcodes: list[str]
    kinds: list[str]
    """Of 10x features."""


@st.composite
def cells(draw):
    """Few cells and genes, of which names may repeat, as symbols of several identifiers do."""
    num_cells, num_genes = draw(st.integers(1, 7)), draw(st.integers(1, 6))
    values = st.sampled_from([0, 0, 0, 1, 2, 7, 300])
    counts = draw(st.lists(values, min_size=num_cells * num_genes, max_size=num_cells * num_genes))
    names = st.sampled_from(
        ["MT-CO1", "HLA-A", "7SK", "1-Mar", "RP11-34P13.7", "NA", "a b", "\u03b2-gal", "DUP", "DUP"]
    )
    genes = draw(st.lists(names, min_size=num_genes, max_size=num_genes))
    kinds = draw(
        st.lists(st.sampled_from([EXPRESSION, EXPRESSION, "Antibody Capture"]), min_size=num_genes, max_size=num_genes)
    )
    barcodes = [f"{'ACGT'[i % 4] * 4}AC-{i}" for i in range(num_cells)]
    ids = [f"ENSG{i:05}.{draw(st.integers(1, 9))}" for i in range(num_genes)]
    return Cells(np.array(counts).reshape(num_cells, num_genes), genes, ids, barcodes, kinds)


def stored_as(form, counts):
    """The matrix in one of the forms of h5ad."""
    if form == "dense":
        return counts
    if form == "csc":
        return sp.csc_matrix(counts)
    matrix = sp.csr_matrix(counts)
    if form == "unsorted csr":  # legal, and what products of matrices are
        for start, stop in zip(matrix.indptr, matrix.indptr[1:], strict=False):
            matrix.data[start:stop] = matrix.data[start:stop][::-1].copy()
            matrix.indices[start:stop] = matrix.indices[start:stop][::-1].copy()
        matrix.has_sorted_indices = False
    return matrix


def write_h5ad(path, data, *, forms, dtype, compression, has_raw):
    """X, a layer ``counts`` and, of all genes, ``raw``; X and the layer lack the first gene where there is a raw."""
    import anndata

    whole = data.counts.astype(dtype)
    obs = pd.DataFrame(
        {"donor": pd.Categorical([f"d{i % 2}" for i in range(len(whole))])}, index=pd.Index(data.barcodes, dtype=object)
    )
    index = pd.Index(data.genes, dtype=object)
    var = pd.DataFrame({"gene_ids": np.array(data.ids, object)}, index=index)
    kept = slice(1 if has_raw and len(data.genes) > 1 else 0, None)
    parts = {"layers": {"counts": stored_as(forms[1], whole[:, kept] * 2)}}
    table = anndata.AnnData(stored_as(forms[0], whole[:, kept]), obs=obs, var=var.iloc[kept], **parts)
    if has_raw:
        table.raw = anndata.AnnData(stored_as(forms[2], whole + 1), obs=obs, var=var)
    table.write_h5ad(path, compression=compression)
    return path


def write_10x_h5(path, data, *, version, more_groups):
    """Cell Ranger's HDF5: of version 3 with features of several kinds, perhaps with what CellBender adds."""
    import h5py

    matrix = sp.csr_matrix(data.counts.astype(np.int32))
    with h5py.File(path, "w") as file:
        if more_groups and version == 3:
            for name in ("droplet_latents", "metadata"):
                file.create_group(name)["x"] = np.zeros(3)
        group = file.create_group("matrix" if version == 3 else "GRCh38")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        group["shape"] = np.array(data.counts.shape[::-1], np.int32)
        group["barcodes"] = np.array([name.encode() for name in data.barcodes])
        ids, names, kinds = (np.array([t.encode() for t in texts]) for texts in (data.ids, data.genes, data.kinds))
        if version == 2:
            group["genes"], group["gene_names"] = ids, names
        else:
            features = group.create_group("features")
            features["id"], features["name"], features["feature_type"] = ids, names, kinds
    return path


@st.composite
def ways_of_folders(draw):
    """How a folder is written: version, gzip, ends of lines, comments, columns, number format, order of entries."""
    return {
        "version": draw(st.sampled_from([2, 3])),
        "zipped": draw(st.booleans()),
        "end": draw(st.sampled_from(["\n", "\r\n"])),
        "final_end": draw(st.booleans()),
        "comment": draw(st.sampled_from(["", '%metadata_json: {"format_version": 2}', "%"])),
        "number": draw(st.sampled_from(["integer", "real"])),
        "by_gene": draw(st.booleans()),
        "twice": draw(st.booleans()),
        "places": draw(st.booleans()),
    }


def write_folder(folder, data, way):
    """Cell Ranger's folder of three text files."""
    folder.mkdir()
    rows, columns = np.nonzero(data.counts)
    if way["by_gene"]:
        order = np.lexsort((rows, columns))
        rows, columns = rows[order], columns[order]
    show = str if way["number"] == "integer" else "{:.1f}".format
    entries = [f"{g + 1} {c + 1} {show(data.counts[c, g])}" for c, g in zip(rows, columns, strict=True)]
    if way["twice"] and entries:  # entries at one place are summed
        entries.append(f"{columns[0] + 1} {rows[0] + 1} {show(5)}")
    head = [f"%%MatrixMarket matrix coordinate {way['number']} general", *filter(None, [way["comment"]])]
    head.append(f"{len(data.genes)} {len(data.barcodes)} {len(entries)}")
    features = [
        [i, n, k, *["chr1", "5", "90"] * way["places"]] for i, n, k in zip(*data[2:0:-1], data.kinds, strict=True)
    ]
    name = "features.tsv" if way["version"] == 3 else "genes.tsv"
    texts = {
        "matrix.mtx": head + entries,
        "barcodes.tsv": data.barcodes,
        name: ["\t".join(row if way["version"] == 3 else row[:2]) for row in features],
    }
    for name, lines in texts.items():
        content = (way["end"].join(lines) + way["end"] * way["final_end"]).encode()
        (folder / (name + ".gz" * way["zipped"])).write_bytes(gzip.compress(content) if way["zipped"] else content)
    expected = data.counts.astype(np.float32)
    if way["twice"] and entries:
        expected[rows[0], columns[0]] += 5
    return expected
