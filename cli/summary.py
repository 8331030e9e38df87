"""The table that ends a run."""

import math

from rich.console import Console
from rich.table import Table

from dnar2mae.run.result import RunResult, advice, bound_line, copies_lines, unique_lines, verdicts


def print_summary(result: RunResult) -> None:
    """Print the held-out loss beside the untrained model's and the yardstick's, and whether it is below that."""
    console = Console()
    table = Table(title=f"Held-out loss, {result.unit}", title_justify="left")
    table.add_column("model")
    table.add_column(result.unit, justify="right")
    shown = result.margin or result.yardstick
    rows = {"untrained model, mask ratio 0.15": result.untrained, **{name: result.yardstick[name] for name in shown}}
    for name, value in rows.items():
        table.add_row(name, f"{value:.4f}")
    error = "" if math.isnan(result.standard_error) else f" ± {result.standard_error:.4f}"
    table.add_row("this model, mask ratio 0.15", f"{result.held_out:.4f}{error}", style="bold")
    for name, own in result.classes.items():
        numbers = [f"{number:.4f}" for number in (own["value"], own["standard_error"]) if number is not None]
        table.add_row(f"this model, {name} ({own['samples']} samples)", " ± ".join(numbers))
    for ratio, value in (result.curve | result.bound.get("curve", {})).items():
        if ratio != "0.15":
            table.add_row(f"this model, mask ratio {ratio}", f"{value:.4f}")
    console.print(table)
    used, total = result.samples["used"], result.samples["held_out"]
    scope = (
        f"Over {used:,} of {total:,} held-out samples, the same for all but the untrained model; ± one standard error "
        "over blocks of them."
    )
    copied = copies_lines(result.held_out, result.unit, result.copies, result.bound)
    said = [*verdicts(result.unit, result.margin), *unique_lines(result.unit, result.unique), *copied]
    for line in [scope, *said, *filter(None, [bound_line(result), advice(result)])]:
        console.print(line, highlight=False, soft_wrap=True)
    if share := result.clipped.get("all"):
        console.print(f"The gradient was clipped in {share:.0%} of the steps (--optimizer.clip).", highlight=False)
    console.print(
        f"{result.parameters / 1e6:.2f} M parameters, {result.steps} steps, {result.seconds:.0f} s. "
        f"Written to {result.out} (loss.png, metrics.jsonl, summary.json, checkpoints/).",
        highlight=False,
        soft_wrap=True,
    )
