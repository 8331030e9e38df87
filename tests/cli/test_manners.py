"""What every command has in common: exit codes, help, completion, JSON, colours, widths."""

import contextlib
import importlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import dnar2mae.cli
from dnar2mae import ModelConfig, PretrainConfig
from dnar2mae.cli import COMMANDS, main, output
from dnar2mae.cli.completion import command_tree
from dnar2mae.run.config_file import write_config

TREE = command_tree()


def leaves(tree=TREE, path=()):
    """Every command that does something, with what tyro knows of it; one may have others below it."""
    if not tree["subcommands"] or any("--out" in option["flags"] for option in tree["options"]):
        yield path, tree
    for name, inside in tree["subcommands"].items():
        yield from leaves(inside, (*path, name))


def printed_by(*argv):
    """Exit code, stdout and stderr of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(list(argv))
        except SystemExit as stop:  # of tyro
            code = stop.code or 0
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def runs(tmp_path):
    """Two run directories, as far as settings go."""
    for name, width in (("first", 32), ("second", 64)):
        (tmp_path / name).mkdir()
        write_config(PretrainConfig(model=ModelConfig(width=width)), tmp_path / name / "config.yaml")
    return tmp_path / "first", tmp_path / "second"


def test_settings_of_a_run(runs):
    code, printed, _ = printed_by("config", "show", str(runs[0]))
    assert code == 0
    assert {"--model.width 32", "--mask.law uniform", "--mask.replace 0.8 0.1 0.1"} <= set(printed.splitlines())
    assert printed_by("config", "show", str(runs[0]), "--changed")[1] == "--model.width 32\n"
    assert json.loads(printed_by("config", "show", str(runs[0]), "--json")[1])["mask.replace"] == [0.8, 0.1, 0.1]


def test_settings_that_differ(runs):
    first, second = map(str, runs)
    assert printed_by("config", "diff", first, first) == (0, "", "")
    assert printed_by("config", "diff", first, second)[:2] == (1, "--model.width 32 -> 64\n")
    code, printed, _ = printed_by("config", "diff", first, f"{second}/config.yaml", "--json")
    assert (code, json.loads(printed)) == (1, {"model.width": [32, 64]})


def test_exit_codes(runs, monkeypatch):
    first, second = map(str, runs)
    assert printed_by("--version")[0] == printed_by("config", "--help")[0] == 0
    assert printed_by("config", "diff", first, second)[0] == 1
    for wrong in (["config", "show", "nowhere"], ["config", "show", first, "--flag"], ["embed"], ["nothing"]):
        assert printed_by(*wrong)[0] == 2
    monkeypatch.setattr("dnar2mae.cli.doctor.run", lambda argv: signal_of_a_user())
    assert printed_by("doctor") == (130, "", "dnar2mae: interrupted\n")


def signal_of_a_user():
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (["pretrian"], "unknown command 'pretrian'; did you mean pretrain?"),
        (["benchmark", "rnu"], "benchmark: unknown command 'rnu'; did you mean run?"),
        (["xyz"], f"unknown command 'xyz'; expected one of: {', '.join(COMMANDS)}"),
    ],
)
def test_the_command_that_was_meant(given, hint):
    assert printed_by(*given) == (2, "", f"dnar2mae: {hint}\n")


@pytest.mark.parametrize(
    ("argv", "flag"),
    [
        (["benchmark", "run", "gue", "--out", "o", "--model", "a", "--model", "b"], "--model"),
        (["benchmark", "run", "gue", "--out", "o", "--method", "probe", "--method=knn"], "--method"),
        (
            [
                "benchmark",
                "build",
                "--genome",
                "g",
                "--annotation",
                "a",
                "--out",
                "o",
                "--tasks",
                "strand",
                "--tasks",
                "coding",
            ],
            "--tasks",
        ),
    ],
)
def test_a_flag_of_any_number_of_values_is_given_once(argv, flag, capsys):
    assert main(argv) == 2
    assert f"{flag} is given 2 times; it takes several values behind one: {flag} A B" in capsys.readouterr().err


def test_of_a_flag_of_one_value_the_last_counts(tmp_path, capsys):
    (tmp_path / "g.fa").write_text(">a\nACGT\n")
    argv = ["simulate", "--out", str(tmp_path / "s.fa"), "--length-bp", "1", "--length-bp", "80000"]
    assert main(argv) == 0, capsys.readouterr().err


def test_the_flag_that_was_meant():
    assert "--mask.low" in printed_by("pretrain", "x.fa", "--out", "y", "--mask.loww", "0.1")[2]


def test_every_example_of_the_help_is_of_flags_that_exist():
    flags = {path: {flag for option in spec["options"] for flag in option["flags"]} for path, spec in leaves()}
    examples = 0
    for name in COMMANDS:
        module = importlib.import_module(f"dnar2mae.cli.{name.replace('-', '_')}")
        text = Path(module.__file__).read_text()
        for line in re.findall(r'(?:^ *|Example: )(dnar2mae .+?)(?:"""|, and |$)', text, re.M):
            words = [word.strip(".,;:") for word in line.partition(">")[0].split()[1:]]
            path = tuple(words[: max(len(p) for p in flags if tuple(words[: len(p)]) == p)])
            assert {word for word in words if word.startswith("--")} <= flags[path], line
            examples += 1
    assert examples > len(COMMANDS)


