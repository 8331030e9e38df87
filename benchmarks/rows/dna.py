"""DNA as a kind of rows: letters from files, both strands, models of this package and Hugging Face folders."""

from pathlib import Path

from dnar2mae.benchmarks.models.encoder import Encoder
from dnar2mae.benchmarks.rows.kinds import Kind, LabelledRows
from dnar2mae.benchmarks.tasks.sequences import reverse_complement
from dnar2mae.benchmarks.tasks.suite import SPLITS, SuiteTask
from dnar2mae.benchmarks.tasks.tables import find_split, read_split


def is_ours(path: Path) -> bool:
    """Whether a folder is a run, a checkpoint or an export of this package."""
    exported = (path / "config.json").is_file() and '"ModernBertForMaskedLM"' in (path / "config.json").read_text()
    return (path / "config.yaml").is_file() or (path / "state.json").is_file() or exported


def _find(task: SuiteTask, folder: Path) -> bool:
    return bool(find_split(folder, "test"))


def _read(task: SuiteTask, folder: Path) -> dict[str, LabelledRows]:
    paths = {split: find_split(folder, split) for split in SPLITS}
    return {split: LabelledRows(*read_split(found, task.label_map())) for split, found in paths.items() if found}


def _load(path: str, device: str, trust_remote_code: bool) -> Encoder:
    from dnar2mae.benchmarks.models.checkpoint import from_checkpoint
    from dnar2mae.benchmarks.models.huggingface import from_huggingface

    if is_ours(Path(path)):
        return from_checkpoint(path, Path(path), device)
    return from_huggingface(path, Path(path), device, trust_remote_code=trust_remote_code)


DNA = Kind(
    find=_find,
    read=_read,
    key=str.encode,
    load=_load,
    reverse=reverse_complement,
    baselines=("random", "kmer", "cnn"),
)
"""Rows are strings of upper-case A, C, G, T, N."""
