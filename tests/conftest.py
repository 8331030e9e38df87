import os
from pathlib import Path

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before the first triton import

import hypothesis
import jaxtyping
import pytest

import tests.type_check  # noqa: F401 - the hook finds it by name

ROOT = Path(__file__).resolve().parents[1]
# Shapes and types are checked everywhere but in cli/, whose commands hold tyro's stand-ins for values still to come.
jaxtyping.install_import_hook(
    [
        *(f"dnar2mae.{path.stem}" for path in (ROOT / "dnar2mae").iterdir() if not path.stem.startswith("_")),
        "dnar2mae.benchmarks",
        "dnar2mae.kernels",
    ],
    "tests.type_check.check",
)

# the first example may compile or wait for a core; the same examples each time, so that a failure is of the code
hypothesis.settings.register_profile("here", deadline=None, derandomize=True)
hypothesis.settings.register_profile("long", deadline=None, max_examples=3000)  # --hypothesis-profile=long
hypothesis.settings.load_profile("here")

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _seed_and_poison():
    """Fix the seed; fresh memory reads as NaN, so that a kernel that forgets to write is noticed."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """Keep genome caches out of the user's home."""
    monkeypatch.setenv("DNAR2MAE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True, scope="session")
def _no_plots():
    """Leave the plots of runs empty: to draw them takes longer than to train models as small as those of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dnar2mae.training.trainer.plot_run", lambda run, summary, path: path.touch())
        patch.setattr("dnar2mae.modalities.image.reconstruction.save_figure", lambda figure, path: path.touch())
        yield


@pytest.fixture
def plots(monkeypatch):
    """Draw the plots of runs as outside the tests."""
    from dnar2mae.plots.figure import save_figure
    from dnar2mae.run.plot import plot_run

    monkeypatch.setattr("dnar2mae.training.trainer.plot_run", plot_run)
    monkeypatch.setattr("dnar2mae.modalities.image.reconstruction.save_figure", save_figure)


@pytest.fixture
def any_type():
    """Leave types unchecked, as they are outside tests: for values of a wrong type that our own check must refuse."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def device():
    return "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def data():
    """Folder of real data sets; tests that need one skip where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}")
    return DATA


@pytest.fixture
def fasta(tmp_path):
    """A small genome whose bases depend on the three before, so that there is something to learn."""
    import numpy as np

    rng = np.random.default_rng(0)
    table = rng.dirichlet(np.full(4, 0.3), 64)
    draws = rng.random(30_000)
    bases, context = [], 0
    for draw in draws:
        base = min(int(np.searchsorted(table[context].cumsum(), draw)), 3)
        bases.append("ACGT"[base])
        context = (context * 4 + base) % 64
    path = tmp_path / "genome.fa"
    path.write_text(">one\n" + "".join(bases[:20_000]) + "\n>two\n" + "".join(bases[20_000:]) + "\n")
    return path
