"""Single cells: values of genes, with the mean expression of each gene as the yardstick."""

import json
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu

from dnar2mae.batch import Layout, batches_of, evenly_spaced
from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError, DataError, RunError, raising
from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.cell.encode import (
    Encoder,
    GeneEncoder,
    GeneScale,
    ListedCells,
    TrainingCells,
    WholeEncoder,
    held_out_cells,
)
from dnar2mae.modalities.cell.files import CellFile, write_h5ad
from dnar2mae.modalities.cell.loss import LOSSES, GeneMeans
from dnar2mae.modalities.cell.store import PER_CELL, CellStore, choose_genes, log1p_cp10k
from dnar2mae.modalities.cell.tenx import open_cells
from dnar2mae.modalities.contract import Modality
from dnar2mae.models.embedder import ValueEmbedder
from dnar2mae.models.head import ValueHead
from dnar2mae.storage.fingerprint import of_values
from dnar2mae.storage.safe_files import sha256, write_whole
from dnar2mae.tokenizers import Vocabulary

_GENE_FILE = "genes.json"
_FIXED_SEED = 0x9E7E5  # of the genes without a count in held-out and embedded cells: the same in every run
_YARDSTICK_CELLS = 16_384
_BATCH_CELLS = 64
_COMPONENTS = 50  # principal components, as many as analyses of single cells usually keep


@dataclass(frozen=True, slots=True)
class _Parts:
    store: CellStore
    training: Int[np.ndarray, " N"]
    held_out: Int[np.ndarray, " H"]
    empty: int
    genes_before: int
    scale: GeneScale


