"""Write the README's table of kernel speed from the measured rows: ``python -m dnar2mae.benchmarks.speed.table``."""

import csv
from pathlib import Path

from dnar2mae.benchmarks.speed.measure import KEY, OPERATORS, ROOT, ROWS

START, END = "<!-- speed:start -->", "<!-- speed:end -->"
TOKENS, WIDTH, DTYPE = 1 << 18, 768, "bfloat16"
HEAD = [
    "| operator | vocabulary | forward, ms | of copy bandwidth | vs eager | vs compiled | fwd+bwd vs eager |",
    "|---|---|---|---|---|---|---|",
]
OWED = "owed"


def latest(rows: list[dict[str, str]]) -> dict[tuple[str, ...], dict[str, str]]:
    """Return the last row of each key among those of the GPU that was measured last."""
    on_gpu = [row for row in rows if not row["device"].startswith("cpu")]
    device = on_gpu[-1]["device"] if on_gpu else None
    return {tuple(row[name] for name in KEY): row for row in on_gpu if row["device"] == device}


def table(rows: list[dict[str, str]]) -> str:
    """Return the Markdown table at 262144 tokens of width 768 in bf16; "owed" stands where no GPU row was measured.

    Parameters
    ----------
    rows
        Rows of ``benchmarks/results/speed.csv``, oldest first.
    """
    newest = latest(rows)
    lines = [*HEAD, *(_line(newest, op, v) for op in OPERATORS for v in (8, 4104, 32_768))]
    first = next(iter(newest.values()), None)
    where = f"{first['device']}, torch {first['torch']}" if first else "no GPU was at hand; `make gpu` measures them"
    return "\n".join([*lines, "", f"{TOKENS} tokens of width {WIDTH} in {DTYPE}, medians; {where}."])


def write(readme: Path, text: str) -> None:
    """Put a text between the two markers of a file.

    Raises
    ------
    ValueError
        If the file lacks a marker.
    """
    content = readme.read_text()
    if START not in content or END not in content:
        raise ValueError(f"{readme} must contain {START} and {END}")
    before, after = content.split(START)[0], content.split(END)[1]
    readme.write_text(f"{before}{START}\n{text}\n{END}{after}")


def _line(newest: dict[tuple[str, ...], dict[str, str]], op: str, vocabulary: int) -> str:
    def row(backend: str, mode: str) -> dict[str, str] | None:
        return newest.get((op, backend, mode, DTYPE, str(TOKENS), str(vocabulary), str(WIDTH)))

    def times(rival: str, mode: str) -> str:
        ours, theirs = row("triton", mode), row(rival, mode)
        return f"{float(theirs['ms_p50']) / float(ours['ms_p50']):.1f}x" if ours and theirs else OWED

    ours = row("triton", "forward")
    share = f"{float(ours['gb_per_s']) / float(ours['copy_gb_per_s']):.0%}" if ours else OWED
    both = times("eager", "forward+backward")
    cells = [op, str(vocabulary), ours["ms_p50"] if ours else OWED, share]
    return f"| {' | '.join([*cells, times('eager', 'forward'), times('compiled', 'forward'), both])} |"


def main() -> None:
    """Write the table into the README and print it."""
    rows = []
    if ROWS.exists():
        with ROWS.open(newline="") as handle:
            rows = list(csv.DictReader(handle))
    text = table(rows)
    write(ROOT / "README.md", text)
    print(text)


if __name__ == "__main__":
    main()
