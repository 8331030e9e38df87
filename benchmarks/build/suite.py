"""From an annotated genome to a suite on disk."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from dnar2mae.benchmarks.build.config import TASKS, BuildConfig
from dnar2mae.benchmarks.build.examples import Examples, fit_for_use, letters, matched, window_codes
from dnar2mae.benchmarks.build.partition import inside, partition
from dnar2mae.benchmarks.build.tasks import MAKERS, TaskSource
from dnar2mae.benchmarks.tasks.sequences import canonical
from dnar2mae.benchmarks.tasks.suite import CUSTOM_FILE
from dnar2mae.errors import ConfigError, SequenceError
from dnar2mae.genome.annotation import Annotation, read_annotation
from dnar2mae.genome.intervals import Intervals
from dnar2mae.genome.store import Genome, open_genomes
from dnar2mae.storage.safe_files import folder_written_whole, refuse_inputs

LEAST_EXAMPLES = {"train": 40, "dev": 10, "test": 10}
"""Examples of every class that a task needs."""
_SPLITS = ("test", "dev", "train")  # a sequence that occurs in several stays in the first


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """The suite that a build has written."""

    folder: Path
    annotated: str
    """The format that the annotation was read as, and what it has, in words."""
    counts: dict[str, dict[str, dict[str, int]]]
    """Examples by task, class and split."""
    left_out: dict[str, str]
    """Tasks that could not be made, and lines that were not used, with the reason."""
    remark: str
    """What another ``inside_bp`` would give; empty where nothing is to be said."""


@dataclass(frozen=True, slots=True)
class _Task:
    classes: tuple[str, ...]
    length_bp: int
    num_annotated: int
    splits: dict[str, tuple[Examples, list[str]]]
    regions: Intervals
    """Stretches of all splits, sorted; windows of one share a fold."""


def build_suite(
    genome_path: Path, annotation_path: Path, out: Path, config: BuildConfig, *, overwrite: bool = False
) -> Built:
    """Make a suite of csv files and a ``suite.yaml``; a pure function of the two files and the configuration.

    Parameters
    ----------
    genome_path
        FASTA, GenBank or EMBL file, or a GFF3 that ends in its sequences.
    annotation_path
        GFF3, GTF, BED, GenBank or EMBL file.
    out
        Folder to make; it appears whole or not at all.
    config
        Tasks, hold-outs, sizes, seed.
    overwrite
        Replace an earlier suite.

    Returns
    -------
    Built
        Counts, and what was left out.

    Raises
    ------
    SequenceError
        A file breaks its format, or no task has enough examples.
    ConfigError
        A setting does not fit the genome, or ``out`` is in use or holds an input.
    """
    if out.exists() and not (overwrite and (out / CUSTOM_FILE).is_file()):
        raise ConfigError(f"--out {out} exists; --overwrite replaces a suite")
    refuse_inputs(out, (genome_path, annotation_path, config.assembly_report))
    (genome,) = open_genomes([genome_path], config.assembly_report)
    annotation = read_annotation(annotation_path, genome)
    regions = partition(genome, config)
    tasks: dict[str, _Task] = {}
    left_out = {f"sequence {name}": f"{n} lines, not on the genome" for name, n in annotation.unplaced.items()}
    for name in config.tasks:
        task = _task(name, genome, annotation, regions, config)
        if short := _too_few(task):
            left_out[name] = short
        else:
            _assert_apart(task)
            tasks[name] = task
    if not tasks:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise SequenceError(f"{annotation_path}: no task has enough examples ({reasons})")
    about = {"genome": genome_path.name, "annotation": annotation_path.name, "settings": asdict(config)}
    _write(tasks, genome, out, about)
    counts = {name: _counts(task) for name, task in tasks.items()}
    remark = _of_short_parts(annotation, config.length_of("coding")) if "coding" in tasks else ""
    return Built(folder=out, annotated=annotation.summary(), counts=counts, left_out=left_out, remark=remark)


def _of_short_parts(annotation: Annotation, length_bp: int) -> str:
    """Return that most coding parts are shorter than a window, if they are, and what length half of them have."""
    parts = {(t.name, *part) for t in annotation.transcripts for part in t.coding}
    lengths = np.array([end - start for _, start, end in parts])
    share, half = (lengths >= length_bp).mean(), max(int(np.median(lengths)) // 4 * 4, 20)
    if share >= 0.5 or half >= length_bp:
        return ""
    return f"{share:.0%} of the coding parts hold a window of {length_bp} bp, half of them one of {half} (--inside-bp)."


def _task(
    name: str, genome: Genome, annotation: Annotation, regions: dict[str, Intervals], config: BuildConfig
) -> _Task:
    # By the task's number among all: a task is the same whichever others are built.
    rng = np.random.default_rng((config.seed, TASKS.index(name)))
    length_bp = config.length_of(name)
    source = TaskSource(genome, annotation, length_bp, config.max_examples, rng)
    classes, candidates, background = MAKERS[name](source)
    seen: set[str] = set()
    splits = {}
    for split in _SPLITS:
        examples = candidates.take(inside(regions[split], candidates.start, length_bp))
        codes = window_codes(genome, examples, length_bp)
        usable = fit_for_use(codes, seen)
        examples, codes = examples.take(usable), codes[usable]
        rows = matched(codes, examples.label == background, rng)
        rows = rng.permutation(rows)
        splits[split] = examples.take(rows), letters(codes[rows])
    all_regions = np.concatenate(list(regions.values()))
    all_regions = all_regions[np.argsort(all_regions[:, 0])]
    return _Task(classes, length_bp, int((candidates.label != background).sum()), splits, all_regions)


def _counts(task: _Task) -> dict[str, dict[str, int]]:
    return {
        name: {split: int((examples.label == i).sum()) for split, (examples, _) in task.splits.items()}
        for i, name in enumerate(task.classes)
    }


def _too_few(task: _Task) -> str:
    if not task.num_annotated:
        return "nothing is annotated for it"
    short = [
        f"{counts[split]} {split} examples of class {name}, fewer than {least}"
        for name, counts in _counts(task).items()
        for split, least in LEAST_EXAMPLES.items()
        if counts[split] < least
    ]
    return short[0] if short else ""


def _assert_apart(task: _Task) -> None:
    """Assert that no base and no sequence (on either strand) is in two splits."""
    length_bp = task.length_bp
    names = list(task.splits)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            (left, left_text), (right, right_text) = task.splits[first], task.splits[second]
            # All windows have one length, so the first start above left - length decides whether any overlaps.
            starts = np.sort(right.start)
            index = np.searchsorted(starts, left.start - length_bp, side="right")
            touching = (index < len(starts)) & (starts[np.minimum(index, len(starts) - 1)] < left.start + length_bp)
            assert not touching.any(), f"{first} and {second} share bases"
            shared = set(map(canonical, left_text)) & set(map(canonical, right_text))
            assert not shared, f"{first} and {second} share sequences"


def _write(tasks: dict[str, _Task], genome: Genome, out: Path, about: dict[str, Any]) -> None:
    with folder_written_whole(out) as scratch:
        described = {}
        for name, task in tasks.items():
            (scratch / name).mkdir()
            for split in task.splits:
                _write_split(scratch / name / f"{split}.csv", genome, task, split)
            sizes = {split: len(task.splits[split][1]) for split in ("train", "dev", "test")}
            described[name] = {
                "metric": "mcc",
                "length_bp": task.length_bp,
                "classes": list(task.classes),
                "labels": {str(i): i for i in range(len(task.classes))},
                "sizes": sizes,
            }
        content = {"name": out.name, "title": f"{about['genome']}, {about['annotation']}", "tasks": described}
        made = {"made_by": "dnar2mae benchmark build", **about}
        made["settings"] = {k: list(v) if isinstance(v, tuple) else v for k, v in about["settings"].items()}
        (scratch / CUSTOM_FILE).write_text(yaml.safe_dump(content | made, sort_keys=False))


def _write_split(path: Path, genome: Genome, task: _Task, split: str) -> None:
    examples, texts = task.splits[split]
    sequence = genome.sequence_of(examples.start)
    start = examples.start - genome.offsets[sequence]
    table = {"sequence": texts, "label": examples.label, "chrom": [genome.names[i] for i in sequence], "start": start}
    table |= {"end": start + task.length_bp, "strand": np.where(examples.is_reverse, "-", "+")}
    region = np.searchsorted(task.regions[:, 0], examples.start, side="right") - 1
    first = task.regions[region, 0] - genome.offsets[sequence]
    table["group"] = [f"{name}:{at}" for name, at in zip(table["chrom"], first.tolist(), strict=True)]
    pd.DataFrame(table).to_csv(path, index=False, lineterminator="\n")
