"""How rows were divided, and how many test rows have a homologue in train."""

from typing import Any

import numpy as np

from dnar2mae.errors import RunError
from dnar2mae.finetuning.data import fingerprint, open_data
from dnar2mae.homology import audit
from dnar2mae.report.content import NumberTable, SectionContent
from dnar2mae.report.tuned.run import TunedRun

_LEAKED_AT = 0.7


def rows_by_part(run: TunedRun) -> SectionContent:
    """Return the rows of each part, and what was found of rows that are alike."""
    rows = run.result.rows
    total = sum(rows.values())
    parts = [(part, f"{number:,}", f"{number / total:.1%}") for part, number in rows.items()]
    what = "windows" if run.is_per_base else "rows"
    return SectionContent(lines=run.result.notes, tables=(NumberTable(("part", what, "share"), parts),))


def homologues(run: TunedRun) -> SectionContent:
    """Return how many test rows have a homologue in train, and the main score with them and without."""
    wanted, predicted = run.answers
    found = run.computed("homologues", lambda: _homologues(run), fingerprint(run.config), repr(run.config))
    leaked, total = np.array(found["leaked"], bool), len(found["leaked"])
    if total != len(wanted):
        raise RunError(f"{run.directory.predictions_file}: expected a row for each of the {total:,} test rows")
    levels = [("equal", f"{found['exact']:,}", f"{found['exact'] / total:.1%}", "")]
    levels += [(f"{level:.0%}", f"{rows:,}", f"{share:.1%}", f"{by:.1%}") for level, rows, share, by in found["levels"]]
    main, groups = run.target.main, {"all": leaked | True, "with a homologue": leaked, "without": ~leaked}
    scored = []
    for name, chosen in groups.items():
        number = int(chosen.sum())
        value = run.target.scores(predicted[chosen], wanted[chosen], np.arange(number))[main] if number > 1 else None
        scored.append((name, f"{number:,}", "-" if value is None or np.isnan(value.value) else str(value)))
    return SectionContent(
        lines=(
            "Test rows that have a homologue in train may be answered from memory. Both strands are compared; training "
            "rows read backwards show what is chance, and a homologue is 10 points above it.",
        ),
        tables=(
            NumberTable(("identity", "test rows", "share", "by chance"), levels, "Test rows with a homologue in train"),
            NumberTable(("test rows", "number", main), scored, f"Score by whether there is one of {_LEAKED_AT:.0%}"),
        ),
    )


def _homologues(run: TunedRun) -> dict[str, Any]:
    import torch

    if fingerprint(run.config) != run.directory.data_file.read_text().strip():
        raise RunError(f"{run.config.data}: other data than those that the run began with")
    problem = open_data(run.config, run.directory.read_backbone(torch.device("cpu"))).problem
    train, test = (problem.samples.letters(problem.ids(part)) for part in ("train", "test"))
    done = audit(train, test)
    levels = [(level.identity, level.rows, level.share, level.chance) for level in done.levels]
    return {"exact": done.exact, "levels": levels, "leaked": done.found.at(_LEAKED_AT).tolist()}
