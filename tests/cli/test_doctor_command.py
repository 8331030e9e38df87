import torch

from dnar2mae.cli import main


def test_doctor_names_what_runs_and_why_not(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert torch.__version__.split("+")[0] in printed
    if not torch.cuda.is_available():
        assert "it needs a CUDA GPU" in printed
        assert "chosen by auto" in printed
        assert "reference" in printed
