"""``pretrain``: train the model of a configuration and write its run directory."""

import errno
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from dnar2mae.config import PretrainConfig
from dnar2mae.distributed import start_ranks
from dnar2mae.errors import RunError
from dnar2mae.modalities.registry import build_modality
from dnar2mae.run.checkpoint import checkpoints, last_good, recover
from dnar2mae.run.directory import RunDirectory
from dnar2mae.run.result import RunResult
from dnar2mae.training.device import check_trainable, choose_device
from dnar2mae.training.start import starting_point
from dnar2mae.training.trainer import Trainer

_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


def pretrain(
    config: PretrainConfig, out: str | Path, *, resume: bool = False, overwrite: bool = False, extras: bool = True
) -> RunResult:
    """Pretrain a masked model and write a run directory.

    Parameters
    ----------
    config
        All settings of the run.
    out
        Run directory, for ``config.yaml``, ``environment.json``, ``data.sha256``, ``metrics.jsonl``, ``checkpoints/``,
        ``summary.json`` and ``loss.png``.
    resume
        Go on from the last checkpoint in ``out``; with none there yet, start.
    overwrite
        Remove an earlier run in ``out`` first, but no other files.
    extras
        Fit trivial models, and draw pictures and the plot; without, many short runs take far less time.

    Returns
    -------
    RunResult
        Held-out losses and the yardstick. SIGINT, SIGTERM and SIGUSR1 save a checkpoint and return early with
        ``finished=False``.

    Raises
    ------
    Dnar2maeError
        For bad input, an unusable ``out``, gradients that are not finite, or a full disk: one line that says what
        to do.

    Notes
    -----
    Under torchrun every process calls this; the first writes. A group that torchrun restarts resumes by itself.
    """
    run = RunDirectory(Path(out))
    device, autocast = choose_device(config)
    check_trainable(config, device, autocast)
    with start_ranks(config, device) as ranks:
        if ranks.restarted and run.is_of_this_job():
            resume, overwrite = True, False
        begun = run.path if resume and checkpoints(run.path) else None  # without a checkpoint nothing of it is used
        config, start = starting_point(config, begun)
        if ranks.is_first:
            run.check(config, resume=resume, overwrite=overwrite)
        modality = build_modality(config, start.saved if start else begun)
        with ranks.first_on_each_node():  # builds caches, which the others then find
            modality.open()
        trainer = Trainer(config, modality, run, device, autocast, ranks=ranks, start=start)
        trainer.extras = extras
        held: AbstractContextManager = nullcontext()
        if ranks.is_first:
            held = run.hold(config, resume=resume, overwrite=overwrite, data=modality.fingerprint())
        try:
            with held:
                if ranks.is_first:
                    recover(run.path)
                    modality.save(run.path)
                ranks.wait()
                return trainer.run(resume=resume)
        except OSError as error:
            if error.errno not in _DISK_IS_FULL:
                raise
            raise RunError(f"{run.path}: no space left on the disk; {last_good(run.path)}") from error
