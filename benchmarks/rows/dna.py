"""Rows of DNA: letters from files, both strands, models of this package and Hugging Face folders."""

from pathlib import Path

from dnar2mae.benchmarks.models.encoder import Encoder
from dnar2mae.benchmarks.models.kmers import kmer_counts
from dnar2mae.benchmarks.rows.contract import LabelledData, LabelledRows
from dnar2mae.benchmarks.tasks.sequences import reverse_complement
from dnar2mae.benchmarks.tasks.suite import SPLITS, SuiteTask
from dnar2mae.benchmarks.tasks.tables import find_split, read_split
from dnar2mae.errors import ConfigError

_RAW = "k-mer counts"


def _find(task: SuiteTask, folder: Path) -> bool:
    if task.options:
        raise ConfigError(
            f"task {task.name}: tasks of DNA have no options, got {', '.join(task.options)}; "
            "a suite of other rows names its modality"
        )
    return bool(find_split(folder, "test"))


def _read(task: SuiteTask, folder: Path) -> dict[str, LabelledRows]:
    paths = {split: find_split(folder, split) for split in SPLITS}
    return {split: LabelledRows(*read_split(files, task.label_map())) for split, files in paths.items() if files}


def _load(path: str, device: str, trust_remote_code: bool) -> Encoder:
    from dnar2mae.benchmarks.models.checkpoint import from_checkpoint
    from dnar2mae.benchmarks.models.huggingface import from_huggingface
    from dnar2mae.inference import is_trained_model

    if is_trained_model(Path(path)):
        return from_checkpoint(path, Path(path), device)
    return from_huggingface(path, Path(path), device, trust_remote_code=trust_remote_code)


DNA = LabelledData(
    find=_find,
    read=_read,
    key=str.encode,
    load=_load,
    raw=lambda task, folder, rows: {_RAW: kmer_counts(rows)},
    raw_names=(_RAW,),
    reverse=reverse_complement,
    baselines=("random", "raw", "combined", "cnn"),
)
"""Rows are strings of upper-case A, C, G, T, N."""
