"""``dnar2mae covariance``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.starting_point import StartingPoint, parse_settings
from dnar2mae.config import Data
from dnar2mae.errors import ConfigError
from dnar2mae.storage.progress import progress_bar

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class CovarianceCommand(StartingPoint[Data]):
    """Estimate the covariance of your data and ask the linear model for a mask law.

    Example: dnar2mae covariance genome.fa.gz --out labs/covariance

    Reads what dnar2mae pretrain reads (--modality, --data.*, --tokenizer.*; a token by the principal components of
    its one-hot columns, or of its values), or --array, a file of numbers, or --matrix, a covariance. Every
    feature is scaled to variance 1 and predicted from the others by a linear masked autoencoder. What it suggests is
    that model's opinion, not a neural network's: see docs/theory.md for where the two part, and dnar2mae compare for
    the experiment.
    """

    out: Path
    """Folder for covariance.npy, curve.csv (error by fixed ratio) and curve.png."""
    array: Path | None = None
    """File of samples by features instead of data: .npy, .npz, .h5ad, or IDX (the format of MNIST)."""
    matrix: Path | None = None
    """File of a covariance instead of data: .npy, symmetric and positive semi-definite."""
    log: bool = False
    """Take log(1 + x) of --array, as for counts."""
    samples: int = 4096
    """Most samples to estimate from."""
    features: int = 192
    """Most features; of an array those that vary most, of a sequence its first positions."""
    aspects: tuple[float, ...] = (0.01, 0.1, 0.5, 0.8, 1.25, 3.0)
    """Aspect ratios d/n, features over training samples."""
    num_masks: int | Literal["inf"] = 1
    """Masks drawn for each training sample."""
    json: bool = False
    """Print the rows of curve.csv as JSON, and all else on stderr."""


def run(argv: list[str]) -> int:
    """Parse, estimate, print the opinion, write the curve."""
    command, _ = parse_settings(CovarianceCommand, argv, prog="dnar2mae covariance")
    import numpy as np
    import pandas as pd

    from dnar2mae.laboratory import covariance
    from dnar2mae.modalities.registry import input_files
    from dnar2mae.storage.safe_files import refuse_inputs
    from dnar2mae.theory import Masking

    files = [command.out / name for name in ("covariance.npy", "curve.csv", "curve.png")]
    refuse_inputs(files, (command.array, command.matrix, *input_files(command.run)))
    matrix, about = _matrix(command)
    masking = Masking(loss="masked", num_masks=command.num_masks)
    with progress_bar("the linear model's risks", None, at_once=True):
        opinions = covariance.opinions(matrix, command.aspects, masking)
    command.out.mkdir(parents=True, exist_ok=True)
    np.save(files[0], matrix)
    curve = pd.DataFrame([row for opinion in opinions for row in opinion.rows()])
    curve.to_csv(files[1], index=False, float_format="%.6g")
    covariance.draw(opinions, f"The linear model's opinion (masks per sample: {command.num_masks})", files[2])
    with json_at_end(command.json) as hand_over:
        print(about, *map(covariance.describe, opinions), sep="\n")
        print("This is the linear model's opinion: Gaussian features, masked one by one, squared loss, no network.")
        print(f"Wrote covariance.npy, curve.csv and curve.png in {command.out}")
        hand_over(curve.to_dict("records"))
    return 0


def _matrix(command: CovarianceCommand) -> "tuple[np.ndarray, str]":
    """Return the correlation matrix of the data, array or matrix, and a line on how it was estimated."""
    import numpy as np

    from dnar2mae.laboratory.covariance import estimate, read_array, sample_features
    from dnar2mae.theory.covariance import correlation, load_covariance

    if command.array and command.matrix:
        raise ConfigError("--array and --matrix exclude each other")
    if command.samples < 2 or command.features < 2:
        raise ConfigError(f"--samples and --features must be at least 2, got {command.samples}, {command.features}")
    if command.matrix:
        matrix = correlation(load_covariance(command.matrix, "--matrix"))
        return matrix, f"{len(matrix)} features of {command.matrix}, scaled to variance 1"
    if command.array:
        values = read_array(command.array, command.samples)
        if command.log:
            if values.min() <= -1:
                raise ConfigError(f"--log needs values above -1, got {values.min():g}")
            values = np.log1p(values)
    else:
        values = sample_features(command.run, command.samples, command.features)
    fit = estimate(values, command.features)
    return fit.matrix, (
        f"{len(fit.matrix)} features, {fit.num_samples:,} samples; shrinkage {fit.shrinkage:.3f} towards the "
        f"identity (Ledoit-Wolf); left out: {fit.num_constant} constant, {fit.num_left_out} that vary less"
    )
