"""Homologues: recall on planted ones, what unrelated sequences reach, published sets, speed."""

from dnar2mae.benchmarks.figures.figure import Figure, Row, lines, markdown

_FILES = tuple(f"dnar2mae/homology/{name}.py" for name in ("cluster", "identity", "letters", "search", "seeds"))
_COMMAND = "python -m dnar2mae.benchmarks.speed.bench_homology --data GUE"


def _recall(rows: list[Row]) -> str:
    lengths = list(dict.fromkeys(row["length_bp"] for row in rows))
    cells = {(row["planted"], row["length_bp"]): f"{row['found']:.1%} ({row['aligned']:.1%})" for row in rows}
    levels = [level for level in dict.fromkeys(row["planted"] for row in rows) if level]
    table = [[f"{level} %", *(cells[level, length] for length in lengths)] for level in levels]
    return markdown(["planted identity", *(f"{length} bp" for length in lengths)], table)


def _chance(rows: list[Row]) -> str:
    table = []
    for length in dict.fromkeys(row["length_bp"] for row in rows):
        own = [row for row in rows if row["length_bp"] == length]
        called, right = sum(row["called"] for row in own), sum(row["right"] for row in own)
        (unrelated,) = (row for row in own if not row["planted"])
        reached = f"{own[0]['chance']:.3f}, {own[0]['most_by_chance']:.3f}"
        of_rows = f"{unrelated['called']} of {unrelated['rows']}"
        table.append([f"{length} bp", reached, of_rows, f"{right} of {called}"])
    head = [
        "length",
        "best by chance: median, most",
        "unrelated rows called homologous",
        "called rows that name their source",
    ]
    return markdown(head, table)


def _level(name: str, row: Row) -> str:
    return f"{row[f'at_{name}']:.1%} ({row[f'chance_{name}']:.1%})"


TABLES = (
    Figure(
        name="homology_recall",
        source="homology_planted.csv",
        key=("length_bp", "planted"),
        show=_recall,
        command=_COMMAND,
        files=_FILES,
    ),
    Figure(
        name="homology_chance",
        source="homology_planted.csv",
        key=("length_bp", "planted"),
        show=_chance,
        command=_COMMAND,
        files=_FILES,
    ),
    Figure(
        name="homology_gue",
        source="homology_suite.csv",
        key=("task",),
        show=lines(
            {
                "task": "{task}",
                "train, test": "{train:,}, {test:,}",
                "equal": "{exact:.1%}",
                "50 %": lambda row: _level("50", row),
                "70 %": lambda row: _level("70", row),
                "90 %": lambda row: _level("90", row),
                "sample: found, by alignment": "{found}, {aligned} of {checked}",
                "remarks": "{remarks}",
            }
        ),
        command=_COMMAND,
        files=_FILES,
    ),
    Figure(
        name="homology_speed",
        source="homology_speed.csv",
        key=("what",),
        show=lines(
            {
                "one core": "{what}",
                "CPU seconds": "{seconds:.0f}",
                "all pairs by edlib, extrapolated": "{all_pairs_seconds:,}",
                "times": "{ratio}",
                "most memory, MB": "{most_mb:,}",
            }
        ),
        command=_COMMAND,
        files=_FILES,
    ),
)
