"""A mask law that the linear model suggests for some data, and whether it holds against fixed ratios on them."""

import numpy as np
import pandas as pd

from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError
from dnar2mae.laboratory.covariance import estimate, opinions, sample_features
from dnar2mae.laboratory.grid import GridSetting, LawGrid, Tuning
from dnar2mae.laboratory.plan import parse_mask, with_controls
from dnar2mae.laboratory.regret import MIN_SEEDS, by_seed, t_interval
from dnar2mae.modalities.registry import build_modality

_SAMPLES, _FEATURES = 4096, 192  # as dnar2mae covariance reads by default
_ASPECTS = (0.01, 3.0)  # beyond them the suggestion does not change
_STANDARD = ("fixed:0.15", "fixed:0.3", "fixed:0.5", "fixed:0.6", "fixed:0.75")


def advised_law(config: PretrainConfig) -> str:
    """Return the law that the linear model suggests for a run's data.

    Its aspect ratio d/n is that of the run: tokens of a sample over samples trained on.

    Raises
    ------
    ConfigError
        If it suggests none, or the data cannot be described by features.
    """
    fit = estimate(sample_features(config, _SAMPLES, _FEATURES), _FEATURES)
    aspect = build_modality(config).layout.tokens / (config.steps * config.batch_size)
    (opinion,) = opinions(fit.matrix, [float(np.clip(aspect, *_ASPECTS))])
    if opinion.law is None:
        raise ConfigError("--advice: the linear model learns nothing from these data, and suggests no law")
    return opinion.law


def advised_grid(config: PretrainConfig, seeds: tuple[int, ...]) -> tuple[LawGrid, str]:
    """Return a grid of the suggested law and the usual fixed ratios, and the law's name; raises as :func:`advised_law`.

    Learning rates are chosen for each law first.
    """
    advised = parse_mask(advised_law(config), config.mask)
    others = [parse_mask(name, config.mask) for name in _STANDARD if name != advised.name]
    laws, added = with_controls([advised, *others])
    grid = LawGrid(
        settings=(GridSetting(name="", config=config),),
        laws=tuple(laws),
        added=tuple(added),
        seeds=seeds,
        tuning=Tuning(),
        title=f"The suggested law, {advised.name}, against fixed ratios",
    )
    return grid, advised.name


def verdict(table: pd.DataFrame, advised: str) -> str:
    """Return in a line whether the suggested law holds: whether no other one is better, by the held-out area."""
    areas = table[table["measure"] == "area"]
    wide = by_seed(areas)
    if advised not in wide or len(wide.columns) < 2 or wide.empty:
        return f"The advice, {advised}, was not tested: too few runs finished."
    best = str(wide.drop(columns=advised).mean().idxmin())
    interval = t_interval((wide[advised] - wide[best]).to_numpy())
    unit = areas["unit"].iloc[0]
    if np.isnan(interval.low):
        return (
            f"The advice, {advised}, is {interval.value:+.4f} {unit} from the best other law, {best}; whether it holds "
            f"takes {MIN_SEEDS} seeds to say."
        )
    shown = f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}] {unit}"
    if interval.low > 0:
        return f"The advice did not hold: {best} is better than {advised}, by {shown}."
    better = "is better than" if interval.high < 0 else "cannot be told from"
    return f"The advice held: {advised} {better} the best other law, {best}: {shown}."
