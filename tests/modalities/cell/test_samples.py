"""Order of cells, encodings, losses, yardsticks, and what a trained run does with new cells."""

import errno
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dnar2mae import pretrain
from dnar2mae.cli import main
from dnar2mae.errors import ConfigError, DataError, RunError
from dnar2mae.inference import DnaEmbedOptions, EmbedOptions, embed, load
from dnar2mae.modalities.cell.config import CellConfig
from dnar2mae.modalities.cell.encode import GeneEncoder, epoch_order
from dnar2mae.modalities.cell.loss import GeneMeans, negative_binomial, poisson, squared_error
from dnar2mae.modalities.cell.modality import CellModality
from dnar2mae.modalities.cell.store import CellRows
from dnar2mae.modalities.registry import build_modality
from dnar2mae.training.validation import masked_sums
from tests.modalities.kinds import cell_counts, cell_whole, tiny, write_cells

sp = pytest.importorskip("scipy.sparse")
anndata = pytest.importorskip("anndata")


def modality(path, **settings):
    return build_modality(tiny("cell", CellConfig(paths=(str(path),), **settings)))


def test_an_epoch_is_a_permutation_read_in_long_stretches():
    order = epoch_order(3, 0, 1003, block=16, buffer=64)
    assert sorted(order.tolist()) == list(range(1003))
    for start in range(0, 1003, 64):
        held = np.sort(order[start : start + 64])
        assert (np.diff(held) != 1).sum() <= 4
    assert (np.diff(order) == 1).mean() < 0.1
    assert not np.array_equal(order, epoch_order(3, 1, 1003, block=16, buffer=64))
    assert not np.array_equal(order, epoch_order(4, 0, 1003, block=16, buffer=64))
    starts = [epoch_order(0, epoch, 64, block=1, buffer=64)[0] for epoch in range(400)]
    assert abs(np.mean(starts) - 31.5) < 4 * 18.5 / 20


@pytest.mark.parametrize("memory_mb", [0, 1024])
def test_samples_are_training_cells_in_order_whatever_is_asked(tmp_path, memory_mb):
    counts = cell_counts(50, 6)[0] + 1
    path = write_cells(tmp_path / "c.h5ad", counts, form=sp.csr_matrix)
    settings = {"encoding": "whole", "normalisation": "counts", "block_cells": 4, "buffer_cells": 12}
    source = modality(path, memory_mb=memory_mb, **settings).train
    number = len(source.cells)
    assert number == 45
    order = np.concatenate([epoch_order(0, epoch, number, block=4, buffer=12) for epoch in (0, 1)])
    everything = source.batch(np.arange(2 * number)).values[..., 0].numpy()
    np.testing.assert_array_equal(everything, counts[source.cells[order]])
    odd = np.array([40, 2, 44, 46, 47, 13])
    np.testing.assert_array_equal(source.batch(odd).values[..., 0].numpy(), everything[odd])


def test_held_out_cells_are_never_trained_on(tmp_path):
    counts = cell_counts(40, 6)[0] + 1
    donor = np.array(["a", "b", "c", "d"], object)[np.arange(40) % 4]
    path = write_cells(tmp_path / "c.h5ad", counts, obs={"donor": donor})
    by_index = modality(path)
    assert len(by_index.validation) == 4
    assert set(by_index.train.cells) | set(by_index.validation.cells) == set(range(40))
    assert not set(by_index.train.cells) & set(by_index.validation.cells)
    other_seed = build_modality(replace(by_index.config, seed=9))
    np.testing.assert_array_equal(other_seed.validation.cells, by_index.validation.cells)
    by_donor = modality(path, validation_column="donor", validation_values=("b", "d"))
    assert set(donor[by_donor.validation.cells]) == {"b", "d"}
    assert set(donor[by_donor.train.cells]) == {"a", "c"}
    with pytest.raises(ConfigError, match=r"must be values of donor \(a, b, c, d\), got x"):
        modality(path, validation_column="donor", validation_values=("x",)).open()
    with pytest.raises(ConfigError, match="all cells are held out by donor"):
        modality(path, validation_column="donor", validation_values=tuple("abcd")).open()
    with pytest.raises(DataError, match="obs has no column batch; it has donor"):
        modality(path, validation_column="batch", validation_values=("x",)).open()


