from importlib.metadata import PackageNotFoundError
from pathlib import Path

import torch

from dnar2mae.cli import main
from dnar2mae.training import doctor


def test_doctor_names_what_runs_and_why_not(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert torch.__version__.split("+")[0] in printed
    if not torch.cuda.is_available():
        assert "it needs a CUDA GPU" in printed
        assert "chosen by auto" in printed
        assert "reference" in printed


def test_doctor_names_the_optional_packages(monkeypatch):
    def missing(package):
        if package == "fsspec":
            raise PackageNotFoundError(package)
        return "1.2"

    monkeypatch.setattr(doctor, "version", missing)
    rows = dict(doctor.extra_report())
    assert rows["remote (fsspec)"].endswith("not installed: pip install 'dnar2mae[remote]'")
    assert rows["zstd (zstandard)"] == "reads .zst files; 1.2"
    extras = {name.partition(" ")[0] for name in rows}
    declared = Path(__file__).parents[2].joinpath("pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in declared for extra in extras)
