import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dnar2mae.cli import main
from dnar2mae.config import ModelConfig
from dnar2mae.errors import RunError
from dnar2mae.hub import onnx_file
from dnar2mae.hub.onnx_file import export_onnx
from dnar2mae.inference import Model
from tests.random_run import write_run

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
# lengths of a graph are symbols, which are no int
pytestmark = [pytest.mark.long, pytest.mark.usefixtures("any_type")]
SIZES = ModelConfig(width=16, depth=4, heads=2, mlp_width=16, global_every=2, local_tokens=8)
BACKBONES = ("cnn", "hybrid", "transformer")


@pytest.mark.parametrize("backbone", BACKBONES)
def test_logits_at_any_batch_size_and_length(backbone, tmp_path):
    run = write_run(tmp_path / "run", replace(SIZES, backbone=backbone))
    check = export_onnx(run, tmp_path / "deep" / "m.onnx", license="cc-by-4.0")
    assert check.lengths == (64, 32)
    assert check.largest < 1e-5
    assert check.scale > 0.1
    session = onnxruntime.InferenceSession(tmp_path / "deep" / "m.onnx")
    model = Model.from_pretrained(run, device="cpu")
    for shape in ((1, 1), (2, 7), (5, 64), (3, 301)):
        ids = torch.randint(8, shape)
        with torch.inference_mode():
            expected = model.module.logits(model.module(ids)).numpy()
        np.testing.assert_allclose(session.run(["logits"], {"input_ids": ids.numpy()})[0], expected, atol=1e-5)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["tokens"])[4:] == list("ACGT")
    assert (facts["k"], facts["stride"], facts["window_bp"], facts["license"]) == ("1", "1", "64", "cc-by-4.0")
    onnx.checker.check_model(tmp_path / "deep" / "m.onnx")


def test_the_command_prints_the_comparison(tmp_path, capsys):
    run, out = write_run(tmp_path / "run", replace(SIZES, backbone="cnn"), k=3), tmp_path / "m.onnx"
    assert main(["export", str(run), "--to", str(out), "--json"]) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert result["check"]["lengths"] == [21, 10]
    assert "onnxruntime against dnar2mae on rows of 21 and 10 tokens: largest difference of logits" in shown.err
    assert shown.err.count("\n") == 2  # nothing of the exporter's own
    before = out.read_bytes()
    assert main(["export", str(run), "--to", str(out)]) == 2
    assert "exists; replace the file with --overwrite" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main(["export", str(run), "--to", str(tmp_path / "n.onnx"), "--check", "g.fa"]) == 2
    assert "always checked by onnxruntime" in capsys.readouterr().err
    assert main(["export", str(run), "--to", str(out), "--overwrite"]) == 0


def test_what_has_no_such_graph_is_refused(tmp_path, monkeypatch):
    for settings, message in (
        ({"backbone": "transformer", "objective": "mae"}, "objective mae has a decoder"),
        ({"backbone": "mlp"}, "backbone mlp takes one length only"),
    ):
        run = write_run(tmp_path / message[:12].replace(" ", "_"), replace(SIZES, **settings))
        with pytest.raises(RunError, match=message):
            export_onnx(run, tmp_path / "m.onnx")
    run = write_run(tmp_path / "run", replace(SIZES, backbone="cnn", depth=1))
    monkeypatch.setattr(onnx_file, "TOLERANCE", 0.0)
    with pytest.raises(RunError, match=r"not written: by onnxruntime the logits differ by \S+, more than 0"):
        export_onnx(run, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(RunError, match=r"needs the package onnxscript: pip install 'dnar2mae\[onnx\]'"):
        export_onnx(run, tmp_path / "m.onnx")