class CellModality(Modality):
    """Single cells as tokens with values.

    Parameters
    ----------
    config
        ``data``, ``model`` and ``seed`` are used.
    saved
        Run directory whose gene vocabulary is used; without one it is made from the files.

    Raises
    ------
    RunError
        If that run's values are normalised differently.
    """

    def __init__(self, config: PretrainConfig[CellConfig], saved: Path | None = None) -> None:
        self.config, self.data = config, config.data
        self.is_counts = self.data.normalisation == "counts"
        self.loss = self.data.likelihood if self.is_counts else "squared_error"
        self.is_scaled = self.data.normalisation == "scaled"
        of_what = "scaled gene" if self.is_scaled else "gene"
        self.unit = "nats per gene" if self.is_counts else f"squared error per {of_what}"
        self.known_genes: list[str] | None = None
        self.known_scale: GeneScale | None = None
        if saved is not None:
            self.known_genes, self.known_scale = _read_genes(saved / _GENE_FILE, self.data.normalisation)

    @cached_property
    def files(self) -> tuple[CellFile, ...]:
        """The files, opened.

        Raises
        ------
        ConfigError
            If none is named.
        DataError
            If one cannot be used.
        """
        if not self.data.paths:
            raise ConfigError("no cells given: name at least one .h5ad file, 10x .h5 file or 10x folder")
        return tuple(open_cells(path, self.data) for path in self.data.paths)

    @cached_property
    def _parts(self) -> _Parts:
        """Split the cells, read them once, and choose the genes.

        Raises
        ------
        DataError
            If values do not fit the normalisation, or no cell is left to train on or to hold out.
        """
        data = self.data
        is_held_out = held_out_cells(self.files, data)
        genes = self.known_genes or choose_genes(self.files, data.genes)
        given = self.known_genes is not None or data.genes not in ("union", "intersection")
        store = CellStore(self.files, genes, data.normalisation, given=given)
        has_counts, mean, variance = store.survey(np.flatnonzero(~is_held_out))
        if self.known_genes is None and len(genes) > data.num_genes:
            most_variable = np.argsort(-variance, kind="stable")[: data.num_genes]
            most_variable.sort()
            store, mean, variance = store.narrow(most_variable), mean[most_variable], variance[most_variable]
        training = np.flatnonzero(has_counts & ~is_held_out)
        held_out = np.flatnonzero(has_counts & is_held_out)
        empty = len(store) - len(training) - len(held_out)
        if empty:
            warnings.warn(f"{empty} of {len(store)} cells hold no count and are left out", stacklevel=2)
        if not (len(training) and len(held_out)):
            raise DataError(
                f"cells with counts are needed to train on and to hold out, got {len(training)} and {len(held_out)}"
            )
        scale = self.known_scale or GeneScale.of_moments(mean, variance)
        return _Parts(store, training, held_out, empty, len(genes), scale)

    @property
    def genes(self) -> tuple[str, ...]:
        """The vocabulary: token t is gene t."""
        return self._parts.store.genes if self.known_genes is None else tuple(self.known_genes)

    @cached_property
    def layout(self) -> Layout:  # type: ignore[override]
        """A set; aligned if it is all genes."""
        num_genes = len(self.genes)
        if self.data.encoding == "whole":
            return Layout(axes=(), tokens=num_genes)
        return Layout(axes=(), tokens=min(self.data.num_tokens, num_genes), aligned=False)

    @cached_property
    def vocabulary(self) -> Vocabulary:  # type: ignore[override]
        """Token t is shown as t + 1."""
        num = self.layout.tokens
        return Vocabulary(size=num + 1, pad_id=0, mask_id=0, unk_id=0, first_real=1, num_real=num)

    def _encoder(self, seed: int) -> Encoder:
        return (WholeEncoder if self.data.encoding == "whole" else GeneEncoder)(seed, self.data, self.scale)

    @property
    def scale(self) -> GeneScale | None:
        """Mean and standard deviation of each gene, if values are scaled: of the training cells, or those saved."""
        if not self.is_scaled:
            return None
        return self._parts.scale if self.known_scale is None else self.known_scale

    @cached_property
    def train(self) -> TrainingCells:  # type: ignore[override]
        """Training cells in shuffled blocks."""
        data, seed = self.data, self.config.seed
        encode, sizes = self._encoder(seed), {"block": data.block_cells, "buffer": data.buffer_cells}
        return TrainingCells(self._parts.store, self._parts.training, encode, seed, **sizes)

    @cached_property
    def validation(self) -> ListedCells:  # type: ignore[override]
        """Held-out cells."""
        return ListedCells(self._parts.store, self._parts.held_out, self._encoder(_FIXED_SEED))

    def embedder(self) -> ValueEmbedder:
        """Build the value network and the table of genes."""
        width = self.config.model.width
        return ValueEmbedder(ValueNetwork(width, is_counts=self.is_counts), nn.Embedding(len(self.genes), width), width)

    def head(self) -> ValueHead:
        """Build the prediction of values."""
        loss, num_outputs = LOSSES[self.loss]
        return ValueHead(self.config.model.width, num_outputs, loss)

    def report(self) -> dict[str, Any]:
        """Return the files, and how many cells and genes each rule left."""
        parts = self._parts
        genes_in_vocabulary = zip(self.files, parts.store.present.sum(1).tolist(), strict=True)
        return {
            "files": {
                str(file.path): {"cells": file.num_cells, "genes": len(file.genes), "genes_in_vocabulary": number}
                for file, number in genes_in_vocabulary
            },
            "genes": len(self.genes),
            "genes_before_selection": parts.genes_before,
            "training_cells": len(parts.training),
            "validation_cells": len(parts.held_out),
            "cells_without_counts": parts.empty,
        }

    def fingerprint(self) -> str:
        """Return a digest of the files."""
        return of_values([sha256(part) for file in self.files for part in file.parts])

    def yardstick(self) -> dict[str, float]:
        """Return the held-out loss of predictions from a value's gene and the cell's total alone.

        They are fitted on the tokens of one epoch of training (at most 16,384 cells), and scored on all tokens of the
        held-out cells of the final validation, which masks a random part of these.
        """
        means = GeneMeans(len(self.genes))
        number = min(len(self.train.cells), _YARDSTICK_CELLS)
        for batch in batches_of(self.train, np.arange(number), _BATCH_CELLS):
            assert batch.values is not None
            means.add(batch.tokens[batch.maskable].long(), batch.values[batch.maskable])
        loss, _ = LOSSES[self.loss]
        predictions = means.predictions(self.loss)
        total, count = dict.fromkeys(predictions, 0.0), 0
        ids = evenly_spaced(len(self.validation), 4 * self.config.validation_windows)
        for batch in batches_of(self.validation, ids, _BATCH_CELLS):
            assert batch.values is not None
            genes, values = batch.tokens[batch.maskable].long(), batch.values[batch.maskable]
            count += len(genes)
            for name, predicted in predictions.items():
                total[name] += loss(predicted[genes], values).double().sum().item()
        return {name: value / count for name, value in total.items()}

    def save(self, folder: Path) -> None:
        """Write the gene vocabulary, the normalisation, and what values are scaled by."""
        content: dict[str, Any] = {"normalisation": self.data.normalisation, "genes": list(self.genes)}
        if self.scale is not None:
            content |= {name: values.tolist() for name, values in self.scale._asdict().items()}
        write_whole(folder / _GENE_FILE, json.dumps(content, indent=0))

    def read(self, path: Path) -> ListedCells:
        """Return the cells of a file over the run's genes; layer, gene names and normalisation are those of training.

        Raises
        ------
        DataError
            If the file cannot be used, or has no gene of the vocabulary.
        """
        store = CellStore([open_cells(path, self.data)], self.genes, self.data.normalisation, given=True)
        return ListedCells(store, np.arange(len(store)), self._encoder(_FIXED_SEED), alike=True)

    def raw_features(self, source: ListedCells) -> dict[str, Any]:  # type: ignore[override]
        """Return the normalised expression of the vocabulary's genes (counts as log1p_cp10k), and its components."""
        from sklearn.decomposition import PCA

        rows = source.store.rows(source.cells)
        values = (log1p_cp10k(rows.values, rows.library) if self.is_counts else rows.values).toarray()
        number = min(_COMPONENTS, *values.shape)
        components = PCA(number, svd_solver="full").fit_transform(values)
        return {"expression": values, f"{number} components": components}

    def write(self, vectors: Float[np.ndarray, "N D"], table: pd.DataFrame, path: Path, out: Path) -> None:
        """Write the AnnData at ``path`` with ``obsm["X_dnar2mae"]`` added; for 10x input, one made from it."""
        write_h5ad(vectors, open_cells(path, self.data), out)


