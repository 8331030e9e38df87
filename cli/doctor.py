"""``dnar2mae doctor``."""

from dataclasses import dataclass

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse


@dataclass(frozen=True, kw_only=True)
class DoctorCommand:
    """Show versions and devices, the attention backend and kernels that a run would use, and why others are missing.

    Example: dnar2mae doctor
    """

    json: bool = False
    """Print the result as JSON, and all else on stderr."""


def run(argv: list[str]) -> int:
    """Parse, print the reports."""
    command = parse(DoctorCommand, argv, prog="dnar2mae doctor")
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from dnar2mae.training.doctor import attention_report, device_report, extra_report, kernel_report, version_report

    reports = {
        "Versions": version_report(),
        "Optional packages": extra_report(),
        "Devices": device_report(),
        "Attention": attention_report(),
        "Masking kernels": kernel_report(),
    }
    with json_at_end(command.json) as hand_over:
        console = Console(highlight=False, markup=False)
        for title, rows in reports.items():
            table = Table(title=title, title_justify="left", show_header=False)
            for row in rows:
                table.add_row(*map(Text, row))
            console.print(table)
        hand_over({title: dict(rows) for title, rows in reports.items()})
    return 0