def test_variable_genes_are_chosen_by_training_cells_alone(tmp_path):
    counts = np.full((40, 6), 5.0, np.float32)
    found = modality(write_cells(tmp_path / "c.h5ad", counts), num_genes=2)
    held_out = found.validation.cells
    counts[found.train.cells[::2], 1] = 0
    counts[found.train.cells[1::2], 4] = 0
    counts[held_out[::2], 2] = 5000
    again = modality(write_cells(tmp_path / "d.h5ad", counts), num_genes=2)
    assert again.genes == ("gene1", "gene4")
    assert again.report()["genes_before_selection"] == 6


def test_values_are_normalised_by_all_genes_of_the_file(tmp_path):
    counts = cell_counts(30, 8)[0]
    found = modality(write_cells(tmp_path / "c.h5ad", counts), num_genes=3, encoding="whole")
    kept = [int(gene.removeprefix("gene")) for gene in found.genes]
    expected = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)[:, kept]
    np.testing.assert_allclose(found.train.store.rows(np.arange(30)).values.toarray(), expected, rtol=1e-5)


@pytest.mark.parametrize("encoding", ["whole", "genes"])
def test_scaled_values_are_in_standard_deviations_of_the_training_cells(tmp_path, encoding):
    counts = cell_counts(40, 8)[0] + 1
    counts[:, 2] = 0
    path = write_cells(tmp_path / "c.h5ad", counts)
    found = modality(path, encoding=encoding, normalisation="scaled", zero_share=0.0)
    logs = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)
    training = logs[found.train.cells]
    sd = np.where(np.arange(8) == 2, 1, training.std(0))
    batch = found.validation.batch(np.arange(4))
    tokens, shown = batch.tokens.long().numpy(), batch.values[..., 0].numpy()
    expected = ((logs - training.mean(0)) / sd)[found.validation.cells]
    real = batch.maskable.numpy()
    assert real.sum() == (4 * 8 if encoding == "whole" else 4 * 7)
    np.testing.assert_allclose(shown[real], np.take_along_axis(expected, tokens, 1)[real], rtol=1e-3, atol=1e-4)
    found.save(tmp_path)
    other = counts[:5] * np.arange(1, 9)  # a file of its own has other means
    lacks = write_cells(tmp_path / "d.h5ad", other[:, :6])
    again = build_modality(found.config, saved=tmp_path).read(lacks)
    batch = again.batch(np.arange(5))
    logs = np.log1p(other[:, :6] / other[:, :6].sum(1, keepdims=True) * 1e4)
    expected = ((logs - training.mean(0)[:6]) / sd[:6]).clip(-10, 10)
    for row in range(5):
        for token, value, known in zip(
            batch.tokens[row].tolist(), batch.values[row, :, 0], batch.maskable[row], strict=True
        ):
            if known:
                assert value.item() == pytest.approx(expected[row, token], rel=1e-3, abs=1e-4)
            elif encoding == "whole":
                assert value == 0
    damaged = json.loads((tmp_path / "genes.json").read_text())
    damaged["sd"] = damaged["sd"][:-1]
    (tmp_path / "genes.json").write_text(json.dumps(damaged))
    with pytest.raises(RunError, match="genes.json: cannot be read as the genes of a run"):
        build_modality(found.config, saved=tmp_path)


def test_a_run_on_scaled_values_embeds_new_cells(tmp_path):
    config = cell_whole(tmp_path)
    config = replace(config, steps=2, validate_every=2, data=replace(config.data, normalisation="scaled"))
    result = pretrain(config, tmp_path / "run")
    assert result.unit == "squared error per scaled gene"
    assert result.yardstick["mean expression"] == pytest.approx(result.yardstick["zero"], rel=0.2)
    counts = cell_counts(9, 24, seed=1)[0]
    trained = load(tmp_path / "run", device="cpu")
    few = trained.embed(trained.modality.read(write_cells(tmp_path / "few.h5ad", counts[:3])))
    all_of_them = trained.embed(trained.modality.read(write_cells(tmp_path / "all.h5ad", counts)))
    np.testing.assert_allclose(
        all_of_them[:3], few, atol=1e-5
    )  # by the training cells' scale, whatever cells it is given
    with pytest.raises(RunError, match=r"the model takes --data\.normalisation scaled, got none"):
        pretrain(
            replace(config, init=str(tmp_path / "run"), data=replace(config.data, normalisation="none")),
            tmp_path / "next",
        )


