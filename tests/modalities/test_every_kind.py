"""What holds for every kind of data: resuming, workers, micro-batches, and which backbones fit."""

import errno
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from dnar2mae import DataConfig, MaskConfig, PretrainConfig, pretrain
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.inference import embed, load
from dnar2mae.modalities.registry import build_modality, modality_spec, preset_for
from dnar2mae.models.backbone import why_unsupported
from dnar2mae.run.checkpoint import checkpoints
from dnar2mae.run.config_file import read_config, write_config
from dnar2mae.run.directory import RunDirectory
from dnar2mae.storage import safe_files
from dnar2mae.training.build import build_model
from dnar2mae.training.loader import batches
from dnar2mae.training.trainer import Trainer
from tests.modalities.kinds import KINDS, cell_counts, write_cells

anndata = pytest.importorskip("anndata")
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:.*are longer than --data.window-tokens:UserWarning")]
LAWS = {
    "uniform": MaskConfig(low=0.2, high=0.7),
    "fixed per sample": MaskConfig(law="fixed", ratio=0.5, per="sample"),
    "choice": MaskConfig(law="choice", ratios=(0.3, 0.6)),
    "cosine": MaskConfig(law="cosine", low=0.3, high=0.6),
}


@pytest.fixture(params=KINDS)
def config(request, tmp_path):
    return KINDS[request.param](tmp_path)


def equal(a, b):
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(a)]
    return all(x is y is None or torch.equal(x, y) for x, y in pairs)


def test_the_configuration_reads_back(config, tmp_path):
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config


def test_workers_resuming_and_batch_size_do_not_change_samples(config):
    source = build_modality(config).train
    plain = list(batches(source, replace(config, steps=4), 0))
    worked = list(batches(source, replace(config, steps=4, num_workers=1), 0))
    resumed = list(batches(build_modality(config).train, replace(config, steps=4), 2))
    assert all(equal(a, b) for a, b in zip(plain, worked, strict=True))
    assert all(equal(a, b) for a, b in zip(plain[2:], resumed, strict=True))
    assert equal(source.batch(np.arange(16, 24)), plain[2])
    assert not torch.equal(plain[0].sample_ids, plain[1].sample_ids)