def _read_genes(path: Path, normalisation: str) -> tuple[list[str], GeneScale | None]:
    """Read a saved vocabulary, and what values are scaled by.

    Raises
    ------
    RunError
        If it is missing, damaged, or of values normalised differently.
    """
    with raising(RunError, f"{path}: cannot be read as the genes of a run", OSError, ValueError, KeyError, TypeError):
        content = json.loads(path.read_text())
        saved, genes = content["normalisation"], content["genes"]
        scale = None
        if saved == "scaled":
            scale = GeneScale(*(np.array(content[name], np.float64) for name in GeneScale._fields))
            if any(part.shape != (len(genes),) for part in scale):
                raise ValueError("a mean and a standard deviation for each gene")
    if saved != normalisation:
        raise RunError(f"{path}: the model takes --data.normalisation {saved}, got {normalisation}")
    return genes, scale


class ValueNetwork(nn.Module):
    r"""A linear and a nonlinear function of the value, the same for all genes.

    .. math:: W_1 x + W_2\, \mathrm{gelu}(W_1 x), \quad x = v \text{ or } \log(1 + 10^4 c / L)

    Parameters
    ----------
    width
        D.
    is_counts
        Values are counts c with their cell's total L; else they are normalised.
    """

    def __init__(self, width: int, *, is_counts: bool) -> None:
        super().__init__()
        self.is_counts = is_counts
        self.line = nn.Linear(1, width)
        self.curve = nn.Linear(width, width, bias=False)

    def forward(self, values: Float[Tensor, "B T P"]) -> Float[Tensor, "B T D"]:
        """Return a vector per value."""
        x = values[..., :1]
        if self.is_counts:
            x = (x * PER_CELL / values[..., 1:].clamp(min=1)).log1p()
        line = self.line(x)
        return line + self.curve(gelu(line))
