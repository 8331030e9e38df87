r"""How the prediction of one base depends on another: substitutions at i, predictions at j, as a map.

.. math::
    e_{ij} = \max_{a, b} \left| \log_2 \frac{p(x_j = b \mid x_i = a)}{1 - p(x_j = b \mid x_i = a)}
             - \log_2 \frac{p(x_j = b \mid x_i = r)}{1 - p(x_j = b \mid x_i = r)} \right|

over the three substitutions a of the base r at i and the four bases b at j, base j masked, and others with it in the
pattern of tracks, but never base i.

References
----------
.. [1] Tomaz da Silva et al., "Nucleotide dependency analysis of DNA language models reveals genomic functional
   elements", bioRxiv 2024: the log-odds map, there with j in sight.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN
from dnar2mae.genome.store import Genome
from dnar2mae.inference import Model
from dnar2mae.plots.figure import new_figure, save_figure
from dnar2mae.storage.progress import progress_bar
from dnar2mae.tracks.options import TrackOptions
from dnar2mae.tracks.predictions import Asked, base_log_probabilities, period_of, require_single_bases


def dependency_map(
    model: Model, genome: Genome, region: tuple[str, int, int], options: TrackOptions, *, progress: bool = False
) -> Float32[np.ndarray, "L L"]:
    """Return the effect of substitutions at i (rows) on the prediction at j (columns), in bits.

    Parameters
    ----------
    model
        A model of single bases of objective ``mlm``.
    genome
        The genome.
    region
        Name, start, end; 0-based half-open. The window that the model sees has it in its middle.
    options
        Pattern and strands.
    progress
        Show progress.

    Returns
    -------
    float32 [L, L]
        NaN on the diagonal, and where i or j is unknown.

    Raises
    ------
    ConfigError
        If the region is longer than a window, or the model is not one of single bases.
    SequenceError
        If the region is not inside the sequence.
    """
    require_single_bases(model)
    asked, first = _around(model, genome, region)
    length = region[2] - region[1]
    period = period_of(options.pattern_ratio, model.window_bp)
    effects = np.full((length, length), np.nan, np.float32)
    with progress_bar("substituting bases", length, show=progress) as bar:
        for i in range(length):
            reference = asked.codes[first + i]
            if reference < UNKNOWN:
                variants = [_substituted(asked, first + i, base) for base in range(4)]
                answers = base_log_probabilities(model, variants, period, both_strands=options.both_strands)
                odds = _log_odds(np.stack(answers)[:, first : first + length])
                effects[i] = np.abs(odds - odds[reference]).max((0, 2))
            bar(i + 1)
    return effects


def plot_dependency(model: Model, region: tuple[str, int, int], out: Path, options: TrackOptions) -> None:
    """Draw :func:`dependency_map` as a heat map.

    Parameters
    ----------
    model, region, options
        As there.
    out
        PNG, SVG or PDF.
    """
    effects = dependency_map(model, Genome.open(options.genome), region, options, progress=True)
    name, start, end = region
    side = float(np.clip(len(effects) * 0.05, 5.0, 20.0))
    figure = new_figure(side + 1, side)
    axes = figure.subplots()
    extent = (start - 0.5, end - 0.5, end - 0.5, start - 0.5)
    image = axes.imshow(effects, cmap="magma_r", vmin=0, extent=extent, interpolation="nearest")
    axes.set(title=f"{name}:{start:,}-{end:,}", xlabel="predicted base j (0-based)", ylabel="substituted base i")
    figure.colorbar(image, ax=axes, label="largest change of log-odds (bits)", fraction=0.04, pad=0.02)
    save_figure(figure, out)


def _around(model: Model, genome: Genome, region: tuple[str, int, int]) -> tuple[Asked, int]:
    """Return the window around a region, and where the region begins in it."""
    name, start, end = region
    genome.concatenated(name, start, end)
    total = int(genome.lengths[genome.index[name]])
    window_bp = min(model.window_bp, total)
    if end - start > window_bp:
        raise ConfigError(f"--region must fit into a window of {window_bp} bp, got {end - start}")
    left = min(max((start + end - window_bp) // 2, 0), total - window_bp)
    wanted = np.zeros(window_bp, bool)
    wanted[start - left : end - left] = True
    codes = genome.codes(name, left, left + window_bp) & np.uint8(SOFT_MASK - 1)
    return Asked(codes, wanted, left), start - left


def _substituted(window: Asked, place: int, base: int) -> Asked:
    codes = window.codes.copy()
    codes[place] = base
    return window._replace(codes=codes, visible=place)


def _log_odds(log_p: Float32[np.ndarray, "... 4"]) -> Float32[np.ndarray, "... 4"]:
    """Return log2 of p / (1 - p), the rest as a sum, which keeps its digits where p is near 1."""
    p = np.exp(log_p)
    rest = np.stack([np.delete(p, base, axis=-1).sum(-1) for base in range(4)], axis=-1)
    return (log_p - np.log(np.maximum(rest, np.finfo(np.float32).tiny))) / np.float32(np.log(2))
