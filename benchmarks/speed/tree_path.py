"""Run the repository as it lies, without installing it: ``eval "$(python3 benchmarks/speed/tree_path.py)"``.

``kernels/``, ``cli/`` and ``benchmarks/`` are installed inside the package, so a bare checkout cannot import them.
This makes a folder of links in which they are, and prints the shell line that puts it on the path.
"""

import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def link(folder: Path, root: Path = ROOT) -> None:
    """Fill an empty folder with the package ``dnar2mae`` of a checkout and its tests, all of links."""
    package = folder / "dnar2mae"
    package.mkdir()
    for source in [*(root / "dnar2mae").iterdir(), *(root / name for name in ("kernels", "cli", "benchmarks"))]:
        os.symlink(source, package / source.name)
    os.symlink(root / "tests", folder / "tests")


if __name__ == "__main__":
    made = Path(tempfile.mkdtemp(prefix="dnar2mae-tree-"))
    link(made)
    print(f"export PYTHONSAFEPATH=1 PYTHONPATH={made}${{PYTHONPATH:+:$PYTHONPATH}}")
