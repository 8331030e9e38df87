"""Notebooks: percent scripts in docs/notebooks/, run and written as Markdown with their output and pictures."""

import tempfile
from pathlib import Path
from typing import Any

from docs.site.pages import ROOT, site_paths, site_text


def _is_shown(output: Any) -> bool:
    """Say whether an output is a print or a picture: not the value of a last line, not the progress of a run."""
    return output.get("name") == "stdout" or "image/png" in output.get("data", {})


def write_notebooks(out: Path, *, run: bool = True) -> None:
    """Write every notebook as a page, its source beside it.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    import jupytext
    from nbconvert import MarkdownExporter
    from nbconvert.preprocessors import ExecutePreprocessor

    out.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.py")):
        notebook, name = jupytext.read(path), str(path.relative_to(ROOT))
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = site_text(cell.source, name, site_paths())
        if run:
            with tempfile.TemporaryDirectory() as folder:
                ExecutePreprocessor(timeout=600, kernel_name="python3").preprocess(
                    notebook, {"metadata": {"path": folder}}
                )
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = [output for output in cell.outputs if _is_shown(output)]
        text, resources = MarkdownExporter().from_notebook_node(
            notebook, {"unique_key": path.stem, "output_files_dir": path.stem}
        )
        source = f"\n[This notebook as a script]({path.name}): open it with jupytext, or run it as it is.\n"
        (out / f"{path.stem}.md").write_text(text + source)
        (out / path.name).write_bytes(path.read_bytes())
        for file, content in resources["outputs"].items():
            (out / file).parent.mkdir(exist_ok=True)
            (out / file).write_bytes(content)
