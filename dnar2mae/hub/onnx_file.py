"""A trained model as an ONNX file, compared with the model by onnxruntime before it is written."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dnar2mae.errors import RunError, needing, raising
from dnar2mae.finetuning.saved import is_tuned
from dnar2mae.inference.model import Model
from dnar2mae.models import MaskedModel
from dnar2mae.models.mlp import Mlp
from dnar2mae.storage.safe_files import written_whole

TOLERANCE = 1e-4
"""Largest difference of a logit with which a file is written."""


class OnnxCheck(NamedTuple):
    """How an ONNX file compares with its source."""

    lengths: tuple[int, ...]
    """Tokens of a row, of the batches that were compared."""
    largest: float
    """Largest difference of a logit of a real token, fp32."""
    scale: float
    """Largest magnitude of such a logit."""


class _Logits(nn.Module):
    def __init__(self, module: MaskedModel) -> None:
        super().__init__()
        self.module = module

    def forward(self, input_ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        return self.module.logits(self.module(input_ids))


def export_onnx(source: str | Path, to: str | Path, *, license: str = "unknown", overwrite: bool = False) -> OnnxCheck:
    """Write the logits of a model as an ONNX graph of any batch size and length; the file is complete or absent.

    Its input is ``input_ids`` [batch, length] (int64, no padding), its output ``logits`` [batch, length, tokens]. Its
    metadata have ``tokens`` (a JSON list by id), ``k``, ``stride``, ``window_bp`` and ``license``.

    Parameters
    ----------
    source
        As for :func:`dnar2mae.hub.export`, but no fine-tuned run.
    to
        The file.
    license
        Licence of the weights.
    overwrite
        Replace the file if it exists.

    Returns
    -------
    OnnxCheck
        The comparison of logits by onnxruntime: of 3 rows as long as the training windows, and of 2 half as long, of
        random bases of which every seventh token is masked.

    Raises
    ------
    RunError
        If a package is missing; the source cannot be read, is fine-tuned, or has an objective or a backbone that has no
        such graph; the file exists or cannot be written; or the logits differ by more than 1e-4.
    """
    to = Path(to)
    if is_tuned(source):
        raise RunError(f"{source}: a fine-tuned run is exported as a folder; give --to without .onnx")
    if to.exists() and not (overwrite and to.is_file()):
        raise RunError(f"{to}: exists; replace the file with --overwrite or choose another --to")
    for package in ("onnx", "onnxscript", "onnxruntime"):
        with needing("--to X.onnx", package, "dnar2mae[onnx]", RunError):
            import_module(package)
    model = Model.from_pretrained(source, device="cpu")
    if model.module.decoder is not None:
        raise RunError(f"{source}: a model of objective mae has a decoder; export needs mlm")
    if isinstance(model.module.encoder, Mlp):
        raise RunError(f"{source}: a model of backbone mlp takes one length only; an ONNX file takes any")
    content = _graph(model, license)
    check = _compare(model, content)
    if not check.largest <= TOLERANCE:
        raise RunError(
            f"{to}: not written: by onnxruntime the logits differ by {check.largest:.1e}, more than {TOLERANCE:g}"
        )
    with raising(RunError, f"{to}: cannot write the model", OSError):
        to.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(to) as partial:
            partial.write_bytes(content)
    return check


def _graph(model: Model, license: str) -> bytes:
    any_size = torch.export.Dim.DYNAMIC
    example = _examples(model, 3, model.tokenizer.num_tokens(model.window_bp))
    with _quiet():
        program = torch.onnx.export(
            _Logits(model.module),
            (example,),
            input_names=["input_ids"],
            output_names=["logits"],
            dynamic_shapes={"input_ids": {0: any_size, 1: any_size}},
            dynamo=True,
            verbose=False,
        )
        assert program is not None, "None comes of exports that were not made by dynamo"
        proto = program.model_proto
    facts = {
        "tokens": json.dumps(model.tokenizer.tokens()),
        "k": str(model.tokenizer.k),
        "stride": str(model.tokenizer.stride),
        "window_bp": str(model.window_bp),
        "license": license,
    }
    for name, value in facts.items():
        proto.metadata_props.add(key=name, value=value)
    return proto.SerializeToString()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter says of packages that it does without and of steps of its own."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _examples(model: Model, num_rows: int, length: int) -> Int[Tensor, "B T"]:
    """Return random real tokens, every seventh of them masked."""
    vocabulary = model.tokenizer.vocabulary
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(vocabulary.num_real, (num_rows, length), generator=generator) + vocabulary.first_real
    ids[:, ::7] = vocabulary.mask_id
    return ids


def _compare(model: Model, content: bytes) -> OnnxCheck:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    length, real = model.tokenizer.num_tokens(model.window_bp), model.tokenizer.vocabulary.real
    lengths, largest, scale = (length, max(length // 2, 1)), 0.0, 0.0
    for num_rows, tokens in zip((3, 2), lengths, strict=True):
        ids = _examples(model, num_rows, tokens)
        with torch.inference_mode():
            ours = model.module.logits(model.module(ids))[..., real]
        theirs = torch.from_numpy(session.run(None, {"input_ids": ids.numpy()})[0])[..., real]
        largest, scale = max(largest, float((ours - theirs).abs().max())), max(scale, float(ours.abs().max()))
    return OnnxCheck(lengths, largest, scale)
