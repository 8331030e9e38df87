import gzip
from dataclasses import replace

import numpy as np
import pytest

from dnar2mae.cli import main
from dnar2mae.errors import ConfigError
from dnar2mae.laboratory.covariance import describe, estimate, opinions, read_array, sample_features
from dnar2mae.theory.covariance import ar1
from tests.modalities.kinds import dna


def correlated(number, size, rho, seed=0):
    root = np.linalg.cholesky(ar1(size, rho))
    return np.random.default_rng(seed).standard_normal((number, size)) @ root.T


def test_estimate_is_near_the_truth_and_shrinks_where_samples_are_few():
    many, few = estimate(correlated(20_000, 20, 0.7) * 5 + 3, 20), estimate(correlated(25, 20, 0.7), 20)
    assert np.abs(many.matrix - ar1(20, 0.7)).max() < 0.03
    assert many.shrinkage < 0.01 < few.shrinkage
    assert np.linalg.eigvalsh(few.matrix)[0] > 0
    assert np.diag(few.matrix).tolist() == [1] * 20


def test_features_that_do_not_vary_or_vary_less_are_left_out():
    values = np.column_stack([np.ones(50), correlated(50, 3, 0.1) * [1, 5, 2]])
    found = estimate(values, 2)
    assert (found.num_constant, found.num_left_out, len(found.matrix)) == (1, 1, 2)
    with pytest.raises(ConfigError, match="two features that vary, got 0 of 3"):
        estimate(np.ones((5, 3)), 2)


def test_opinions():
    sharp, noisy = opinions(ar1(24, 0.9), [0.2, 0.9])
    assert 0 < sharp.best_ratio < noisy.best_ratio  # fewer samples: mask more
    assert sharp.law == f"fixed:{sharp.best_ratio:g}"
    assert "suggests fixed:" in describe(sharp)
    (nothing,) = opinions(np.eye(24), [0.5])
    assert nothing.law is None
    assert "no better than guessing" in describe(nothing)


def test_one_hot_columns_of_a_token_do_not_betray_one_another(tmp_path):
    values = sample_features(dna(tmp_path), 2000, 30)
    assert values.shape == (2000, 30)
    matrix = np.corrcoef(values.T).reshape(10, 3, 10, 3)
    for place in range(10):
        assert matrix[place, :, place] == pytest.approx(np.eye(3), abs=1e-6)
    config = dna(tmp_path)
    with pytest.raises(ConfigError, match="at most 64 tokens, got 256"):
        sample_features(replace(config, tokenizer=replace(config.tokenizer, k=4)), 10, 30)


def test_files_of_numbers(tmp_path):
    from scipy.sparse import csr_array, save_npz

    values = np.arange(12).reshape(4, 3)
    np.save(tmp_path / "a.npy", values.reshape(4, 3, 1))
    np.savez(tmp_path / "b.npz", x=values)
    save_npz(tmp_path / "c.npz", csr_array(values))
    (tmp_path / "d-idx.gz").write_bytes(
        gzip.compress(bytes([0, 0, 8, 3]) + np.array([4, 3, 1], ">u4").tobytes() + bytes(range(12)))
    )
    for name in ("a.npy", "b.npz", "c.npz", "d-idx.gz"):
        assert read_array(tmp_path / name, 99).tolist() == values.tolist()
    assert read_array(tmp_path / "a.npy", 2).tolist() == values[[0, 2]].tolist()


def test_expression_file(tmp_path):
    anndata = pytest.importorskip("anndata")
    anndata.AnnData(np.arange(12.0, dtype=np.float32).reshape(4, 3)).write_h5ad(tmp_path / "x.h5ad")
    assert read_array(tmp_path / "x.h5ad", 99).shape == (4, 3)


BAD = {
    "text.npy": (b"hello", "cannot be read"),
    "text.txt": (b"hello", "nor an IDX file"),
    "none.npy": (None, "No such file"),
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_cannot_be_read(name, tmp_path):
    content, message = BAD[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_array(tmp_path / name, 9)


def test_arrays_that_are_no_samples(tmp_path):
    for name, values, message in (
        ("line", np.ones(4), "samples by features, got float64 of shape"),
        ("nan", np.full((4, 2), np.nan), "must be finite, got 8 other"),
    ):
        np.save(tmp_path / f"{name}.npy", values)
        with pytest.raises(ConfigError, match=message):
            read_array(tmp_path / f"{name}.npy", 9)
    np.savez(tmp_path / "two.npz", a=np.ones(2), b=np.ones(2))
    with pytest.raises(ConfigError, match="expected one array, got a, b"):
        read_array(tmp_path / "two.npz", 9)


def test_the_command(fasta, tmp_path, capsys):
    out = tmp_path / "out"
    argv = ["covariance", str(fasta), "--out", str(out), "--samples", "400", "--features", "24", "--aspects", "0.05"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "24 features, 400 samples; shrinkage 0." in printed
    assert "This is the linear model's opinion" in printed
    assert np.load(out / "covariance.npy").shape == (24, 24)
    assert (out / "curve.csv").read_text().startswith("aspect,suggested,ratio,error\n0.05,")
    assert (out / "curve.png").exists()


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.array([[1.0, 0.5], [0.2, 1.0]]), "must be symmetric, got entries that differ by 0.3"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "must be positive semi-definite, got the eigenvalue -1"),
        (np.ones((2, 3)), "must be a square matrix"),
    ],
)
def test_what_is_no_covariance(matrix, message, tmp_path, capsys):
    np.save(tmp_path / "s.npy", matrix)
    assert main(["covariance", "--matrix", str(tmp_path / "s.npy"), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--matrix {tmp_path}/s.npy {message}" in line
    assert not (tmp_path / "out").exists()
