"""Tracks of E. coli: means by class of bases, and the effect of masking several bases at once."""

from dnar2mae.benchmarks.figures.figure import Figure, Row, lines, markdown

_TRACKS = ("constraint", "entropy", "reference-probability")
_FILES = (
    "dnar2mae/genome/classes.py",
    "dnar2mae/genome/window_layout.py",
    *(f"dnar2mae/tracks/{name}.py" for name in ("predictions", "quantities", "summary")),
)
_GENOME = "GCF_000005845.2_ASM584v2_genomic"


def _classes(rows: list[Row]) -> str:
    cells = {(row["class"], row["track"]): f"{row['mean']:.3f} ({row['low']:.3f} to {row['high']:.3f})" for row in rows}
    bases = {row["class"]: row["bases"] for row in rows}
    table = [
        [name, "" if " minus " in name else f"{number:,}", *(cells[name, track] for track in _TRACKS)]
        for name, number in bases.items()
    ]
    return markdown(["bases", "number", "constraint, bits", "entropy, bits", "probability of the base"], table)


TABLES = (
    Figure(
        name="tracks_classes",
        source="tracks_classes.csv",
        key=("track", "class"),
        show=_classes,
        command=f"dnar2mae tracks runs/ecoli --genome {_GENOME}.fna.gz --what constraint entropy"
        f" reference-probability --summary {_GENOME}.gff.gz --out ecoli.bw",
        files=_FILES,
    ),
    Figure(
        name="tracks_pattern",
        source="tracks_pattern.csv",
        key=("track", "period"),
        show=lines(
            {
                "track": "{track}",
                "masked at once": "one of {period}",
                "correlation": "{correlation:.3f}",
                "mean difference": "{difference:+.3f}",
                "sd of the difference": "{difference_sd:.3f}",
                "one at a time: mean, sd": "{mean:.3f}, {sd:.3f}",
            }
        ),
        command=f"python -m dnar2mae.benchmarks.speed.bench_tracks runs/ecoli --genome {_GENOME}.fna.gz",
        files=tuple(f"dnar2mae/tracks/{name}.py" for name in ("predictions", "quantities")),
    ),
)
