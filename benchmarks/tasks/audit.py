"""Homologues of test rows in the training rows of a suite's tasks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dnar2mae.benchmarks.rows.contract import labelled_data
from dnar2mae.benchmarks.tasks.data import find_task
from dnar2mae.benchmarks.tasks.suite import Suite, SuiteTask
from dnar2mae.homology import IDENTITIES, Audit, audit


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskAudit:
    """A task's audit, or why there is none."""

    task: str
    audit: Audit | None = None
    remarks: tuple[str, ...] = ()


def audit_suite(
    suite: Suite,
    data: Path,
    identities: tuple[float, ...] = IDENTITIES,
    advance: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> list[TaskAudit]:
    """Audit every task, as its files are split; one without a training split is compared with its dev rows.

    Parameters
    ----------
    suite, data
        The tasks, and the folder of their data.
    identities
        Levels to count at.
    advance
        Told the task, how much of it is done, and of how much.

    Raises
    ------
    ConfigError, SequenceError
        A file breaks a rule.
    """
    return [_audit_task(suite, task, data, identities, advance) for task in suite.tasks]


def _audit_task(
    suite: Suite,
    task: SuiteTask,
    data: Path,
    identities: tuple[float, ...],
    advance: Callable[[str, int, int], None],
) -> TaskAudit:
    if task.modality != "dna":
        return TaskAudit(task=task.name, remarks=(f"rows are not DNA but {task.modality}",))
    folder = find_task(suite, task, data)
    if folder is None:
        return TaskAudit(task=task.name, remarks=(f"no data in {data}",))
    splits = labelled_data(task.modality).read(task, folder)
    known = next((name for name in ("train", "dev") if name in splits), None)
    if known is None:
        return TaskAudit(task=task.name, remarks=("neither a train nor a dev split",))
    remarks = [] if known == "train" else ["no train split: compared with dev"]
    for name in (known, "test"):
        if task.sizes.get(name, len(splits[name].rows)) != len(splits[name].rows):
            remarks.append(f"{name}: {len(splits[name].rows):,} rows, official {task.sizes[name]:,}")
    done = audit(
        splits[known].rows,
        splits["test"].rows,
        identities,
        lambda number, total: advance(task.name, number, total),
    )
    return TaskAudit(task=task.name, audit=done, remarks=tuple(remarks))


def audit_rows(audits: list[TaskAudit]) -> list[dict[str, int | float | str]]:
    """Return a row a task that has an audit: numbers of rows, exact share, shares by identity and by chance."""
    rows = []
    for each in audits:
        if each.audit is None:
            continue
        row: dict[str, int | float | str] = {"task": each.task, "train": each.audit.train_rows}
        row |= {"test": each.audit.test_rows, "exact": round(each.audit.exact_share, 5)}
        for level in each.audit.levels:
            row |= {f"at_{100 * level.identity:g}": round(level.share, 5)}
            row |= {f"chance_{100 * level.identity:g}": round(level.chance, 5)}
        rows.append(row | {"remarks": "; ".join(each.remarks)})
    return rows
