r"""Tables of sequences with labels whose true expectation is a known function of the sequence.

Three words decide, on either strand, so that a sequence and its reverse complement have the same expectation:

- the *number* of ``GATAAG``, at most 3;
- whether a ``TGACGTCA`` and a ``CCGGAAGT`` are *spaced* by 5 to 15 bases;
- how *central* the ``CACGTG`` next to the centre is: 1 - |2 c - L| / L for its centre c in L bases, 0 without one.

A number is 0.5 number + 1.5 spaced + 1.5 central + noise. Labels are drawn with the probabilities 0.05 + 0.3 number,
0.1 + 0.8 spaced and 0.1 + 0.8 central. Words are found in the sequence as it is, planted or not, so that no model can
be better than the true function but by luck.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from dnar2mae.genome.alphabet import complement, decode, encode
from dnar2mae.genome.simulate.background import background
from dnar2mae.genome.simulate.config import LabelsConfig
from dnar2mae.genome.simulate.draws import Draws, boundaries
from dnar2mae.scoring.scores import auprc, auroc

if TYPE_CHECKING:
    import pandas as pd

_COUNTED, _FIRST, _SECOND, _CENTRAL = "GATAAG", "TGACGTCA", "CCGGAAGT", "CACGTG"
_MOST = 3
_GAP_BP = (5, 15)
_FAR_BP = (20, 30)
_SPLITS = {"train": 0.8, "dev": 0.1, "test": 0.1}
_NOISE = 0.5
_LABELS = {"counted": "number", "spaced": "spaced", "centred": "central"}
"""Label by the property of the sequence that decides on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedLabels:
    """A table with its truth."""

    table: "pd.DataFrame"
    """Columns ``sequence``, ``split``, then ``value`` and ``truth``, or each label and its ``truth_``: the expectation,
    no input."""
    ceiling: dict[str, float]
    """Scores that the truth itself gets on the test rows: ``r2`` and ``pearson``, or ``auroc`` and ``auprc`` of each
    label. A perfect model gets these."""


def simulate_labels(config: LabelsConfig) -> SimulatedLabels:
    """Simulate a table; a pure function of its settings.

    Parameters
    ----------
    config
        Kind and size.

    Returns
    -------
    SimulatedLabels
        The rows, those of the three splits mixed, and the noise ceiling.
    """
    import pandas as pd

    draws = Draws(config.seed, 0)
    rows = background(draws, config.num * config.length_bp, config.gc).reshape(config.num, config.length_bp)
    for row in rows:
        _plant(row, draws)
    sequences = [decode(row) for row in rows]
    cuts = boundaries(np.array(list(_SPLITS.values())))
    table = pd.DataFrame({"sequence": sequences, "split": np.array(list(_SPLITS))[draws.pick(cuts, config.num)]})
    found = pd.DataFrame([properties(sequence) for sequence in sequences])
    test = table["split"].to_numpy() == "test"
    if config.kind == "labels":
        return _with_labels(table, found, draws, test)
    truth = (0.5 * found["number"] + 1.5 * found["spaced"] + 1.5 * found["central"]).to_numpy()
    noise = (_NOISE if config.noise is None else config.noise) * _normal(draws, config.num)
    # few digits: the last bits of a platform's floating-point library do not reach the file
    value, truth = (truth + noise).round(4), truth.round(4)
    table = table.assign(value=value, truth=truth)
    unexplained, total = ((value - truth)[test] ** 2).sum(), value[test].var() * test.sum()
    pearson = np.corrcoef(value[test], truth[test])[0, 1]
    return SimulatedLabels(table=table, ceiling={"r2": float(1 - unexplained / total), "pearson": float(pearson)})


def properties(sequence: str) -> Mapping[str, float]:
    """Return what decides on the labels of a sequence: ``number``, ``spaced`` and ``central``."""
    length = len(sequence)
    first, second = _starts(_FIRST, sequence), _starts(_SECOND, sequence)
    gaps = [max(a - b, b - a) - len(_FIRST) for a in first for b in second]  # both words have 8 bases
    middles = [2 * start + len(_CENTRAL) for start in _starts(_CENTRAL, sequence)]
    return {
        "number": min(len(_starts(_COUNTED, sequence)), _MOST),
        "spaced": float(any(_GAP_BP[0] <= gap <= _GAP_BP[1] for gap in gaps)),
        "central": max((1 - abs(middle - length) / length for middle in middles), default=0.0),
    }


def _with_labels(table: "pd.DataFrame", found: "pd.DataFrame", draws: Draws, test: np.ndarray) -> SimulatedLabels:
    labels, truths, ceiling = {}, {}, {}
    for label, decides in _LABELS.items():
        of_rows = found[decides].to_numpy()
        truth = (0.05 + 0.3 * of_rows if decides == "number" else 0.1 + 0.8 * of_rows).round(4)
        labels[label], truths[f"truth_{label}"] = (draws.units(len(table)) < truth).astype(np.int64), truth
        probabilities = np.column_stack([1 - truth, truth])[test]
        ceiling[f"auroc_{label}"] = auroc(labels[label][test], probabilities)
        ceiling[f"auprc_{label}"] = auprc(labels[label][test], probabilities)
    return SimulatedLabels(table=table.assign(**labels, **truths), ceiling=ceiling)


def _plant(row: UInt8[np.ndarray, " L"], draws: Draws) -> None:
    """Write words into a sequence, each in a part of its own."""
    part = len(row) // 5
    places = (draws.units(5).argsort(kind="stable") * part).tolist()
    for place in places[: draws.integer(0, _MOST + 1)]:
        _write(row, draws, _COUNTED, place + draws.integer(0, part - len(_COUNTED) + 1))
    # of all rows half have their pair at a distance that counts, so that neither word alone tells
    start = places[_MOST] + draws.integer(0, part - len(_FIRST) + 1)
    low, high = (_GAP_BP[0], _GAP_BP[1] + 1) if draws.integer(0, 2) else _FAR_BP
    gap = draws.integer(low, high)
    other = start + len(_FIRST) + gap
    other = other if other + len(_SECOND) <= len(row) else start - gap - len(_SECOND)
    _write(row, draws, _FIRST, start)
    _write(row, draws, _SECOND, other)
    if draws.integer(0, 3):
        _write(row, draws, _CENTRAL, draws.integer(0, len(row) - len(_CENTRAL) + 1))


def _write(row: UInt8[np.ndarray, " L"], draws: Draws, word: str, start: int) -> None:
    """Write a word on either strand."""
    codes = encode(word.encode())
    row[start : start + len(word)] = codes if draws.integer(0, 2) else complement(codes[::-1])


def _starts(word: str, sequence: str) -> list[int]:
    """Return where a word or its reverse complement starts, overlapping ones too."""
    other = decode(complement(encode(word.encode())[::-1]))
    return [match.start() for match in re.finditer(f"(?={word}|{other})", sequence)]


def _normal(draws: Draws, size: int) -> Float[np.ndarray, " N"]:
    from scipy.special import ndtri

    return ndtri(np.maximum(draws.units(size), 2.0**-53))
