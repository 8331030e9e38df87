"""``dnar2mae pretrain``."""

import os
from dataclasses import dataclass
from pathlib import Path

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.starting_point import StartingPoint, parse_settings, refuse_other_weights, warn_ignored
from dnar2mae.config import Data


@dataclass(frozen=True, kw_only=True)
class PretrainCommand(StartingPoint[Data]):
    """Pretrain a masked model on your genome, or on data of another modality.

    Example: dnar2mae pretrain genome.fa.gz --out runs/first

    --modality text, image, cell, or one that an installed package registers, changes the input and the flags
    --data.*: see dnar2mae pretrain --modality text --help. All other flags are the same.

    Settings come from --preset, then --config (a whole run's config.yaml or a part of one), then flags.
    With --resume they come from the run itself, which refuses what differs; those of a model come with --init.
    """

    out: Path
    """Run directory, for the configuration, metrics, checkpoints, summary and loss.png."""
    resume: bool = False
    """Go on from the last checkpoint in --out."""
    overwrite: bool = False
    """Remove an earlier run in --out first, its checkpoints too; files that no run writes stay."""
    json: bool = False
    """Print the result as JSON, and all else on stderr."""


def run(argv: list[str]) -> int:
    """Parse, pretrain, print the summary."""
    command, config = parse_settings(PretrainCommand, argv, prog="dnar2mae pretrain")
    refuse_other_weights(config, command.run)
    if not command.resume:
        warn_ignored(command.run, command.preset)
    from dnar2mae.cli.summary import print_summary
    from dnar2mae.training.pretrain import pretrain

    result = pretrain(command.run, command.out, resume=command.resume, overwrite=command.overwrite)
    if result.finished and os.environ.get("RANK", "0") == "0":
        with json_at_end(command.json) as hand_over:
            print_summary(result)
            hand_over(result)
    # torchrun would start a run again that exits with anything but 0.
    is_failure = not result.finished and "TORCHELASTIC_RUN_ID" not in os.environ
    return 130 if is_failure else 0
