import gzip
import os
import re
import subprocess
import sys
import time

import pytest

from dnar2mae.cli import main

SMALL = [
    *("--data.window-bp", "64", "--steps", "4", "--batch-size", "4", "--validation-windows", "8"),
    *("--model.backbone", "transformer", "--model.width", "16", "--model.depth", "1", "--model.heads", "1"),
    *("--model.mlp-width", "16", "--device", "cpu"),
]


def refused(capsys, tmp_path, *argv):
    """Run a command that must fail: exit code 2, one line, nothing written."""
    out = tmp_path / "refused"
    code = main(["pretrain", *map(str, argv), "--out", str(out), *SMALL])
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("dnar2mae: ")]
    assert code == 2
    assert len(lines) == 1
    assert "Traceback" not in captured.err
    assert not out.exists()
    return lines[0]


def test_flags_reach_the_run_and_the_summary_is_printed(fasta, tmp_path, capsys):
    out = tmp_path / "run"
    code = main(["pretrain", str(fasta), "--out", str(out), *SMALL, "--mask.law", "fixed", "--mask.ratio", "0.4"])
    assert code == 0
    assert "law: fixed" in (out / "config.yaml").read_text()
    assert "ratio: 0.4" in (out / "config.yaml").read_text()
    printed = capsys.readouterr().out
    assert "this model, mask ratio 0.15" in printed
    assert "two-sided counts" in printed
    assert "held-out samples, the same for all but the untrained model" in printed
    assert re.search(r"(Below|Level with|Not below) Markov order", printed)
    assert main(["pretrain", "--out", str(out), "--resume"]) == 0


