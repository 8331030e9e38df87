from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import binom

from dnar2mae import MaskConfig, pretrain
from dnar2mae.batch import Batch
from dnar2mae.mask_laws import parse_law
from dnar2mae.masking import Masker, corrupt
from dnar2mae.tokenizers import KmerTokenizer
from dnar2mae.training import step
from tests.modalities.kinds import dna

pytestmark = pytest.mark.long


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


LENGTH = 20
VOCABULARY = KmerTokenizer().vocabulary


def losses_by_number(plan, batch):
    """A model whose loss is known: (k / L)**2 + 1 for each of k masked tokens."""
    _, predicted = corrupt(plan, batch.tokens, batch.maskable, batch.sample_ids)
    loss = (predicted.sum(1).double() / LENGTH) ** 2 + 1
    index = predicted.flatten().nonzero().squeeze(1)
    return loss[index // LENGTH], index


def area(low, high):
    """The area under the curve of that loss between two ratios, each number of masked tokens counted."""
    ratios, numbers = low + (high - low) * (np.arange(4000) + 0.5) / 4000, np.arange(1, LENGTH + 1)
    by_ratio = binom.pmf(numbers, LENGTH, ratios[:, None]) @ ((numbers / LENGTH) ** 2 + 1)
    return by_ratio.mean() * (high - low) * (LENGTH + 1) / LENGTH


def estimates(law, per, size, steps):
    """What the steps of a run minimise, over the number of maskable tokens."""
    mask = replace(MaskConfig(weighting="bound", per=per).with_law(parse_law(law)), weighting="bound", per=per)
    masker = Masker(mask, VOCABULARY, 5, steps)
    stepper = object.__new__(step.TrainingStep)
    stepper.config, stepper.masker, stepper.device = SimpleNamespace(mask=mask), masker, torch.device("cpu")
    stepper.autocast, stepper.parallel = None, SimpleNamespace(losses=losses_by_number)
    tokens = torch.full((size, LENGTH), VOCABULARY.first_real)
    found = []
    for number in range(steps):
        ids = torch.arange(number * size, (number + 1) * size)
        batch = Batch(tokens, torch.ones_like(tokens, dtype=torch.bool), torch.ones(tokens.shape), ids)
        minimised, *_, maskable = stepper._loss(number, masker.plan(number), batch)
        found.append((minimised / maskable).item())
    return np.array(found)


@pytest.mark.parametrize("per", ["batch", "sample", "stratified"])
@pytest.mark.parametrize(
    "law",
    ["uniform:0,1", "uniform:0.15,0.85", "beta:2,2,0,1", "beta:1,3,0,1", "bell:0.5,0.3,0,1", "bell:0.3,0.2,0.1,0.9"],
)
def test_weighted_for_the_bound_the_loss_is_an_unbiased_estimate_of_it_under_every_law(law, per):
    low, high = (parse_law(law).low, parse_law(law).high)
    found = estimates(law, per, 16, 400 if per == "batch" else 100)
    error = found.std(ddof=1) / len(found) ** 0.5
    assert found.mean() == pytest.approx(area(low, high), abs=3.5 * error)
    assert error < 0.15 * area(low, high)
    if (low, high) == (0, 1):
        assert area(0, 1) == pytest.approx(((np.arange(1, 21) / 20) ** 2 + 1).mean(), abs=1e-4)


def test_ratios_spread_over_a_batch_make_the_estimate_less_noisy():
    by_sample, spread = (estimates("uniform:0,1", per, 8, 200).std() for per in ("sample", "stratified"))
    assert spread < 0.85 * by_sample