def test_gene_tokens_are_the_highest_and_some_zeros():
    rng = np.random.default_rng(0)
    values = np.where(rng.random((6, 40)) < 0.5, rng.integers(1, 4, (6, 40)), 0).astype(np.float32)
    values[4], values[5] = 0, 0
    values[5, 3] = 2
    present = np.ones((6, 40), bool)
    present[:, 35:] = False
    values[:, 35:] = 0
    encode = GeneEncoder(0, CellConfig(num_tokens=16, zero_share=0.25))
    ids = np.arange(6)
    batch = encode(CellRows(sp.csr_matrix(values), values.sum(1), ids, present), ids, ids)
    for row in range(4):
        tokens, shown = batch.tokens[row].numpy(), batch.values[row, :, 0].numpy()
        assert len(set(tokens)) == 16
        np.testing.assert_array_equal(shown, values[row, tokens])
        assert (shown == 0).sum() == 4
        assert present[row, tokens].all()
        left_out = np.setdiff1d(np.flatnonzero(values[row]), tokens)
        assert shown[shown > 0].min() >= values[row, left_out].max(initial=0)
    assert not batch.maskable[4].any()
    assert batch.tokens[5, :1].tolist() == [3]
    assert batch.maskable[5].sum() == 1
    assert (batch.documents[5] == torch.tensor([0] + [-1] * 15)).all()
    assert (batch.values[5] == 2).all()
    other = encode(CellRows(sp.csr_matrix(values), values.sum(1), ids, present), ids, ids + 6)
    assert not torch.equal(other.tokens[:4], batch.tokens[:4])


def test_losses_are_those_of_the_distributions():
    rng = np.random.default_rng(1)
    counts, library = rng.poisson(3, 50).astype(np.float32), rng.integers(500, 5000, 50).astype(np.float32)
    values = torch.from_numpy(np.stack([counts, library], 1))
    predicted = torch.from_numpy(rng.normal(1, 1, (50, 2)).astype(np.float32))
    mean, shape = predicted[:, 0].exp() * values[:, 1] / 1e4, predicted[:, 1].exp()
    expected = -torch.distributions.Poisson(mean).log_prob(values[:, 0])
    torch.testing.assert_close(poisson(predicted, values), expected, rtol=1e-4, atol=1e-4)
    reference = torch.distributions.NegativeBinomial(shape, logits=(mean / shape).log())
    torch.testing.assert_close(
        negative_binomial(predicted, values), -reference.log_prob(values[:, 0]), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(squared_error(predicted, values), (predicted[:, 0] - values[:, 0]) ** 2)


def test_the_yardstick_is_fitted_on_training_cells_and_judged_on_held_out_ones(tmp_path):
    counts = cell_counts(60, 10)[0]
    found = modality(write_cells(tmp_path / "c.h5ad", counts), encoding="whole", normalisation="log1p_cp10k")
    values = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)
    fitted, judged = values[found.train.cells], values[found.validation.cells]
    expected = {"mean expression": ((judged - fitted.mean(0)) ** 2).mean(), "zero": (judged**2).mean()}
    assert found.yardstick() == pytest.approx(expected, rel=1e-5)


def test_likelihood_yardsticks_recover_rate_and_shape():
    rng = np.random.default_rng(0)
    library = rng.integers(2000, 20_000, 40_000)
    mean = 4.0 * library / 1e4
    counts = rng.negative_binomial(2.0, 2 / (2 + mean))
    means = GeneMeans(1)
    means.add(
        torch.zeros(40_000, dtype=torch.long), torch.from_numpy(np.stack([counts, library], 1).astype(np.float32))
    )
    predictions = means.predictions("negative_binomial")
    assert set(predictions) == {"mean expression", "one rate for all genes"}
    for predicted in predictions.values():
        np.testing.assert_allclose(predicted[0].exp(), [4, 2], rtol=0.05)


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial"])
def test_a_hidden_value_cannot_be_seen(tmp_path, likelihood):
    """The loss of a masked token does not depend on its own count, except through the label and the total."""
    config = cell_whole(tmp_path)
    config = replace(config, data=replace(config.data, likelihood=likelihood))
    pretrain(replace(config, steps=2), tmp_path / "run")
    trained = load(tmp_path / "run", device="cpu")
    source = build_modality(config).validation
    batch = source.batch(np.arange(3))
    from dnar2mae.masking import Masker, fixed_masks

    plan = Masker(config.mask, trained.modality.vocabulary, 0, 1).plan(0).at_ratio(0.5, 1)
    everywhere = torch.arange(batch.tokens.numel())
    hidden, _ = trained.model.decoded(plan, batch, everywhere)
    predicted = torch.zeros(batch.tokens.shape, dtype=torch.bool)
    predicted.view(-1)[trained.model.masked_losses(plan, batch)[1]] = True
    changed = batch.values.clone()
    changed[..., 0] = torch.where(predicted, changed[..., 0] + 50, changed[..., 0])
    other, _ = trained.model.decoded(plan, replace(batch, values=changed), everywhere)
    assert torch.equal(hidden, other)
    loss, units, *_ = masked_sums(trained.model, source, fixed_masks(plan), np.arange(len(source))).sum(1)
    assert math.isfinite(loss / units)


