"""``dnar2mae export``."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse
from dnar2mae.errors import ConfigError, RunError


@dataclass(frozen=True, kw_only=True)
class ExportCommand:
    """Write a trained model as a folder that transformers loads without remote code, or as an ONNX file.

    A Transformer becomes a stock ModernBertForMaskedLM. Other backbones need `import dnar2mae.hub` before. A fine-tuned
    Transformer becomes a stock ModernBertForSequenceClassification, or ModernBertForTokenClassification of bases.

    With --to X.onnx the file takes token ids of any batch size and length, and gives their logits; it is written if by
    onnxruntime these are those of the model.

    Example: dnar2mae export runs/first --to models/first --license cc-by-4.0
    """

    run: Positional[Path]
    """Run directory (its last checkpoint), a checkpoint such as RUN/checkpoints/best, or a fine-tuned run."""
    to: Path
    """Folder to write: config.json, model.safetensors, the tokenizer and the model card README.md; or a file .onnx."""
    license: str = "unknown"
    """Licence of the weights, for the model card: apache-2.0, cc-by-4.0, ..."""
    ema: bool = False
    """Export the averaged weights of --optimizer.ema: the same as naming RUN/checkpoints/ema."""
    overwrite: bool = False
    """Replace an earlier export in --to."""
    check: Path | None = None
    """Sequence file: run some of it through the folder by transformers and print the largest difference of logits."""
    json: bool = False
    """Print the result as JSON, and all else on stderr."""


def run(argv: list[str]) -> int:
    """Parse, export, print the names of the files."""
    command = parse(ExportCommand, argv, prog="dnar2mae export")
    source = command.run / "checkpoints" / "ema" if command.ema else command.run
    if command.ema and not source.is_dir():
        raise RunError(f"{command.run}: no averaged weights here: train with --optimizer.ema, and name the run itself")
    return _onnx(command, source) if command.to.suffix == ".onnx" else _folder(command, source)


def _onnx(command: ExportCommand, source: Path) -> int:
    if command.check is not None:
        raise ConfigError("--check is by transformers; an ONNX file is always checked by onnxruntime: leave it out")
    from dnar2mae.hub.onnx_file import export_onnx

    check = export_onnx(source, command.to, license=command.license, overwrite=command.overwrite)
    with json_at_end(command.json) as hand_over:
        print(
            f"Wrote {command.to}: input_ids and logits of any batch size and length\n"
            f"onnxruntime against dnar2mae on rows of {check.lengths[0]:,} and {check.lengths[1]:,} tokens: largest "
            f"difference of logits {check.largest:.1e} (they reach {check.scale:.1f})"
        )
        hand_over({"file": command.to, "check": check._asdict()})
    return 0


def _folder(command: ExportCommand, source: Path) -> int:
    from dnar2mae.hub import compare, export

    folder = export(source, command.to, license=command.license, overwrite=command.overwrite)
    files = sorted(file.name for file in folder.iterdir())
    with json_at_end(command.json) as hand_over:
        print(f"Wrote {folder}: {', '.join(files)}")
        parity = compare(source, folder, command.check) if command.check else None
        if parity:
            print(
                f"transformers against dnar2mae on {parity.windows} windows ({parity.tokens:,} tokens) of "
                f"{command.check}: same tokens, largest difference of logits {parity.largest:.1e} (they reach "
                f"{parity.scale:.1f})"
            )
        hand_over({"folder": folder, "files": files, "check": parity and parity._asdict()})
    return 0
