"""Recipes side by side: losses, what they cost, and that all sides are judged alike."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dnar2mae.benchmarks.speed import recipes
from dnar2mae.benchmarks.speed.comparison import COSTS, cost_of, target_table, times_as_fast
from dnar2mae.benchmarks.speed.gpn import IGNORED, mask_tokens
from dnar2mae.benchmarks.speed.learners import HeldOut, Learner, OurLearner, OutsideLearner, flops_per_step
from dnar2mae.benchmarks.speed.readings import Stopwatch, area_under, validation_steps
from dnar2mae.benchmarks.speed.recipes import RECIPES, recipe_config
from dnar2mae.benchmarks.speed.time_to_loss import TimeToLossSettings, main, new_learner, plan, seconds_per_step
from dnar2mae.config import PretrainConfig
from dnar2mae.errors import ConfigError
from dnar2mae.tokenizers import KmerTokenizer

pytestmark = pytest.mark.long

SMALL = "--model.width 16 --model.depth 2 --model.mlp-width 16 --batch-size 2 --data.window-bp 32"


@pytest.fixture
def small_recipes(monkeypatch):
    """All recipes at sizes that take no time."""
    small = {name: (learner, f"{flags} {SMALL}") for name, (learner, flags) in RECIPES.items()}
    monkeypatch.setattr(recipes, "RECIPES", small)


def run_of(losses, *, seed=0, recipe="a", pace=10.0):
    steps = np.arange(len(losses))
    costs = {"seconds": steps * pace, "cpu_seconds": steps * 2 * pace, "tokens": steps * 100, "flops": steps * 1e12}
    return pd.DataFrame({"genome": "g", "recipe": recipe, "seed": seed, "step": steps, "held_out": losses, **costs})


def test_a_target_is_reached_on_the_line_between_two_validations():
    run = run_of([2.0, 1.95, 1.85, 1.90])
    assert cost_of(run, 1.9).to_dict() == pytest.approx(
        {"seconds": 15, "cpu_seconds": 30, "tokens": 150, "flops": 1.5e12}
    )
    assert cost_of(run, 1.95)["seconds"] == pytest.approx(10)
    assert cost_of(run, 2.1)["seconds"] == 0
    assert cost_of(run, 1.8).isna().all()


def test_the_ratio_of_seconds_is_paired_by_seed():
    runs = pd.concat([run_of([2.0, 1.8], seed=0, pace=1), run_of([2.0, 1.8], seed=1, pace=4)])
    others = pd.concat([run_of([2.0, 1.8], seed=0, pace=10), run_of([2.0, 1.8], seed=1, pace=10)])
    assert times_as_fast(runs, others, 1.8) == "5.00"  # of 10 and 2.5
    slower = pd.concat([others[others["seed"] == 0], run_of([2.0, 1.99], seed=1, pace=10)])
    assert times_as_fast(runs, slower, 1.8) == ">5.00"
    assert times_as_fast(runs, others, 1.7) == ""
    assert times_as_fast(runs, others[:0], 1.8) == ""


def test_the_table_says_how_many_seeds_reach_a_target():
    frame = pd.concat([run_of([2.0, 1.8], seed=0), run_of([2.0, 1.95], seed=1), run_of([2.0, 1.8], recipe="b")])
    lines = target_table(frame, (1.9,), "b").splitlines()
    assert lines[1].split() == ["g", "a", "1.9", "1/2", "5.0", "5.0", "5.0", "10.0", "0.000", "0.50", "1.00"]
    assert lines[2].split()[:4] == ["g", "b", "1.9", "1/1"]


def test_validations_are_evenly_spaced_logarithms():
    assert validation_steps(10_000, 3) == [0, 100, 1000, 10_000]
    assert validation_steps(3, 20) == [0, 1, 2, 3]


def test_the_area_prolongs_the_outer_lines():
    assert area_under((0.2, 0.6), [1.2, 1.6]) == pytest.approx(1.5)
    assert area_under((0.1, 0.5, 0.9), [0.0, 0.4, 0.0]) == pytest.approx(2 * 0.5 * (-0.1 + 0.4) / 2)


def test_the_clock_stands_still_during_a_pause(monkeypatch):
    now = iter([1.0, 3.0, 10.0, 11.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    watch = Stopwatch()
    watch.pause()
    for _ in range(2):
        watch.resume()
        watch.pause()
    assert watch.seconds == 3.0


class Wrapped(OutsideLearner):
    """Our own model as if it were somebody else's."""

    def __init__(self, inner):
        self.inner, self.device, self.autocast = inner, inner.device, inner.autocast

    @property
    def model(self):
        return self.inner.model

    def train(self, after_step):
        raise NotImplementedError

    def logits(self, tokens):
        return self.model.logits(self.model(tokens))


@pytest.mark.parametrize("name", ["transformer", "cnn-adamw", "hybrid"])
def test_all_models_are_judged_by_the_same_losses(fasta, tmp_path, small_recipes, name):
    learner = OurLearner(recipe_config(name, fasta, steps=2, precision="fp32"), tmp_path)
    learner.train(lambda _: None)
    held_out = HeldOut.of_genome(fasta, 3)
    assert len(held_out.sample_ids) == 3
    ours = learner.bits_per_base(held_out, 0.3)
    assert Wrapped(learner).bits_per_base(held_out, 0.3) == pytest.approx(ours, rel=1e-6)
    assert ours == pytest.approx(2.0, abs=0.3)