def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(config, tmp_path):
    pretrain(config, tmp_path / "whole")
    run = tmp_path / "killed"
    write_config(config, tmp_path / "c.yaml")
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom dnar2mae.run.config_file import read_config\n"
        "from dnar2mae import pretrain\nfrom dnar2mae.training import trainer\nsave = trainer.Trainer.save\n"
        "def dying(self, name=None):\n    save(self, name)\n    self.writer.wait()\n"
        "    if self.step == 8: os._exit(9)\n"
        "trainer.Trainer.save = dying\n"
        "pretrain(read_config(Path(sys.argv[1])), sys.argv[2])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "c.yaml"), str(run)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 9, done.stderr
    assert checkpoints(run)[-1].name == "step-00000008"
    result = pretrain(read_config(run / "config.yaml"), run, resume=True)
    assert result.finished
    whole, resumed = (load_file(checkpoints(tmp_path / n)[-1] / "model.safetensors") for n in ("whole", "killed"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_what_a_run_keeps_of_its_kind_is_there_whole_or_not_at_all(config, tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, suppress(OSError):
        patch.setattr(safe_files.os, "fsync", full)
        build_modality(config).save(run)
    assert not [file for file in run.iterdir() if not file.name.startswith(".")]
    build_modality(config).save(run)
    kept = {file: file.stat().st_ino for file in run.iterdir()}
    build_modality(config, run).save(run)
    assert {file: file.stat().st_ino for file in run.iterdir()} == kept


def altered(path):
    """Change one value of a file of data."""
    if path.suffix == ".h5ad":
        counts = cell_counts()[0]
        counts[3, 3] += 1
        write_cells(path, counts)
    elif path.suffix == ".npy":
        pixels = np.load(path)
        pixels[3, 3, 3] /= 2
        np.save(path, pixels)
    else:
        content = bytearray(path.read_bytes())
        content[20] = ord("A") if content[20] != ord("A") else ord("C")
        path.write_bytes(content)


def test_a_run_resumes_on_the_same_data_alone_wherever_they_lie(config, tmp_path):
    config, run = replace(config, steps=1), tmp_path / "run"
    pretrain(config, run)
    name = modality_spec(config.modality).paths
    here = Path(getattr(config.data, name)[0])
    there = tmp_path / "elsewhere" / f"other{here.suffix}"
    there.parent.mkdir()
    shutil.move(here, there)
    moved = replace(config, data=replace(config.data, **{name: (str(there),)}))
    assert pretrain(moved, run, resume=True).finished
    altered(there)
    saved = (run / "config.yaml").read_text()
    shutil.copy(there, here)
    with pytest.raises(RunError, match=r"run: the run began with other data: name files of the same content"):
        pretrain(config, run, resume=True)
    assert (run / "config.yaml").read_text() == saved


def test_micro_batches_give_the_same_loss(config, tmp_path):
    config = replace(config, mask=MaskConfig(per="sample", low=0.3, high=0.7), steps=4)
    losses = []
    for micro in (None, 2):
        run = RunDirectory(tmp_path / f"{micro}")
        trainer = Trainer(replace(config, micro_batch=micro), build_modality(config), run, torch.device("cpu"), None)
        source = batches(trainer.modality.train, config, 0)
        losses.append([trainer.training_step(batch)["unit_loss"].item() for batch in source])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("objective", ["mlm", "mae"])
@pytest.mark.parametrize("backbone", ["transformer", "cnn", "hybrid", "mlp"])
def test_a_backbone_learns_or_says_why_it_does_not_fit(config, tmp_path, backbone, objective, law):
    model = replace(config.model, backbone=backbone, objective=objective)
    config = replace(config, model=model, mask=LAWS[law], steps=20)
    modality = build_modality(config)
    reason = why_unsupported(model, modality.layout)
    if reason is not None:
        with pytest.raises(ConfigError, match=f"--model.backbone {backbone} cannot be used here: {reason[:20]}"):
            build_model(config, modality)
        return
    trainer = Trainer(config, modality, RunDirectory(tmp_path / "run"), torch.device("cpu"), None)
    before = trainer.held_out(0.5, 16)
    for batch in batches(modality.train, config, 0):
        trainer.training_step(batch)
    assert trainer.held_out(0.5, 16) < before


def data_of(config):
    """The file that a run was given."""
    return Path(getattr(config.data, modality_spec(config.modality).paths)[0])


def test_a_trained_run_reads_back_and_embeds(config, tmp_path):
    pretrain(config, tmp_path / "run")
    trained, control = load(tmp_path / "run", device="cpu"), load(tmp_path / "run", device="cpu", seed=5)
    for source in (build_modality(config).validation, trained.modality.read(data_of(config))):
        vectors, others = (model.embed(source) for model in (trained, control))
        parts = 9 if len(trained.modality.layout.axes) == 2 else 1  # of a grid, 3 x 3 vectors side by side
        assert vectors.shape == (len(source), parts * config.model.width)
        assert vectors.dtype == np.float32
        assert np.isfinite(vectors).all()
        assert not np.allclose(vectors, others)
        few = trained.modality.embed_options(batch_tokens=1)
        np.testing.assert_allclose(trained.embed(source, few), vectors, atol=1e-5)
        np.testing.assert_array_equal(control.embed(source), trained.random_like(5).embed(source))


def test_raw_features_have_a_row_a_sample_in_order(config):
    modality = build_modality(config)
    if config.modality == "dna":
        pytest.skip("rows of DNA in a suite are letters, and their raw features k-mer counts")
    source = modality.read(data_of(config))
    features = modality.raw_features(source)
    assert features
    for vectors in features.values():
        dense = vectors if isinstance(vectors, np.ndarray) else vectors.toarray()
        assert len(dense) == len(source)
        assert np.isfinite(dense).all()
        assert dense.std(0).max() > 0
    if config.modality == "image":
        values = source.batch(np.arange(3)).values
        np.testing.assert_array_equal(features["pixels"][:3], values.flatten(1))


def embeddings_in(path):
    """Vectors of an output, whatever its format."""
    match path.suffix:
        case ".npy":
            return np.load(path)
        case ".parquet":
            return np.stack(pd.read_parquet(path)["embedding"])
    found = anndata.read_h5ad(path)
    return found.obsm.get("X_dnar2mae", found.X)


def test_a_file_is_embedded_in_every_format(config, tmp_path):
    pytest.importorskip("pyarrow")
    pretrain(replace(config, steps=1), tmp_path / "run")
    trained = load(tmp_path / "run", device="cpu")
    source = trained.modality.read(data_of(config))
    expected = trained.embed(source)
    for out in (tmp_path / "x.npy", tmp_path / "x.parquet", tmp_path / "x.h5ad"):
        written = embed(trained, data_of(config), out)
        assert (written.rows, written.width) == expected.shape
        np.testing.assert_array_equal(embeddings_in(out), expected)
    assert len(pd.read_csv(tmp_path / "x.tsv", sep="\t")) == len(source)


def test_samples_of_a_file_are_the_same_alone_and_together(config):
    kind = build_modality(config)
    source = kind.read(data_of(config))
    ids = np.arange(min(len(source), 3))
    together, alone = source.batch(ids), [source.batch(ids[i : i + 1]) for i in ids]
    for row, batch in enumerate(alone):
        real = batch.maskable[0].nonzero().flatten()
        assert len(real)
        assert torch.equal(batch.tokens[0, real], together.tokens[row, real])
        assert together.maskable[row].sum() == len(real)


def test_a_run_names_the_files_that_it_saves_and_what_may_change(config, tmp_path):
    spec = modality_spec(config.modality)
    (tmp_path / "made").mkdir()
    build_modality(config).save(tmp_path / "made")
    assert {file.name for file in (tmp_path / "made").iterdir()} <= set(spec.files)
    names = {field.name for field in fields(config.data)}
    assert {spec.paths, *spec.may_change} <= names
    assert spec.data_of(Path("x")) == spec.config(**{spec.paths: ("x",)})


def test_overwriting_removes_what_another_kind_saved(config, tmp_path):
    run = tmp_path / "run"
    RunDirectory(run).create(config, overwrite=False)
    build_modality(config).save(run)
    other = PretrainConfig(data=DataConfig(genomes=("g.fa",)))
    RunDirectory(run).create(other, overwrite=True)
    assert {p.name for p in run.iterdir()} == {"config.yaml", "environment.json", "checkpoints"}


def test_a_run_does_not_resume_as_another_kind(config, tmp_path):
    run = tmp_path / "run"
    RunDirectory(run).create(config, overwrite=False)
    other = preset_for("text" if config.modality != "text" else "image", PretrainConfig())
    with pytest.raises(RunError, match=f"--modality was {config.modality}, got {other.modality}"):
        RunDirectory(run).check(other, resume=True, overwrite=False)
