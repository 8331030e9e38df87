"""The predictions for the test rows beside their labels, as a run keeps them: ``test_predictions.csv``."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from dnar2mae.errors import RunError, raising
from dnar2mae.finetuning.problem import Rows
from dnar2mae.finetuning.samples import SEQUENCE_COLUMNS, Samples
from dnar2mae.finetuning.targets import Target
from dnar2mae.homology.files import read_table
from dnar2mae.modalities.dna.sources import SequenceSource

MOST_BASES = 50_000
"""Of more bases than this so many are drawn at random: every n-th could always be the same base of a codon."""


def answer_table(samples: Samples, rows: Rows, target: Target) -> pd.DataFrame:
    """Return a row a sample or base: its number and place in the input, the label (``true``), the prediction.

    Columns of the input come first, without sequences and those whose name a column of labels or predictions has.
    """
    chosen = np.arange(len(rows.ids))
    if target.per == "base" and len(chosen) > MOST_BASES:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, MOST_BASES, replace=False))
    answers = pd.concat([target.label_frame(rows.wanted[chosen]), target.frame(rows.predicted(target)[chosen])], axis=1)
    ids = rows.ids[chosen]
    if target.per == "base":
        return pd.concat([_places(samples, ids, rows.positions[chosen]), answers], axis=1)
    taken = [*SEQUENCE_COLUMNS, "row", *target.columns, *answers.columns]
    table = samples.table.iloc[ids].drop(columns=taken, errors="ignore").reset_index(drop=True)
    table.insert(0, "row", ids)
    return pd.concat([table, answers], axis=1)


def _places(samples: Samples, ids: Int[np.ndarray, " M"], positions: Int[np.ndarray, " M"]) -> pd.DataFrame:
    """Return where bases of samples lie on the forward strand of the genome."""
    assert isinstance(samples.source, SequenceSource)
    places = samples.source.sequences.table.iloc[ids]
    start, end = (places[column].to_numpy(np.int64) for column in ("start", "end"))
    at = np.where(places["strand"] == "-", end - 1 - positions, start + positions)
    return pd.DataFrame({"chrom": places["name"].to_numpy(), "position": at})


def read_answers(path: Path, target: Target) -> tuple[Float[np.ndarray, "M C"], Float[np.ndarray, "M P"]]:
    """Return the labels and the predictions of a file of :func:`answer_table`, in its order.

    Raises
    ------
    RunError
        If it is missing, damaged or of another target.
    """
    with raising(RunError, f"{path}: not the predictions of this run's test rows", ValueError, KeyError):
        table = read_table(path)
        return target.labels_in(table), table[list(target.names)].to_numpy(np.float64)