@pytest.fixture
def run(tmp_path):
    config = cell_whole(tmp_path)
    pretrain(replace(config, steps=2, validate_every=2), tmp_path / "run")
    return tmp_path / "run"


def test_new_cells_are_mapped_to_the_saved_genes(run, tmp_path):
    counts = cell_counts(9, 24, seed=1)[0]
    counts[4] = 0
    genes = np.array([f"gene{i}" for i in range(24)], object)
    straight = write_cells(tmp_path / "a.h5ad", counts, genes)
    shuffled = np.random.default_rng(0).permutation(24)
    turned = write_cells(tmp_path / "b.h5ad", counts[::-1][:, shuffled], genes[shuffled])
    trained = load(run, device="cpu")
    one, other = (trained.embed(trained.modality.read(path)) for path in (straight, turned))
    np.testing.assert_allclose(other[::-1], one, atol=1e-5)
    assert np.isnan(one[4]).all()
    assert np.isfinite(np.delete(one, 4, 0)).all()
    with pytest.raises(DataError, match="no gene in common with the vocabulary; it names x0, x1, x2"):
        trained.modality.read(write_cells(tmp_path / "c.h5ad", counts, [f"x{i}" for i in range(24)]))
    with pytest.warns(UserWarning, match="only 25.0% of genes in common with the vocabulary"):
        trained.modality.read(write_cells(tmp_path / "d.h5ad", counts[:, :6], genes[:6]))


def test_embeddings_stand_beside_the_cells(run, tmp_path, capsys):
    counts, kind = cell_counts(9, 24, seed=1)
    path = write_cells(
        tmp_path / "a.h5ad",
        counts,
        form=sp.csr_matrix,
        obs={"kind": kind},
        layers={"x": counts + 1},
        obsm={"X_pca": counts[:, :2]},
        uns={"note": "kept"},
    )
    before = anndata.read_h5ad(path)
    trained = load(run, device="cpu")
    expected = trained.embed(trained.modality.read(path))
    new = tmp_path / "x" / "new.h5ad"
    for source, out in ((path, new), (new, tmp_path / "again.h5ad")):
        assert main(["embed", str(run), str(source), "--out", str(out), "--device", "cpu"]) == 0
        assert "9 rows of 32, by" in capsys.readouterr().out
        found = anndata.read_h5ad(out)
        np.testing.assert_array_equal(found.obsm["X_dnar2mae"], expected)
        np.testing.assert_array_equal(found.X.toarray(), counts)
        assert found.obs.equals(before.obs)
        assert found.var.equals(before.var)
        assert found.uns["note"] == "kept"
        np.testing.assert_array_equal(found.layers["x"], counts + 1)
        np.testing.assert_array_equal(found.obsm["X_pca"], counts[:, :2])
    embed(run, path, tmp_path / "x.npy", device="cpu")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected)
    assert (tmp_path / "x.tsv").read_text().splitlines()[:2] == ["cell", "cell0"]
    assert not list(tmp_path.glob("**/.*partial*"))


def test_ten_x_input_becomes_an_anndata(run, tmp_path):
    from tests.modalities.cell.test_files import write_folder

    counts = cell_counts(9, 24, seed=1)[0]
    counts[2] = 0
    folder = write_folder(tmp_path / "tenx", counts)
    with pytest.warns(UserWarning, match="1 of 9 samples hold nothing to embed: their rows are NaN"):
        embed(run, folder, tmp_path / "x.h5ad", device="cpu")
    found = anndata.read_h5ad(tmp_path / "x.h5ad")
    np.testing.assert_array_equal(found.X.toarray(), counts)
    assert found.obs_names[3] == "cell3"
    assert found.var_names[3] == "gene3"
    assert np.isnan(found.obsm["X_dnar2mae"]).any(1).tolist() == [False, False, True] + [False] * 6