class Attention(Learner):
    """One attention, forwards and backwards."""

    def __init__(self):
        self.config = PretrainConfig(steps=1)

    @property
    def model(self):
        return nn.Identity()

    def masked_sums(self, held_out, plan):
        raise NotImplementedError

    def train(self, after_step):
        q, k, v = torch.randn(3, 1, 2, 32, 8, requires_grad=True)
        nn.functional.scaled_dot_product_attention(q, k, v).sum().backward()


def test_the_attention_of_a_cpu_is_counted():
    product = 2 * 2 * 32 * 32 * 8
    assert flops_per_step(Attention()) == (2 + 5) * product


def test_bases_are_masked_as_bert_does():
    vocabulary = KmerTokenizer().vocabulary
    tokens = torch.randint(vocabulary.first_real, vocabulary.first_real + vocabulary.num_real, (100, 1000)).int()
    tokens[:, :10] = vocabulary.unk_id
    inputs, labels = mask_tokens(tokens, vocabulary)
    chosen = labels != IGNORED
    assert not chosen[:, :10].any()
    assert torch.equal(labels[chosen], tokens[chosen].long())
    assert torch.equal(inputs[~chosen], tokens[~chosen])
    assert chosen[:, 10:].float().mean() == pytest.approx(0.15, abs=0.01)
    shown = inputs[chosen]
    assert (shown == vocabulary.mask_id).float().mean() == pytest.approx(0.8, abs=0.02)
    assert (shown == tokens[chosen]).float().mean() == pytest.approx(0.125, abs=0.02)


def runs_of(out):
    """The recorded rows, one table a run, in the order of training."""
    frame = pd.read_csv(out / "time_to_loss.csv")
    assert {"device", "commit", "date"} <= set(frame)
    return {key: run for key, run in frame.groupby(["seed", "recipe"], sort=False)}


@pytest.mark.filterwarnings("ignore")  # of transformers
def test_every_recipe_runs(fasta, tmp_path, small_recipes, capsys):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    assert main(TimeToLossSettings(genomes=(fasta,), seeds=(0,), steps=3, windows=2, targets=(3.0,), out=tmp_path)) == 0
    runs = runs_of(tmp_path)
    assert list(runs) == [(0, recipe) for recipe in RECIPES]
    for run in runs.values():
        assert run["step"].tolist() == [0, 1, 2, 3]
        assert run["tokens"].tolist() == [0, 64, 128, 192]
        assert (run[COSTS].diff()[1:] > 0).all(axis=None)
        assert run["held_out"].between(0.5, 8).all()
        assert math.isfinite(run["area"].iloc[-1])
    text = capsys.readouterr().out
    assert text.count("bits per base at 0.15") == len(RECIPES)
    assert "times as fast as modernbert-tuned" in text
    assert (tmp_path / "time_to_loss.png").stat().st_size > 0


def test_recipes_alternate_and_seeds_differ(fasta, tmp_path, small_recipes):
    names = ("gpn", "cnn-adamw")
    assert (
        main(TimeToLossSettings(genomes=(fasta,), recipes=names, seeds=(0, 1), steps=1, windows=2, out=tmp_path)) == 0
    )
    runs = runs_of(tmp_path)
    assert list(runs) == [(0, "gpn"), (0, "cnn-adamw"), (1, "gpn"), (1, "cnn-adamw")]
    for name in names:
        assert runs[0, name]["held_out"].iloc[0] != runs[1, name]["held_out"].iloc[0]


def test_seconds_become_steps_by_a_trial(fasta, tmp_path, small_recipes):
    settings = TimeToLossSettings(genomes=(fasta,), seconds=(1e-9,))
    steps, flops = plan(settings, "cnn-adamw", fasta)
    assert steps == 1
    assert flops > 6 * 2 * 16 * 16 * 9 * 2 * 32  # two convolutions of 9 taps over two windows
    seconds = seconds_per_step(new_learner(recipe_config("cnn-adamw", fasta, steps=3), "cnn-adamw", tmp_path))
    assert plan(replace(settings, seconds=(100 * seconds,)), "cnn-adamw", fasta)[0] in range(5, 2000)


def test_an_unknown_recipe_is_named():
    with pytest.raises(ConfigError, match="--recipes must be of tiny, transformer, .*, got resnet"):
        TimeToLossSettings(genomes=(), recipes=("resnet",))


def test_each_recipe_may_have_its_own_seconds_and_precision(fasta):
    both = TimeToLossSettings(genomes=(), recipes=("tiny", "gpn"), seconds=(1, 2), precision=("fp32", "bf16"))
    assert [both.of(name, both.seconds) for name in both.recipes] == [1, 2]
    assert [both.config(name, fasta).precision for name in both.recipes] == ["fp32", "bf16"]
    one = TimeToLossSettings(genomes=(), recipes=("tiny", "gpn"), seconds=(3,))
    assert [one.of(name, one.seconds) for name in one.recipes] == [3, 3]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"seconds": (1, 2)}, "--seconds must be one for all recipes or one for each of 3"),
        ({"precision": ()}, "--precision must be one for all recipes or one for each of 3"),
        ({"recipes": ("tiny", "gpn", "tiny")}, "--recipes must be named once each, got tiny gpn tiny"),
        ({"recipes": ()}, "--recipes must be named once each, got none"),
        ({"seconds": (1, 0, 2)}, "--seconds must be > 0 and finite, got 0"),
    ],
)
def test_values_for_each_recipe_are_as_many_as_recipes(setting, message):
    with pytest.raises(ConfigError, match=message):
        TimeToLossSettings(**{"genomes": (), "recipes": ("tiny", "gpn", "hybrid"), **setting})