def test_config_file_then_flags(fasta, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("mask: {high: 0.9}\nseed: 3\n")
    flags = ["--config", str(tmp_path / "c.yaml"), "--seed", "5", "--out", str(tmp_path / "run")]
    assert main(["pretrain", str(fasta), *flags, *SMALL]) == 0
    saved = (tmp_path / "run" / "config.yaml").read_text()
    assert "high: 0.9" in saved
    assert "seed: 5" in saved


BAD_FILES = {
    "empty.fa": (b"", "the file is empty"),
    "words.txt": (b"hello, this is not FASTA\n", "not a sequence file"),
    "protein.fa": (b">p\nMKVLAAGIVGLPE\n", "protein"),
    "twice.fa": (b">a\nACGT\n>a\nACGT\n", "a"),
    "unknown.fa": (b">a\n" + b"N" * 5000 + b"\n", "no known base"),
    "short.fa": (b">a\nACGTACGT\n", "bp"),
    "cut.fa.gz": (
        gzip.compress(
            b">a\n" + os.urandom(4000).hex().translate(str.maketrans("0123456789abcdef", "ACGT" * 4)).encode()
        )[:-300],
        "trunc",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_genomes_are_named_in_one_line(name, tmp_path, capsys):
    content, word = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    line = refused(capsys, tmp_path, tmp_path / name)
    assert name in line
    assert word in line


def test_missing_file_and_no_file(tmp_path, capsys):
    assert "no such file" in refused(capsys, tmp_path, tmp_path / "none.fa")
    assert "no genome given" in refused(capsys, tmp_path)


def test_unknown_sequences(fasta, tmp_path, capsys):
    (tmp_path / "r.bed").write_text("three\t0\t500\n")
    with pytest.warns(UserWarning, match="r.bed: 1 of 1 regions are left out: no genome has three"):
        line = refused(capsys, tmp_path, fasta, "--data.include", tmp_path / "r.bed")
    assert "no window of 64 bp is left of" in line
    assert "--data.include removed" in line
    assert "onne" in refused(capsys, tmp_path, fasta, "--data.validation", "onne")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mask.low", "0.6", "--mask.high", "0.5"], "--mask.law uniform:0.6,0.5: low must be at most high (0.5)"),
        (["--mask.high", "1.5"], "--mask.high must be in [0, 1], got 1.5"),
        (["--mask.law", "fixed", "--mask.ratio", "0"], "--mask.ratio must be in (0, 1), got 0.0"),
        (["--micro-batch", "3"], "--micro-batch must be a divisor"),
        (["--tokenizer.k", "9"], "--tokenizer.k must be in 1..8, got 9"),
    ],
)
def test_bad_settings(fasta, tmp_path, capsys, flags, message):
    assert message in refused(capsys, tmp_path, fasta, *flags)


def test_unknown_key_in_a_config(fasta, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("mask: {hihg: 0.9}\n")
    assert "unknown key hihg" in refused(capsys, tmp_path, fasta, "--config", tmp_path / "c.yaml")


def test_used_and_unwritable_outputs(fasta, tmp_path, capsys):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "x").touch()
    assert main(["pretrain", str(fasta), "--out", str(tmp_path / "used"), *SMALL]) == 2
    assert "not empty; go on with --resume" in capsys.readouterr().err
    assert main(["pretrain", str(fasta), "--out", "/proc/nowhere/run", *SMALL]) == 2
    assert capsys.readouterr().err.startswith("dnar2mae: /proc/nowhere/run: ")


def test_unknown_command_and_unknown_flag(capsys):
    assert main(["pretain"]) == 2
    assert "unknown command 'pretain'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["pretrain", "--colour", "red"])


def test_help_is_quick_and_light():
    for argv in ([], ["pretrain", "--help"], ["theory", "risk", "--help"]):
        code = (
            f"import sys; sys.argv = ['dnar2mae', *{argv!r}]\n"
            "from dnar2mae.cli import main\n"
            "try:\n    main()\nexcept SystemExit:\n    pass\n"
            "heavy = [m for m in ('torch', 'triton', 'pandas', 'matplotlib', 'numpy', 'Bio') if m in sys.modules]\n"
            "sys.exit(', '.join(heavy) or 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (argv[0] if argv else "pretrain") in done.stdout


def test_a_setting_without_effect_is_told_in_a_line(tmp_path):
    flags = ["none.fa", "--out", "run", "--mask.law", "fixed", "--mask.low", "0.2", "--model.heads", "4"]
    command = [sys.executable, "-m", "dnar2mae.cli", "pretrain", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    *warned, error = done.stderr.splitlines()
    assert warned == [
        "dnar2mae: warning: --mask.low has no effect: --mask.law fixed does not take it",
        "dnar2mae: warning: --model.heads has no effect: --model.backbone cnn does not use it",
    ]
    assert error.startswith("dnar2mae: none.fa")


def test_debug_shows_the_traceback(tmp_path):
    from dnar2mae.errors import Dnar2maeError

    with pytest.raises(Dnar2maeError):
        main(["--debug", "pretrain", str(tmp_path / "none.fa"), "--out", str(tmp_path / "run")])


def test_closed_pipe_is_quiet(fasta, tmp_path):
    script = f"{sys.executable} -m dnar2mae.cli pretrain --help | head -1"
    start = time.monotonic()
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert time.monotonic() - start < 30


WSD = ["--optimizer.schedule", "wsd", "--optimizer.warmup-steps", "1"]


@pytest.fixture
def trained(fasta, tmp_path):
    """A finished run."""
    out = tmp_path / "trained"
    assert main(["pretrain", str(fasta), "--out", str(out), *SMALL, *WSD]) == 0
    return out


FREE = ["--data.window-bp", "64", "--steps", "2", "--batch-size", "4", "--validation-windows", "8", "--device", "cpu"]


@pytest.mark.parametrize(
    ("flags", "differences"),
    [
        (
            "--model.width 64 --model.objective mae --tokenizer.k 3",
            "--tokenizer.k is 1 there, got 3; --model.width is 16 there, got 64; "
            "--model.objective is mlm there, got mae",
        ),
        ("--model.width 128 --preset tiny", "--model.width is 16 there, got 128"),
        ("--config FILE", "--model.depth is 1 there, got 3"),
    ],
)
@pytest.mark.filterwarnings("ignore:--preset tiny")
def test_weights_to_begin_with_keep_their_settings(fasta, trained, tmp_path, capsys, flags, differences):
    (tmp_path / "c.yaml").write_text("model: {depth: 3}\n")
    flags = flags.replace("FILE", str(tmp_path / "c.yaml")).split()
    line = ["pretrain", str(fasta), "--init", str(trained), "--out", str(tmp_path / "next"), *FREE]
    assert main([*line, *flags]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"dnar2mae: --init {trained}: the weights keep their settings: {differences}"
    )
    assert not (tmp_path / "next").exists()
    assert main(line) == 0
    assert "width: 16" in (tmp_path / "next" / "config.yaml").read_text()
    assert main(["pretrain", "--out", str(tmp_path / "next"), "--resume", "--model.width", "128"]) == 2
    assert "--model.width is 16 there, got 128" in capsys.readouterr().err


def test_a_preset_beside_other_weights_says_what_it_leaves(fasta, trained, tmp_path):
    line = ["pretrain", str(fasta), "--init", str(trained), "--out", str(tmp_path / "next"), *FREE]
    with pytest.warns(UserWarning, match=f"^--preset small: the model's sizes remain those of --init {trained}$"):
        assert main([*line, "--preset", "small"]) == 0
    assert "width: 16" in (tmp_path / "next" / "config.yaml").read_text()


def test_a_file_or_preset_beside_a_run_to_resume_is_not_ignored(trained, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("seed: 7\noptimizer: {lr: 0.5}\nnum_workers: 1\n")
    line = ["pretrain", "--out", str(trained), "--resume"]
    assert main([*line, "--config", str(tmp_path / "c.yaml")]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "must keep its settings: --optimizer.lr was 0.002, got 0.5; --seed was 0, got 7" in message
    assert main([*line, "--preset", "base"]) == 2
    assert "--model.width was 16, got 640" in capsys.readouterr().err.splitlines()[-1]
    (tmp_path / "c.yaml").write_text("seed: 0\nmicro_batch: 2\nsteps: 6\n")
    assert main([*line, "--config", str(tmp_path / "c.yaml")]) == 0
    assert "steps: 6" in (trained / "config.yaml").read_text()
    assert "micro_batch: 2" in (trained / "config.yaml").read_text()


def test_an_encoder_that_sees_no_token_at_all_trains_on(fasta, tmp_path):
    mae = "--model.backbone transformer --model.objective mae --tokenizer.k 8 --tokenizer.stride 3 --data.window-bp 12"
    sizes = "--model.width 16 --model.depth 2 --model.mlp-width 16 --validation-windows 8 --device cpu --mask.low 0.4"
    mae += " --batch-size 4 --steps 12"
    assert main(["pretrain", str(fasta), "--out", str(tmp_path / "run"), *mae.split(), *sizes.split()]) == 0


def test_averaged_weights_are_exported_when_asked_for(fasta, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["pretrain", str(fasta), "--out", str(run), *SMALL, "--optimizer.ema", "0.9"]) == 0
    assert main(["export", str(run), "--to", str(tmp_path / "plain")]) == 0
    assert main(["export", str(run), "--to", str(tmp_path / "ema"), "--ema"]) == 0
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "ema")]
    assert files[0] != files[1]
    assert main(["export", str(run / "checkpoints" / "best"), "--to", str(tmp_path / "x"), "--ema"]) == 2
    assert "no averaged weights here: train with --optimizer.ema" in capsys.readouterr().err
