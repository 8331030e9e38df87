import subprocess
import sys
import textwrap

import numpy as np
import pytest

from dnar2mae.config import MaskConfig
from dnar2mae.mask_laws import LAWS, Bell, Beta, Choice, Cosine, Fixed, Linear, Uniform, parse_law, training_laws

ADDED = """
from dataclasses import dataclass
import numpy as np
from dnar2mae.mask_laws import MaskLaw, interval

@dataclass(frozen=True)
class Ends(MaskLaw):
    form = "ends:LOW,HIGH"
    low: float
    high: float
    @property
    def largest(self):
        return self.high
    def quadrature(self):
        return np.array([self.low, self.high]), np.full(2, 0.5)
    def intervals(self, step, total_steps):
        return interval(self.low, self.low), interval(self.high, self.high)

import sys
from dnar2mae.cli import main
from dnar2mae.config import MaskConfig
from dnar2mae.laboratory.plan import parse_mask
mask = parse_mask("ends:0.2,0.6/sample").mask
assert mask == MaskConfig(law="ends", low=0.2, high=0.6, per="sample")
assert parse_mask("ends:0.2,0.6/sample").control.name == "fixed:0.4"
assert mask.ratio_law().phrase(mask.per) == "ratio drawn from ends:0.2,0.6, one a sample"
assert mask.ignored().keys() >= {"ratio", "ratios"} and "per" not in mask.ignored()
assert main(["theory", "peff", "--num-features", "20", "--laws", "ends:0.2,0.6", "--aspects", "0.5"]) == 0
main(["pretrain", "--help"])
"""


def test_a_law_is_one_class_from_which_all_else_follows():
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(ADDED)], capture_output=True, text=True, check=True)
    assert "{uniform,fixed,choice,linear,cosine,beta,bell,ends}" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("ends:0.2,0.6"))
    assert row.split()[1:3] == ["0.4000", "0.3333"]  # E p, and E[p (1 - p)] / E[1 - p]


@pytest.mark.parametrize(
    ("law", "name", "mean", "phrase"),
    [
        (Uniform(0.05, 0.5), "uniform:0.05,0.5", 0.275, "R2MAE: ratio drawn uniformly from 0.05 to 0.5, one ratio a"),
        (Fixed(0.15), "fixed:0.15", 0.15, "fixed ratio 0.15"),
        (
            Choice((0.25, 0.5, 0.75)),
            "choice:0.25,0.5,0.75",
            0.5,
            "ratio drawn from 0.25, 0.5, 0.75, one ratio a sample",
        ),
        (Linear(0.9, 0.1), "linear:0.9,0.1", 0.5, "ratio from 0.9 to 0.1 over the run (linear)"),
        (Cosine(0.1, 0.5), "cosine:0.1,0.5", 0.3, "ratio from 0.1 to 0.5 over the run (cosine)"),
    ],
)
def test_names_means_controls_and_phrases(law, name, mean, phrase):
    assert law.name == name
    assert parse_law(name) == law
    assert law.mean == pytest.approx(mean, abs=1e-12)
    assert law.mean_in_run(1000) == pytest.approx(mean, abs=1e-9)
    assert law.control == Fixed(mean)
    assert law.phrase("sample").startswith(phrase)
    assert MaskConfig().with_law(law).ratio_law() == law
    assert law.is_random == isinstance(law, Uniform | Choice)


def test_every_law_trains():
    assert training_laws() == tuple(LAWS)


@pytest.mark.parametrize("law", [Beta(a=2, b=3, low=0, high=1), Bell(centre=0.6, sd=0.15, low=0.1, high=0.9)])
def test_smooth_laws_are_drawn_as_intervals_of_equal_probability(law):
    intervals = law.intervals(0, 1)
    ends = np.array([(low, low + span) for low, span in intervals]) / 2**32
    assert (ends[1:, 0] == ends[:-1, 1]).all()
    assert ends[[0, -1], [0, 1]] == pytest.approx([law.low, law.high], abs=1e-9)
    shares = (np.arange(20_000) + 0.5) / 20_000
    mass = np.cumsum([law.density(share) for share in shares.tolist()])
    upto = np.interp(ends[:, 1], [law.at(share) for share in shares.tolist()], mass / mass[-1])
    assert upto == pytest.approx(np.arange(1, 33) / 32, abs=1e-3)
    assert law.mean_in_run(3) == pytest.approx(law.mean, abs=2e-3)
    assert law.has_density
    assert parse_law(law.name) == law
    assert MaskConfig().with_law(law).ratio_law() == law


def test_laws_without_a_density():
    assert not any(law.has_density for law in (Fixed(0.2), Choice((0.1, 0.5)), Linear(0.1, 0.5), Cosine(0.1, 0.5)))


def test_another_law_leaves_no_number_of_the_last_one():
    assert MaskConfig(low=0.3, high=0.9).with_law(Fixed(0.6)) == MaskConfig(law="fixed", ratio=0.6)