def completed(words):
    """What bash offers for the last of some words."""
    script = printed_by("completion", "bash")[1]
    line = f"{script}\nCOMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _dnar2mae; echo ${{COMPREPLY[@]}}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout.split()


def test_completion_in_bash():
    assert completed(["dnar2mae", "pre"]) == ["pretrain", "predict"]
    assert completed(["dnar2mae", "benchmark", "r"]) == ["report", "run"]
    assert completed(["dnar2mae", "pretrain", "genome.fa", "--mask.lo"]) == ["--mask.low"]
    assert completed(["dnar2mae", "pretrain", "--preset", "t"]) == ["tiny"]
    assert completed(["dnar2mae", "pretrain", "gen"]) == []  # a file: left to the shell
    assert completed(["dnar2mae", "tokenizer", "train", "--vocab"]) == ["--vocabulary-size"]
    assert completed(["dnar2mae", "simulate", "lab"]) == ["labels"]
    assert completed(["dnar2mae", "simulate", "labels", "--ki"]) == ["--kind"]
    assert completed(["dnar2mae", "simulate", "--dens"]) == ["--dense"]


def test_completion_in_other_shells_names_every_command_and_flag():
    zsh, fish = (printed_by("completion", shell)[1] for shell in ("zsh", "fish"))
    assert "bashcompinit" in zsh.splitlines()[0]
    for path, spec in leaves():
        assert f"-a {path[-1]} " in fish
        for flag in (flag for option in spec["options"] for flag in option["flags"] if flag.startswith("--")):
            assert flag in zsh
            assert f"-l {flag[2:]}" in fish


def test_a_result_as_json_is_alone_on_stdout():
    for argv in (["doctor"], ["benchmark", "list"], ["benchmark", "list", "gue"]):
        code, printed, rest = printed_by(*argv, "--json")
        assert code == 0
        assert json.loads(printed)
        assert rest


def test_every_command_with_a_result_has_json():
    without = {" ".join(path) for path, spec in leaves() if not any("--json" in o["flags"] for o in spec["options"])}
    files_only = {"tokenizer train", "simulate", "embed", "benchmark report", "completion", "demo", "report"}
    for_the_eye = {"theory peff", "theory few-masks"}
    assert without - {path for path in without if path.startswith("plot ")} == files_only | for_the_eye


def test_json_has_null_for_what_is_not_finite(capsys):
    with output.json_at_end(True) as hand_over:
        print("aside")
        hand_over({"loss": float("nan"), "rows": (1, 2), "out": Path("runs/first")})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"loss": None, "rows": [1, 2], "out": "runs/first"}
    assert captured.err == "aside\n"


@pytest.mark.parametrize("no_color", [None, "1"])
def test_colours_are_off_by_no_color(no_color):
    from pty import openpty

    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    ours, theirs = openpty()  # as on a terminal
    line = [sys.executable, "-m", "dnar2mae.cli", "config", "--help"]
    subprocess.run(line, env=environment | ({"NO_COLOR": no_color} if no_color else {}), stdout=theirs, check=True)
    os.close(theirs)
    printed = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "usage: dnar2mae config" in re.sub(r"\x1b\[[\d;]*m", "", printed)
    assert bool(re.search(r"\x1b\[(\d+;)*(3|9)\dm", printed)) == (no_color is None)


@pytest.mark.parametrize("argv", [[], ["doctor"]], ids=["usage", "doctor"])
def test_it_fits_80_columns(argv, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    printed = printed_by(*argv)[1]
    assert {line for line in printed.splitlines() if len(line) > 80} == set()


def test_usage_names_every_command():
    printed = printed_by()[1]
    assert all(re.search(rf"^  {name} ", printed, re.M) for name in COMMANDS)
    assert dnar2mae.cli.main(["--version"]) == 0
