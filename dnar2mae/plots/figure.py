"""How figures are made and written."""

from pathlib import Path
from typing import Any

from dnar2mae.errors import ConfigError, raising
from dnar2mae.storage.safe_files import output_file


def new_figure(width: float, height: float) -> Any:
    """Make an empty figure; sizes in inches. No display is needed."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=150)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure in the format of its suffix.

    Raises
    ------
    ConfigError
        If the format is unknown or the file cannot be written.
    """
    with output_file(path) as partial:
        with raising(ConfigError, f"--out must be a .png, .svg or .pdf file, got {path}", ValueError):
            figure.savefig(partial)
