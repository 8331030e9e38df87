"""Speed and memory: kernels, training against transformers, genomes."""

import statistics
from collections.abc import Callable

from dnar2mae.benchmarks.figures.figure import Figure, Row, lines, markdown, where
from dnar2mae.benchmarks.figures.tables import code

TOKENS, WIDTH, DTYPE = 1 << 18, 768, "bfloat16"
"""Shape of the kernels' table."""
_STEP = ("dnar2mae/training/step.py", "dnar2mae/training/optimizer.py", "dnar2mae/training/loader.py", "kernels/*.py")
_END_TO_END = (*_STEP, *code.TRANSFORMER, "benchmarks/speed/end_to_end.py")


def _kernels(rows: list[Row]) -> str:
    """Show the forward pass, and times as long as others take, at one shape; "owed" where a row is missing."""
    by_place = {(row["op"], row["vocabulary"], row["backend"], row["mode"]): row for row in rows}
    table = []
    for op, vocabulary in sorted({(row["op"], row["vocabulary"]) for row in rows}):
        ours = by_place.get((op, vocabulary, "triton", "forward"))
        compared = (("eager", "forward"), ("compiled", "forward"), ("eager", "forward+backward"))
        times = [
            _times(by_place.get((op, vocabulary, "triton", mode)), by_place.get((op, vocabulary, rival, mode)))
            for rival, mode in compared
        ]
        share = f"{ours['gb_per_s'] / ours['copy_gb_per_s']:.0%}" if ours else "owed"
        table.append([op, str(vocabulary), str(ours["ms_p50"]) if ours else "owed", share, *times])
    head = ["operator", "vocabulary", "forward, ms", "of copy bandwidth", "vs eager", "vs compiled", "fwd+bwd vs eager"]
    return f"{markdown(head, table)}\n\n{TOKENS} tokens of width {WIDTH} in {DTYPE}, medians."


def _times(ours: Row | None, theirs: Row | None) -> str:
    return f"{theirs['ms_p50'] / ours['ms_p50']:.1f}x" if ours and theirs else "owed"


def _profile(rows: list[Row]) -> str:
    of = {row["what"]: row["value"] for row in reversed(rows)}  # the first of several gaps, which is the longest
    return (
        f"keeps the GPU busy for {of['busy share']:.0%} of its {of['step, us'] / 1e3:.0f} ms, with "
        f"{of['copies to the host a step']:g} copies to the host and "
        f"{of['waits of the host a step']:g} waits of the host a step; the longest gap is {of['gap, us'] / 1e3:.1f} ms"
    )


def _pairs(rows: list[Row], first: str, second: str) -> dict[tuple, tuple[Row, Row]]:
    """Return the last row of both sides for each shape."""
    shapes: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        shapes.setdefault((row["preset"], row["context_tokens"]), {})[row["side"]] = row
    return {shape: (sides[first], sides[second]) for shape, sides in shapes.items() if {first, second} <= sides.keys()}


def _against_hugging_face(rows: list[Row]) -> str:
    table = []
    for (preset, tokens), (ours, theirs) in _pairs(rows, "dnar2mae", "hugging face").items():
        table.append(
            [
                f"{preset}, {tokens:,}",
                f"{ours['tokens_per_s']:,}",
                f"{theirs['tokens_per_s']:,}",
                f"{ours['tokens_per_s'] / theirs['tokens_per_s']:.2f}",
                f"{ours['peak_mb'] / 1e3:.1f} and {theirs['peak_mb'] / 1e3:.1f} GB",
                f"{ours['mfu']:.2f}",
            ]
        )
    head = ["preset, tokens", "ours, tokens a second", "Hugging Face", "ratio", "peak memory, ours and theirs"]
    return markdown([*head, "our model-FLOP utilisation"], table)


def _ratios(first: str, second: str) -> Callable[[list[Row]], str]:
    """Return a way to show the ratio of two sides' median tokens a second, by preset and length."""

    def show(rows: list[Row]) -> str:
        texts = []
        for preset, tokens in dict.fromkeys((row["preset"], row["context_tokens"]) for row in rows):
            rates = {
                side: [
                    r["tokens_per_s"]
                    for r in rows
                    if (r["preset"], r["context_tokens"], r["side"]) == (preset, tokens, side)
                ]
                for side in (first, second)
            }
            if all(rates.values()):
                ours, theirs = (statistics.median(rates[side]) for side in (first, second))
                texts.append(f"{preset}, {tokens:,}: {ours / theirs:.2f}x ({ours:,.0f} against {theirs:,.0f})")
        return "; ".join(texts)

    return show


def _end_to_end(name: str, what: str, command: str, *, sides: tuple[str, str], objective: str, on: str) -> Figure:
    device, dtype = on.split()

    def chosen(row: Row) -> bool:
        plain = (row["objective"], row["dtype"], row["compile"]) == (objective, f"torch.{dtype}", "False")
        return row["device"].startswith(device) and plain

    return Figure(
        name=name,
        what=what,
        source="end_to_end.csv",
        choose=chosen,
        only_last_commit=True,
        show=_ratios(*sides),
        command=command,
        files=_END_TO_END,
    )


def _genome(name: str, what: str, row_name: str, text: str) -> Figure:
    return Figure(
        name=name,
        what=what,
        source="genome.csv",
        choose=where(what=row_name),
        key=("what",),
        show=lambda rows: text.format_map(rows[0]),
        command="python -m dnar2mae.benchmarks.speed.bench_genome --megabases 1000",
        files=code.GENOME,
    )


