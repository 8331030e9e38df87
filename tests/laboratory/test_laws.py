import pytest

from dnar2mae.config import MaskConfig
from dnar2mae.errors import ConfigError
from dnar2mae.laboratory.plan import parse_mask, with_controls


def test_laws_and_modifiers():
    law = parse_mask("uniform:0.05,0.50/token/spans:4,12/sample", MaskConfig(replace=(1.0, 0.0, 0.0)))
    assert law.name == "uniform:0.05,0.5/sample/spans:4,12/token"
    mask = law.mask
    assert (mask.law, mask.low, mask.high, mask.per) == ("uniform", 0.05, 0.5, "sample")
    assert (mask.placement, mask.span_mean, mask.span_max, mask.weighting) == ("spans", 4.0, 12, "token")
    assert mask.replace == (1.0, 0.0, 0.0)
    assert parse_mask("choice:0.25,0.5,0.75").mask.ratios == (0.25, 0.5, 0.75)
    assert parse_mask("fixed:0.3/pmi:8").mask.pmi_length == 8
    assert parse_mask("cosine:0.5,0.1").mask.low == 0.5
    density = parse_mask("beta:2,3,0,1/bound/stratified")
    assert density.name == "beta:2,3,0,1/stratified/bound"
    assert density.mask == MaskConfig(law="beta", a=2, b=3, low=0, high=1, per="stratified", weighting="bound")
    assert density.control.mask == MaskConfig(law="fixed", ratio=0.4)
    assert parse_mask("uniform:0,1/suffix").mask.placement == "suffix"


def test_the_fixed_ratio_at_the_mean_is_always_there():
    asked = [
        parse_mask(t) for t in ("fixed:0.15", "uniform:0.05,0.5", "uniform:0.05,0.5/sample", "choice:0.1,0.9/spans:3")
    ]
    laws, added = with_controls(asked)
    assert [law.name for law in added] == ["fixed:0.275", "fixed:0.5/spans:3"]
    assert laws[:4] == asked
    assert added[0].mask == MaskConfig(law="fixed", ratio=0.275)
    assert with_controls(laws) == (laws, [])
    assert asked[0].control is asked[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zipf:1", "--laws: a law must be one of uniform:LOW,HIGH, fixed:P, .*; got zipf:1"),
        ("fixed", "--laws: a law must be one of .*; got fixed"),
        ("fixed:a", "a law must be one of .*; got fixed:a"),
        ("uniform:0.1", "a law must be one of .*; got uniform:0.1"),
        ("fixed:0.1/pmi", "--laws fixed:0.1/pmi: after the ratio law may come /sample or .*, got /pmi"),
        ("fixed:0.1/spans:x", "got /spans:x"),
        ("beta:0.5,3,0.1,0.5", "--laws: beta:0.5,3,0.1,0.5: A and B must be at least 1"),
        ("bell:0.9,0.1,0,0.5", r"--laws: bell:0.9,0.1,0,0.5: centre must be in \[0, 0.5\]"),
        ("fixed:0.3/bound", r"--mask.weighting bound needs .* a law with a density .*, got independent and fixed:0.3"),
        ("uniform:0.1,0.5/spans:3/bound", "--mask.weighting bound needs --mask.placement independent .*, got spans"),
        ("fixed:0", r"--laws fixed:0: --mask.ratio must be in \(0, 1\), got 0.0"),
        ("fixed:1", r"--laws: fixed:1: ratio must be in \[0, 1\)"),
        ("uniform:0.5,1.2", r"--laws: uniform:0.5,1.2: high must be in \[0, 1\]"),
        ("choice:0.5,1", r"--laws: choice:0.5,1: ratios must be numbers in \[0, 1\)"),
        ("uniform:0.6,0.5", r"--laws: uniform:0.6,0.5: low must be at most high \(0.5\)"),
        ("fixed:0.1/spans:3/pmi:6", "one placement, and each modifier once"),
        ("fixed:0.1/token/token", "each modifier once"),
        ("uniform:0,1/token/bound", "each modifier once"),
        ("uniform:0,1/sample/stratified", "each modifier once"),
    ],
)
@pytest.mark.usefixtures("any_type")
def test_bad_laws_are_named(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_mask(text)


def test_laws_that_repeat():
    with pytest.raises(ConfigError, match="--laws must differ, got fixed:0.3 twice"):
        with_controls([parse_mask("fixed:0.3"), parse_mask("fixed:0.30")])
