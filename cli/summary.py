"""The table that ends a run."""

from rich.console import Console
from rich.table import Table

from dnar2mae.run.result import RunResult


def print_summary(result: RunResult) -> None:
    """Print the held-out loss beside the untrained model's and the yardstick's, and what follows from it."""
    console = Console()
    table = Table(title=f"Held-out loss, {result.unit}", title_justify="left")
    table.add_column("model")
    table.add_column(result.unit, justify="right")
    rows = {"untrained model, mask ratio 0.15": result.untrained, **result.yardstick}
    for name, value in rows.items():
        table.add_row(name, f"{value:.4f}")
    table.add_row("this model, mask ratio 0.15", f"{result.held_out:.4f}", style="bold")
    for ratio, value in result.curve.items():
        if ratio != "0.15":
            table.add_row(f"this model, mask ratio {ratio}", f"{value:.4f}")
    console.print(table)
    if result.yardstick:
        name, best = min(result.yardstick.items(), key=lambda item: item[1])
        gain = best - result.held_out
        console.print(
            f"Below the best yardstick ({name}) by {gain:.4f} {result.unit}."
            if gain > 0
            else f"Not below the best yardstick ({name}, {best:.4f}): it has learned no more than that. "
            "Train longer, or on more data.",
            highlight=False,
        )
    if share := result.clipped.get("all"):
        console.print(f"The gradient was clipped in {share:.0%} of the steps (--optimizer.clip).", highlight=False)
    console.print(
        f"{result.parameters / 1e6:.2f} M parameters, {result.steps} steps, {result.seconds:.0f} s. "
        f"Written to {result.out} (loss.png, metrics.jsonl, summary.json, checkpoints/).",
        highlight=False,
        soft_wrap=True,
    )