CPU_LINES = (
    _end_to_end(
        "transformers_cpu",
        "the same architecture against `transformers` (ModernBERT, `Trainer`, masking collator), tokens a second",
        "python -m dnar2mae.benchmarks.speed.end_to_end",
        sides=("dnar2mae", "hugging face"),
        objective="mlm",
        on="cpu bfloat16",
    ),
    _end_to_end(
        "transformers_cpu_fp32",
        "the same in fp32",
        "python -m dnar2mae.benchmarks.speed.end_to_end --precision fp32",
        sides=("dnar2mae", "hugging face"),
        objective="mlm",
        on="cpu float32",
    ),
    _end_to_end(
        "mae_cpu",
        "`mae` objective against `mlm` at mean ratio 0.5, tokens a second",
        "python -m dnar2mae.benchmarks.speed.end_to_end --objective mae",
        sides=("mae", "mlm"),
        objective="mae",
        on="cpu bfloat16",
    ),
    _genome(
        "genome_build",
        "build of a 1.0-Gb FASTA",
        "build from plain FASTA",
        "{rate:.0f} MB/s, {peak_rss_mb} MB resident",
    ),
    _genome(
        "genome_windows",
        "windows of 512 bp with tokens, from 1 Gb",
        "windows of 512 bp with tokens",
        "{rate:,.0f} a second, {peak_rss_mb} MB resident",
    ),
    _genome(
        "genome_open",
        "opening a built genome of 1 Gb, all of it checked",
        "open a built genome, all checked",
        "{rate:,} Mb/s",
    ),
)

GPU_LINES = (
    _end_to_end(
        "transformers_gpu",
        "the same architecture against `transformers` on a GPU, tokens a second, by preset and length",
        "make gpu PARTS=end_to_end",
        sides=("dnar2mae", "hugging face"),
        objective="mlm",
        on="NVIDIA bfloat16",
    ),
    _end_to_end(
        "mae_gpu",
        "`mae` against `mlm` on a GPU, mean ratio 0.5, tokens a second",
        "make gpu PARTS=memory",
        sides=("mae", "mlm"),
        objective="mae",
        on="NVIDIA bfloat16",
    ),
    Figure(
        name="compiled_gpu",
        what="ours with `--compile`, tokens a second, by preset and length",
        source="end_to_end.csv",
        choose=lambda row: (
            row["device"].startswith("NVIDIA") and row["compile"] == "True" and row["side"] == "dnar2mae"
        ),
        only_last_commit=True,
        show=lambda rows: "; ".join(
            f"{row['preset']}, {row['context_tokens']:,}: {row['tokens_per_s']:,}, utilisation {row['mfu']:.2f}"
            for row in rows
        ),
        command="make gpu PARTS=compiled",
        files=_END_TO_END,
    ),
    Figure(
        name="minute",
        what="the preset `small` (hybrid) on *E. coli*, planned for a minute, held-out bits per base at ratio 0.15",
        source="pretraining.csv",
        choose=lambda row: row["preset"] == "small" and row["what"] in ("held_out", "seconds"),
        only_last_commit=True,
        key=("what",),
        show=lambda rows: ", ".join(
            f"{row['value']:.3f}" if row["what"] == "held_out" else f"{row['steps']} steps in {row['value']:.0f} s"
            for row in rows
        ),
        command="make gpu PARTS=pretraining GENOME=GCF_000005845.2_ASM584v2_genomic.fna.gz",
        files=(*code.RECIPE, *code.HYBRID, *code.CNN, *code.DNA),
    ),
    Figure(
        name="minute_of_large",
        what="the presets `base` and `large` on *E. coli* after a minute, held-out bits per base at ratio 0.15",
        source="pretraining.csv",
        choose=lambda row: row["preset"] in ("base", "large") and row["what"] == "held out",
        key=("preset",),
        show=lambda rows: "; ".join(
            f"`{row['preset']}` {row['value']:.3f} after {row['at']} steps of {row['batch']} x {row['window_bp']:,}"
            for row in sorted(rows, key=lambda row: row["preset"])
        ),
        command="make gpu PARTS=pretraining PRESETS=base,large GENOME=GCF_000005845.2_ASM584v2_genomic.fna.gz",
        files=(*code.RECIPE, *code.HYBRID, *code.CNN, *code.DNA),
    ),
)

TABLES = (
    Figure(
        name="kernels",
        source="speed.csv",
        choose=lambda row: (
            not row["device"].startswith("cpu")
            and (row["tokens"], row["width"], row["dtype"]) == (TOKENS, WIDTH, DTYPE)
        ),
        only_last_commit=True,
        key=("op", "backend", "mode", "vocabulary"),
        show=_kernels,
        command="make gpu PARTS=kernels",
        files=("kernels/*.py",),
    ),
    Figure(
        name="end_to_end",
        source="end_to_end.csv",
        choose=lambda row: (
            row["device"].startswith("NVIDIA") and row["objective"] == "mlm" and row["compile"] == "False"
        ),
        only_last_commit=True,
        key=("preset", "context_tokens", "side"),
        show=_against_hugging_face,
        command="make gpu PARTS=end_to_end",
        files=_END_TO_END,
    ),
    Figure(
        name="attention",
        source="attention.csv",
        choose=where(mode="forward+backward", tokens=8192),
        only_last_commit=True,
        key=("backend", "window"),
        show=lines(
            {
                "backend": "`{backend}`",
                "window": lambda row: f"{row['window']} tokens" if row["window"] else "whole",
                "forward and backward": "{ms_p50:.1f} ms",
                "rate": "{tflops:.0f} TFLOP/s",
            }
        ),
        command="make gpu PARTS=attention",
        files=("dnar2mae/models/attention.py",),
    ),
    Figure(
        name="profile",
        source="profile.csv",
        choose=where(preset="small", context_tokens=1024, batch=64),
        only_last_commit=True,
        show=_profile,
        command="make gpu PARTS=profile",
        files=(*_STEP, *code.HYBRID),
    ),
)
