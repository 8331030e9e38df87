from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dnar2mae.cli import main
from dnar2mae.errors import ConfigError
from dnar2mae.laboratory.advice import advised_grid, advised_law, verdict
from dnar2mae.laboratory.covariance import estimate, opinions, sample_features
from tests.modalities.kinds import dna, image


def areas(**values):
    rows = [
        {"measure": "area", "unit": "bits", "law": law, "seed": seed, "value": value}
        for law, of_law in values.items()
        for seed, value in enumerate(of_law)
    ]
    return pd.DataFrame(rows)


def test_the_law_is_that_of_the_covariance_at_the_runs_aspect_ratio(tmp_path):
    config = replace(image(tmp_path), steps=6)  # 24 patches, 48 images
    (opinion,) = opinions(estimate(sample_features(config, 4096, 192), 192).matrix, [0.5])
    assert advised_law(config) == opinion.law
    grid, advised = advised_grid(config, (0, 1))
    assert advised == opinion.law == grid.laws[0].name
    assert {"fixed:0.15", "fixed:0.3", "fixed:0.5", "fixed:0.6", "fixed:0.75"} <= {law.name for law in grid.laws}
    assert grid.tunes


def test_data_from_which_nothing_is_learned_have_no_advice(tmp_path):
    with pytest.raises(ConfigError, match="suggests no law"):
        advised_law(dna(tmp_path))  # bases at random


def test_verdicts():
    rng = np.random.default_rng(0)
    level, noise = rng.normal(2, 0.5, 5), rng.normal(0, 0.001, (3, 5))
    table = areas(one=level + noise[0], two=level + 0.1 + noise[1], three=level + 0.2 + noise[2])
    assert verdict(table, "one").startswith("The advice held: one is better than the best other law, two: -0.09")
    assert verdict(table, "two").startswith("The advice did not hold: one is better than two, by +0.09")
    near = areas(one=level + noise[0], two=level + noise[1])
    assert "one cannot be told from the best other law, two" in verdict(near, "one")
    assert "takes 5 seeds to say" in verdict(table[table["seed"] < 4], "one")
    assert "was not tested" in verdict(table[table["law"] != "one"], "one")


@pytest.mark.long
def test_the_command_says_whether_the_advice_holds(tmp_path, capsys):
    path = image(tmp_path).data.paths[0]
    argv = ["compare", "--modality", "image", path, "--data.patch", "4", "--advice", "--seeds", "1", "--device", "cpu"]
    argv += ["--steps", "2", "--batch-size", "8", "--validation-windows", "4", "--model.width", "16"]
    argv += ["--model.depth", "1", "--model.mlp-width", "16", "--out", str(tmp_path / "lab")]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "against fixed ratios" in printed
    assert "whether it holds takes 5 seeds to say" in printed
    assert main([*argv, "--laws", "fixed:0.3"]) == 2
    assert "--advice has its own laws" in capsys.readouterr().err
