"""DNA by a tokenizer file: strand before tokens, bits per base, and what takes no such run."""

from dataclasses import replace
from math import log2

import numpy as np
import pytest
import torch

from dnar2mae import pretrain
from dnar2mae.benchmarks.models.checkpoint import from_checkpoint
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.genome.alphabet import encode
from dnar2mae.inference import DnaEmbedOptions, Model, load
from dnar2mae.modalities.registry import build_modality
from tests.genome.helpers import locate
from tests.modalities.kinds import dna_bpe, text


def test_windows_are_tokenized_on_their_strand(tmp_path):
    kind = build_modality(dna_bpe(tmp_path))
    ids = np.arange(40)
    batch, at = kind.train.batch(ids), locate(kind.train.windows, ids)
    genome, names = kind.genomes[0], kind.tokenizer.file.tokens()
    assert {True, False} == set(at.reverse.tolist())
    for row in range(40):
        name, start = genome.names[at.sequence[row]], int(at.start[row])
        window = genome.fetch(name, start, start + 64, "-" if at.reverse[row] else "+")
        shown = "".join(names[i] for i, real in zip(batch.tokens[row], batch.maskable[row], strict=True) if real)
        assert window.startswith(shown)
        assert len(shown) == batch.units[row].sum()
        assert len(shown) == 64 or bool(batch.maskable[row].all())


def test_losses_are_in_bits_per_base(tmp_path):
    config = dna_bpe(tmp_path)
    result = pretrain(replace(config, steps=1), tmp_path / "run")
    pieces = build_modality(config).vocabulary.num_real
    assert result.unit == "bits per base"
    assert result.untrained == pytest.approx(log2(pieces) / result.data["bases_per_token"], rel=0.1)
    assert result.yardstick["Markov order 0"] < 2
    assert result.data["share_of_windows_cut"] < 0.1
    assert (tmp_path / "run" / "tokenizer.json").exists()
    with pytest.raises(RunError, match="expected a run on single bases or k-mers, got one with --tokenizer.file"):
        Model.from_pretrained(tmp_path / "run", device="cpu")


def test_a_trained_run_that_lost_its_tokenizer_takes_no_other(tmp_path):
    config = replace(dna_bpe(tmp_path), steps=1)
    pretrain(config, tmp_path / "run")
    (tmp_path / "run" / "tokenizer.json").unlink()
    with pytest.raises(ConfigError, match=r"run/tokenizer.json: cannot read the tokenizer: No such file"):
        pretrain(config, tmp_path / "run", resume=True)


def test_sequences_of_any_length_are_embedded_by_windows_on_both_strands(tmp_path, monkeypatch):
    config = dna_bpe(tmp_path)
    pretrain(replace(config, steps=1), tmp_path / "run")
    trained = load(tmp_path / "run", device="cpu")
    rng = np.random.default_rng(0)
    forward = "".join(rng.choice(list("ACGT"), 300)) + "NNNN" + "".join(rng.choice(list("ACGT"), 340))
    (tmp_path / "a.csv").write_text(f"sequence\n{forward}\n{forward[:20]}\nNNN\n")
    source = trained.modality.read(tmp_path / "a.csv")
    whole = trained.embed(source, DnaEmbedOptions(both_strands=True))
    assert np.isfinite(whole).all(1).tolist() == [True, True, False]
    states = []
    for strand in (forward, forward[::-1].translate(str.maketrans("ACGT", "TGCA"))):
        for start in range(0, 644, 64) if strand is forward else range(644 - 64, -64, -64):
            ids = trained.modality.tokenizer.encode(encode(strand[max(start, 0) : start + 64].encode())[None])[0].ids
            hidden = trained.model(torch.from_numpy(ids)[None])[0].detach().numpy()
            states.append(hidden[ids >= trained.modality.vocabulary.first_real])
    np.testing.assert_allclose(whole[0], np.concatenate(states).mean(0), atol=2e-6)
    monkeypatch.setattr("dnar2mae.modalities.dna.embedding._BLOCK_TOKENS", 100)
    np.testing.assert_allclose(trained.embed(source, DnaEmbedOptions(both_strands=True)), whole, atol=3e-6)
    with pytest.raises(ConfigError, match="--pool none needs a model of single bases or k-mers"):
        trained.embed(source, DnaEmbedOptions(pool="none"))


def test_a_model_of_another_kind_is_no_model_of_dna(tmp_path):
    pretrain(replace(text(tmp_path), steps=1), tmp_path / "run")
    with pytest.raises(RunError, match="expected a model of DNA, got one of --modality text"):
        Model.from_pretrained(tmp_path / "run", device="cpu")
    with pytest.raises(RunError, match="expected a model of DNA, got one of --modality text"):
        from_checkpoint("text", tmp_path / "run", "cpu")


def test_a_run_by_a_tokenizer_file_is_an_encoder_of_benchmarks(tmp_path):
    pretrain(replace(dna_bpe(tmp_path), steps=1), tmp_path / "run")
    encoder = from_checkpoint("bpe", tmp_path / "run", "cpu")
    assert encoder.tokenization == "bpe"
    assert np.isfinite(encoder.embed(["ACGTTGCATTNACG", "GATTACA"], both_strands=True)).all()
