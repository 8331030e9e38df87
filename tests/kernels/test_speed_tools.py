"""The benchmark's table."""

import pytest

from dnar2mae.benchmarks.speed import table
from dnar2mae.benchmarks.speed.measure import FIELDS, KEY


def row(backend, mode, ms, *, device="NVIDIA H200", vocabulary=8):
    key = ["masked_embedding", backend, mode, "bfloat16", str(1 << 18), str(vocabulary), "768"]
    rest = {"ms_p50": str(ms), "gb_per_s": "3600", "copy_gb_per_s": "4000", "device": device, "torch": "2.11"}
    return {**dict.fromkeys(FIELDS, ""), **dict(zip(KEY, key, strict=True)), **rest}


def test_table_without_gpu_rows_says_what_is_owed():
    text = table.table([row("triton", "forward", 1, device="cpu x2")])
    assert text.count("owed") == 30
    assert "make gpu" in text


def test_table_takes_the_last_row_of_each_key():
    rows = [row("triton", "forward", 9), row("triton", "forward", 0.1), row("eager", "forward", 0.5)]
    line = table.table(rows).splitlines()[2]
    assert line == "| masked_embedding | 8 | 0.1 | 90% | 5.0x | owed | owed |"


def test_table_goes_between_the_markers(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{table.START}\nold\n{table.END}\nbelow\n")
    table.write(readme, "new")
    table.write(readme, "new")
    assert readme.read_text() == f"above\n{table.START}\nnew\n{table.END}\nbelow\n"
    readme.write_text("none")
    with pytest.raises(ValueError, match="must contain <!-- speed:start -->"):
        table.write(readme, "new")
