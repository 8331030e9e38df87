from dataclasses import replace

import pytest

from dnar2mae import MaskConfig, pretrain
from dnar2mae.training import step
from tests.modalities.kinds import dna


def factors(config, out, monkeypatch):
    """What turns the gradient of the summed loss into the step's, step by step, and the steps' ratios."""
    found, ratios = [], []
    scale_and_clip, mean_drawn_ratio = step.scale_and_clip, step.mean_drawn_ratio

    def scale(parameters, factor, clip, **settings):
        found.append(factor.item())
        return scale_and_clip(parameters, factor, clip, **settings)

    def ratio(plan, ids):
        ratios.append(mean_drawn_ratio(plan, ids))
        return ratios[-1]

    monkeypatch.setattr(step, "scale_and_clip", scale)
    monkeypatch.setattr(step, "mean_drawn_ratio", ratio)
    pretrain(config, out)
    monkeypatch.undo()
    return found, ratios


@pytest.mark.parametrize(
    ("law", "mean"),
    [
        ({"law": "choice", "ratios": (0.1, 0.8)}, 0.45),
        ({"law": "linear", "low": 0.2, "high": 0.6}, 0.4),
        ({"law": "uniform", "low": 0.1, "high": 0.9, "placement": "spans"}, 0.5),
    ],
)
def test_a_step_counts_by_how_much_it_predicts(tmp_path, monkeypatch, law, mean):
    config = replace(dna(tmp_path), mask=MaskConfig(**law), steps=6)
    by_batch, ratios = factors(config, tmp_path / "batch", monkeypatch)
    by_token, _ = factors(replace(config, mask=MaskConfig(**law, weighting="token")), tmp_path / "token", monkeypatch)
    tokens = config.batch_size * config.data.window_bp
    expected = tokens * 0.15
    assert by_token == pytest.approx([expected / (tokens * mean)] * 6)  # the same divisor in every step
    masked = [expected / factor / tokens for factor in by_batch]
    assert masked == pytest.approx(ratios, abs=0.12)  # the number that was masked
