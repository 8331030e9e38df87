"""A map of the model's embeddings of held-out DNA, coloured by the annotation."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from dnar2mae.errors import SequenceError
from dnar2mae.genome.alphabet import SOFT_MASK
from dnar2mae.genome.copies import kmers
from dnar2mae.modalities.dna.sequences import Sequences
from dnar2mae.modalities.dna.sources import SequenceSource
from dnar2mae.plots.maps import draw_points, pca
from dnar2mae.report.content import NumberTable, Picture, SectionContent
from dnar2mae.report.drawing import svg
from dnar2mae.report.reported_run import ReportedRun
from dnar2mae.report.tiles import labelled_tiles
from dnar2mae.variants.controls import division

_LEAST_TILES, _LEAST_OF_LABEL = 30, 10
_NEIGHBOURS = 10
_APART_BP = 2000  # nearer tiles of one sequence may be parts of one gene: they are not counted as neighbours
_K = 4
_BY = ("model", "counts")


def embedding(run: ReportedRun) -> SectionContent:
    """Return embeddings of held-out tiles in two dimensions, and how often neighbours have the same label."""
    run.genes  # noqa: B018 - says so if there is no annotation, before the model is loaded
    maps = run.computed("embedding", lambda: _embedded(run), run.genome_file, run.options.tiles)
    points, labels = np.array(maps["points"]), pd.Series(maps["labels"], name="most of the piece is")
    sizes = labels.value_counts()
    rows = [
        (label, f"{sizes[label]:,}", f"{sizes[label] / len(labels):.0%}", *(f"{maps[by][label]:.0%}" for by in _BY))
        for label in map(str, sizes.index)
    ]
    alt = f"Principal components of {len(labels):,} embeddings, coloured by {len(sizes)} kinds of annotation."

    def draw(axes: Any) -> None:
        draw_points(axes, points, labels)
        axes.set(xlabel=maps["axes"][0], ylabel=maps["axes"][1])
        axes.legend(fontsize=8, frameon=False, markerscale=1.2, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    columns = ("most of it is", "pieces", "share", "alike, model", f"alike, {_K}-mers")
    return SectionContent(
        lines=(
            f"{len(labels):,} pieces of {maps['tile_bp']} bp of held-out DNA, embedded by the mean over their bases. "
            f"Labels are those of the annotation, which the model has never seen; {maps['mixed']:,} pieces of no one "
            "kind are left out.",
            f"Alike: the share of the {_NEIGHBOURS} nearest pieces, at least {_APART_BP:,} bp away, with "
            f"the same label, by the model's embedding and by counts of {_K}-mers; chance is the label's share.",
        ),
        pictures=(Picture(svg("embedding", alt, draw, height=4.4), "The first two principal components"),),
        tables=(NumberTable(columns, rows),),
    )


def _embedded(run: ReportedRun) -> dict[str, Any]:
    modality, number, _ = division(run.model, run.genome_file)
    genome, region = modality.genomes[number], modality.parts.validation[number]
    tile_bp = max(modality.config.data.window_bp // 4, 8)
    tiles, mixed = labelled_tiles(genome, region, run.genes.lines, tile_bp, run.options.tiles)
    common = tiles["label"].map(tiles["label"].value_counts()) >= _LEAST_OF_LABEL
    tiles = tiles[common].reset_index(drop=True)
    if len(tiles) < _LEAST_TILES or tiles["label"].nunique() < 2:
        raise SequenceError(
            f"{run.options.genes}: a map needs {_LEAST_TILES} held-out pieces of {tile_bp} bp, {_LEAST_OF_LABEL} or "
            f"more of each of two kinds; got {len(tiles)} of {tiles['label'].nunique()}"
        )
    sequences = Sequences(table=tiles, lengths=np.full(len(tiles), tile_bp, np.int64), genome=genome)
    vectors = run.trained.embed(SequenceSource(sequences, modality.tokenizer, run.genome_file))
    known = np.isfinite(vectors).all(1)
    tiles, vectors = tiles[known].reset_index(drop=True), vectors[known]
    codes = np.stack([sequences.codes(row) & np.uint8(SOFT_MASK - 1) for row in np.flatnonzero(known).tolist()])
    points, axes = pca(vectors)
    alike = {"model": vectors, "counts": _word_counts(codes)}
    return {
        "points": points.round(4).tolist(),
        "labels": tiles["label"].to_list(),
        "axes": axes,
        "tile_bp": tile_bp,
        "mixed": mixed,
        **{name: _neighbours_alike(of_tiles, tiles) for name, of_tiles in alike.items()},
    }


def _word_counts(codes: np.ndarray) -> Float[np.ndarray, "N K"]:
    """Return how often each word occurs in each tile; words with an unknown base are left out."""
    numbers, known = kmers(codes, _K)
    rows = np.repeat(np.arange(len(codes)), known.sum(1))
    counts = np.zeros((len(codes), 4**_K), np.float32)
    np.add.at(counts, (rows, numbers[known].astype(np.int64)), 1)
    return counts


def _neighbours_alike(vectors: Float[np.ndarray, "N D"], tiles: pd.DataFrame) -> dict[str, float]:
    """Return for each label the mean share of a tile's nearest neighbours, by cosine, that have the same one."""
    centred = vectors - vectors.mean(0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    likeness = unit @ unit.T
    likeness[_near(tiles)] = -np.inf
    nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :_NEIGHBOURS]
    labels = tiles["label"].to_numpy()
    is_far = np.isfinite(np.take_along_axis(likeness, nearest, 1))
    same = ((labels[nearest] == labels[:, None]) & is_far).sum(1) / np.maximum(is_far.sum(1), 1)
    return {str(label): float(same[labels == label].mean()) for label in np.unique(labels.astype(str))}


def _near(tiles: pd.DataFrame) -> Bool[np.ndarray, "N N"]:
    name, start = tiles["name"].to_numpy(), tiles["start"].to_numpy()
    return (name[:, None] == name) & (np.abs(start[:, None] - start) < _APART_BP)