def test_parquet_holds_the_names_of_cells(run, tmp_path):
    pytest.importorskip("pyarrow")
    import pandas as pd

    path = write_cells(tmp_path / "a.h5ad", cell_counts(9, 24)[0])
    embed(run, path, tmp_path / "x.parquet", device="cpu")
    table = pd.read_parquet(tmp_path / "x.parquet")
    assert table["cell"].tolist() == [f"cell{i}" for i in range(9)]
    assert np.stack(table["embedding"]).shape == (9, 32)


def test_what_embed_refuses(run, tmp_path):
    path = write_cells(tmp_path / "a.h5ad", cell_counts(9, 24)[0])
    with pytest.raises(ConfigError, match=r"--out must end in .npy, .parquet, .h5ad, got"):
        embed(run, path, tmp_path / "x.csv", device="cpu")
    with pytest.raises(
        ConfigError, match=r"^--both-strands, --pool: no option of .*step-.*, a model of --modality cell"
    ):
        embed(run, path, tmp_path / "x.npy", device="cpu", options=DnaEmbedOptions(pool="max", both_strands=True))
    embed(run, path, tmp_path / "x.npy", device="cpu", options=DnaEmbedOptions(batch_tokens=30))
    embed(run, path, tmp_path / "y.npy", device="cpu", options=EmbedOptions(batch_tokens=30))
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), np.load(tmp_path / "y.npy"))
    with pytest.raises(ConfigError, match=r"--layer must be -1 or units, got 1: layers by number are for DNA"):
        embed(run, path, tmp_path / "x.npy", device="cpu", options=EmbedOptions(layer=1))
    (run / "genes.json").write_text('{"genes": []}')
    with pytest.raises(RunError, match="genes.json: cannot be read as the genes of a run"):
        load(run, device="cpu")


def test_a_run_starts_from_another_with_its_genes_and_normalisation(run, tmp_path):
    config = cell_whole(tmp_path)
    fewer = write_cells(tmp_path / "few.h5ad", cell_counts()[0][:, :20])
    config = replace(config, init=str(run), steps=1, data=replace(config.data, paths=(str(fewer),)))
    pretrain(config, tmp_path / "next")
    assert (tmp_path / "next" / "genes.json").read_text() == (run / "genes.json").read_text()
    with pytest.raises(RunError, match="the model takes --data.normalisation counts, got none"):
        pretrain(replace(config, data=replace(config.data, normalisation="none")), tmp_path / "other")


def test_genes_count_once_there_is_a_checkpoint(run, tmp_path, monkeypatch):
    """A start that was cut short leaves what it may: the next makes the genes anew. Later they must be there."""
    new = replace(cell_whole(tmp_path), steps=1)

    def dying(self, folder):
        (folder / "genes.json").write_text('{"normalisation": "counts", "genes": ["gene1", "ge')
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(CellModality, "save", dying)
        with pytest.raises(RunError, match="no space left on the disk"):
            pretrain(new, tmp_path / "next")
    assert pretrain(new, tmp_path / "next", resume=True).finished
    assert (tmp_path / "next" / "genes.json").read_text() == (run / "genes.json").read_text()
    (tmp_path / "next" / "genes.json").unlink()
    with pytest.raises(RunError, match="genes.json: cannot be read as the genes of a run"):
        pretrain(new, tmp_path / "next", resume=True)


def test_a_run_killed_before_it_kept_the_genes_of_another_takes_them_on_resuming(run, tmp_path, monkeypatch):
    config = cell_whole(tmp_path)
    fewer = write_cells(tmp_path / "few.h5ad", cell_counts()[0][:, :20])
    config = replace(config, init=str(run), steps=1, data=replace(config.data, paths=(str(fewer),)))

    def dying(self, folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CellModality, "save", dying)
        with pytest.raises(KeyboardInterrupt):
            pretrain(config, tmp_path / "next")
    pretrain(config, tmp_path / "next", resume=True)
    assert (tmp_path / "next" / "genes.json").read_text() == (run / "genes.json").read_text()
