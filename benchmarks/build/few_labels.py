"""The suites of the few-label figures, from the files that their pages name.

    python -m dnar2mae.benchmarks.build.few_labels --images t10k-images-idx3-ubyte.gz --cells pbmc68k_reduced.h5ad
        --counts pbmc68k_counts.npz --texts wikitext2_valid.txt tinyshakespeare.txt --out suites

``digits``: MNIST's images. ``cells``: raw counts in place of the scaled values of scanpy's ``pbmc68k_reduced``, and its
``bulk_labels``. ``text``: which of two files a passage of 40 letters is from; ``pretrain.txt`` has the other passages.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro
import yaml

from dnar2mae.benchmarks.tasks.suite import CUSTOM_FILE
from dnar2mae.errors import DataError

_LETTERS = 40
"""Letters and spaces of a passage: few enough that two sources cannot be told from single words."""
_PASSAGES = 1500
"""Rows of each source."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Files of one or more of the three."""

    out: Path
    """Folder of the suites."""
    images: Path | None = None
    """Images in MNIST's format; the file of their labels lies beside them."""
    cells: Path | None = None
    """AnnData file with ``obs["bulk_labels"]``."""
    counts: Path | None = None
    """Raw counts of the same cells and genes, a sparse matrix that scipy saved; by default X of the cells."""
    texts: tuple[Path, ...] = ()
    """Two plain files."""


def passages(text: str) -> list[str]:
    """Return a text in lower-case letters and single spaces, cut into passages of equal length, in their order."""
    letters = " ".join(re.findall("[a-z]+", text.lower().replace("<unk>", " ")))
    return [letters[at : at + _LETTERS] for at in range(0, len(letters) - _LETTERS + 1, _LETTERS)]


def _suite(task: Path, modality: str, classes: list[str], options: dict[str, Any]) -> None:
    folder = task.parent
    tasks = {task.name: {"metric": "accuracy", "classes": classes, "options": options}}
    declared = {"name": folder.name, "modality": modality, "tasks": tasks}
    (folder / CUSTOM_FILE).write_text(yaml.safe_dump(declared, sort_keys=False))


def digits(folder: Path, images: Path) -> None:
    """Make the suite of ten digits, with copies of the two files."""
    task = folder / "mnist"
    task.mkdir(parents=True, exist_ok=True)
    for name in (images.name, images.name.replace("images-idx3", "labels-idx1")):
        shutil.copyfile(images.with_name(name), task / name)
    _suite(task, "image", [str(digit) for digit in range(10)], {"file": images.name})


def cells(folder: Path, annotated: Path, counts: Path | None) -> None:
    """Make the suite of cell types, with ``cells.h5ad`` that has counts and labels alone."""
    import anndata
    from scipy import sparse

    given = anndata.read_h5ad(annotated)
    values = given.X if counts is None else sparse.csr_matrix(sparse.load_npz(counts), dtype=np.float32)
    if values.shape != given.shape:
        raise DataError(f"{counts}: counts must be {given.n_obs} cells x {given.n_vars} genes, got {values.shape}")
    task = folder / "pbmc"
    task.mkdir(parents=True, exist_ok=True)
    labels = given.obs[["bulk_labels"]].astype(str)
    anndata.AnnData(values, obs=labels, var=given.var[[]]).write_h5ad(task / "cells.h5ad")
    classes = sorted(labels["bulk_labels"].unique())
    _suite(task, "cell", classes, {"file": "cells.h5ad", "label": "bulk_labels"})


def text(folder: Path, files: tuple[Path, ...]) -> None:
    """Make the suite of two sources: 1,500 passages of each, by a fixed seed, and all others to pretrain on."""
    if len(files) != 2:
        raise DataError(f"--texts must be two files, got {len(files)}")
    task = folder / "source"
    task.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    rows: list[tuple[str, str]] = []
    rest: list[str] = []
    for file in files:
        all_of_it = np.array(passages(file.read_text(encoding="utf-8")))
        order = generator.permutation(len(all_of_it))
        if len(order) <= _PASSAGES:
            raise DataError(
                f"{file}: more than {_PASSAGES} passages of {_LETTERS} letters are needed, got {len(order)}"
            )
        rows += [(passage, file.stem) for passage in all_of_it[np.sort(order[:_PASSAGES])]]
        rest += list(all_of_it[np.sort(order[_PASSAGES:])])
    for path, lines in ((task / "rows.txt", [passage for passage, _ in rows]), (folder / "pretrain.txt", rest)):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    pd.DataFrame({"label": [label for _, label in rows]}).to_csv(task / "labels.csv", index=False)
    options = {"file": "rows.txt", "labels": "labels.csv", "label": "label"}
    _suite(task, "text", [file.stem for file in files], options)


def main(options: Options) -> None:
    """Make what files are given for, and print where.

    Raises
    ------
    DataError
        If no files are given, counts without cells, a file is missing, or the files do not belong together.
    """
    if options.images is None and options.cells is None and not options.texts:
        raise DataError("give --images, --cells or --texts")
    if options.counts is not None and options.cells is None:
        raise DataError("--counts needs --cells, whose counts they are")
    for file in (options.images, options.cells, options.counts, *options.texts):
        if file is not None and not file.exists():
            raise DataError(f"{file}: no such file")
    if options.images is not None:
        digits(options.out / "digits", options.images)
    if options.cells is not None:
        cells(options.out / "cells", options.cells, options.counts)
    if options.texts:
        text(options.out / "text", options.texts)
    for suite in sorted(options.out.glob(f"*/{CUSTOM_FILE}")):
        print(f"Next: dnar2mae benchmark few-labels {suite.parent} --model RUN --out results/few")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
