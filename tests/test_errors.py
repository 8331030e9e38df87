"""Errors of other code as ours, and ranges of settings."""

from dataclasses import dataclass

import pytest

from dnar2mae.errors import ConfigError, DataError, RunError, needing, raising, require_ranges


def test_what_an_error_says_is_added_on_one_line(tmp_path):
    with pytest.raises(RunError, match=r"^x: cannot be read: No such file or directory$"):
        with raising(RunError, "x: cannot be read", OSError):
            (tmp_path / "missing").read_text()
    with (
        pytest.raises(DataError, match="^x: damaged: two lines$") as caught,
        raising(DataError, "x: damaged", ValueError),
    ):
        raise ValueError("two\n lines")
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(DataError, match="^x: cut: EOFError$"), raising(DataError, "x: cut", EOFError):
        raise EOFError


def test_our_own_errors_pass_unless_they_are_named():
    with pytest.raises(ConfigError, match="^own$"), raising(RunError, "x", ValueError):
        raise ConfigError("own")
    with pytest.raises(RunError, match="^x: own$"), raising(RunError, "x", ConfigError):
        raise ConfigError("own")
    with pytest.raises(KeyError), raising(RunError, "x", ValueError):
        raise KeyError("other")


def test_a_missing_package_is_named_with_its_remedy():
    with pytest.raises(ConfigError, match=r"^--plot needs the package nothing: pip install 'dnar2mae\[all\]'$"):
        with needing("--plot", "nothing", "dnar2mae[all]"):
            import no_such_package  # noqa: F401


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        ("at least 1", (1, 2.5, None), (0, -1, float("nan"))),
        ("> 0", (1e-9, 3), (0, -0.1, float("nan"))),
        ("in (0, 0.5]", (0.1, 0.5), (0, 0.51, float("nan"))),
        ("in [0, 1)", (0, 0.99, None), (-0.1, 1)),
    ],
)
def test_ranges(rule, inside, outside):
    @dataclass
    class Settings:
        the_share: float | None

    for value in inside:
        require_ranges(Settings(value), {rule: ["the_share"]}, "data.")
    for value in outside:
        with pytest.raises(ConfigError) as caught:
            require_ranges(Settings(value), {rule: ["the_share"]}, "data.")
        assert str(caught.value) == f"--data.the-share must be {rule}, got {value}"
