"""DNA by a tokenizer file: strand before tokens, bits per base, and what takes no such run."""

from dataclasses import replace
from math import log2

import numpy as np
import pytest

from dnar2mae import pretrain
from dnar2mae.errors import ConfigError, RunError
from dnar2mae.inference import Model
from dnar2mae.modalities.registry import build_modality
from tests.modalities.kinds import dna_bpe


def test_windows_are_tokenized_on_their_strand(tmp_path):
    kind = build_modality(dna_bpe(tmp_path))
    ids = np.arange(40)
    batch, place = kind.train.batch(ids), kind.train.windows.locate(ids)
    genome, names = kind.genomes[0], kind.tokenizer.file.tokens()
    assert {True, False} == set(place.reverse.tolist())
    for row in range(40):
        name, start = genome.names[place.sequence[row]], int(place.start[row])
        window = genome.fetch(name, start, start + 64, "-" if place.reverse[row] else "+")
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
