"""``dnar2mae finetune``."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro
from tyro.conf import OmitArgPrefixes

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse, peek
from dnar2mae.finetuning.options import FinetuneConfig


@dataclass(frozen=True, kw_only=True)
class FinetuneCommand:
    """Fine-tune a pretrained model on your labels.

    Example: dnar2mae finetune runs/first --data promoters.csv --out runs/promoters

    The kind of target is found from the label column (or columns) and printed; so is how rows are divided into train,
    dev and test. Beside the model, k-mer counts and the same network from random weights learn the same labels, and one
    table has the scores of all on test. With --resume the settings are those of the run.
    """

    out: Path
    """Run directory, for settings, metrics, checkpoints, summary.json, test_predictions.csv and plots."""
    resume: bool = False
    """Go on from the last checkpoint in --out."""
    overwrite: bool = False
    """Remove an earlier run in --out first, its checkpoints too; files that no run writes stay."""
    json: bool = False
    """Print the result as JSON, and all else on stderr."""
    tuning: OmitArgPrefixes[FinetuneConfig] = field(default_factory=FinetuneConfig)
    """Data, target, split and training."""


def run(argv: list[str]) -> int:
    """Parse, fine-tune, print the scores."""
    given, saved = peek(argv, "--out", flags=("--resume",)), FinetuneConfig()
    if given["resume"] and given["out"] and (Path(given["out"]) / "config.yaml").is_file():
        from dnar2mae.finetuning.saved import TunedDirectory

        saved = TunedDirectory(Path(given["out"])).read()
    default = replace(
        FinetuneCommand(out=Path(), tuning=saved), out=tyro.MISSING if not given["out"] else Path(given["out"])
    )
    command = parse(FinetuneCommand, argv, default=default, prog="dnar2mae finetune")
    from dnar2mae.cli.tuned_summary import print_scores
    from dnar2mae.finetuning.tuning import finetune

    result = finetune(command.tuning, command.out, resume=command.resume, overwrite=command.overwrite)
    if result.finished and os.environ.get("RANK", "0") == "0":
        with json_at_end(command.json) as hand_over:
            print_scores(result)
            hand_over(result)
    # torchrun would start a run again that exits with anything but 0
    return 0 if result.finished or "TORCHELASTIC_RUN_ID" in os.environ else 130
