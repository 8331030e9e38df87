"""DNA: windows of genomes as tokens, with Markov models as the yardstick."""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from dnar2mae.config import DataConfig, PretrainConfig, TokenizerConfig
from dnar2mae.errors import ConfigError
from dnar2mae.genome.markov import markov_yardstick
from dnar2mae.genome.split import split
from dnar2mae.genome.store import Genome
from dnar2mae.genome.windows import TiledSource, WindowSource
from dnar2mae.modalities.contract import Batch
from dnar2mae.tokenizers import KmerTokenizer


class DnaSource:
    """Tokens of the windows that a source of codes gives.

    Parameters
    ----------
    windows
        Where the codes come from.
    tokenizer
        Turns codes into ids.
    soft_mask_weight
        Loss weight of tokens with a lower-case base.
    """

    def __init__(
        self, windows: WindowSource | TiledSource, tokenizer: KmerTokenizer, soft_mask_weight: float = 1.0
    ) -> None:
        self.windows, self.tokenizer, self.soft_mask_weight = windows, tokenizer, soft_mask_weight

    def batch(self, sample_ids: Int[np.ndarray, " B"]) -> Batch:
        """Tokens of these windows; a token with an unknown base is neither masked nor predicted."""
        codes = self.windows.codes(sample_ids)
        tokens = torch.from_numpy(self.tokenizer.encode(codes))
        weight = torch.ones(tokens.shape)
        if self.soft_mask_weight < 1:
            weight[torch.from_numpy(self.tokenizer.lower_case(codes))] = self.soft_mask_weight
        maskable = tokens >= self.tokenizer.vocabulary.first_real
        return Batch(tokens, maskable, weight, torch.from_numpy(sample_ids))


class FiniteDnaSource(DnaSource):
    """The same with a number of windows."""

    windows: TiledSource

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.windows)


class DnaModality:
    """Genomes to tokens; implements :class:`dnar2mae.modalities.Modality`.

    Parameters
    ----------
    config
        ``data``, ``tokenizer`` and ``seed`` are used.

    Raises
    ------
    SequenceError
        If a genome or BED file cannot be used, or no window is left to train or validate on.
    ConfigError
        If no genome is named or a window holds no token.
    """

    unit = "bits per base"

    def __init__(self, config: PretrainConfig) -> None:
        self.tokenizer = tokenizer_of(config.data, config.tokenizer)
        self.vocabulary = self.tokenizer.vocabulary
        self.tokens_per_sample = self.tokenizer.num_tokens(config.data.window_bp)
        self.nats_per_unit = math.log(2) * self.vocabulary.bases_per_token
        if not config.data.genomes:
            raise ConfigError("no genome given: name at least one FASTA or GenBank file")
        self.genomes = tuple(Genome.open(path) for path in config.data.genomes)
        parts = split(self.genomes, config.data)
        drawn = WindowSource(self.genomes, parts.training, config.data, seed=config.seed)
        tiled = TiledSource(self.genomes, parts.validation, config.data)
        self.train = DnaSource(drawn, self.tokenizer, config.data.soft_mask_weight)
        self.validation = FiniteDnaSource(tiled, self.tokenizer)

    def report(self) -> dict[str, Any]:
        """Genomes, and how many windows each rule left."""
        return {
            "genomes": {str(genome.path): genome.summary() for genome in self.genomes},
            "training_windows": self.train.windows.report(),
            "validation_windows": self.validation.windows.report(),
        }

    def yardstick(self) -> dict[str, float]:
        """Held-out bits per base of Markov models of order 0 to 9 fitted on the training windows' bases."""
        fitted, scored = self.train.windows.coverage(), self.validation.windows.coverage()
        bits = markov_yardstick(self.genomes, fitted, scored).bits
        return {f"Markov order {order}": value for order, value in enumerate(bits)}


def tokenizer_of(data: DataConfig, tokenizer: TokenizerConfig) -> KmerTokenizer:
    """Build the tokenizer a configuration names.

    Raises
    ------
    ConfigError
        If a window holds no whole token.
    """
    built = KmerTokenizer(tokenizer.k, tokenizer.stride)
    if built.num_tokens(data.window_bp) < 1:
        raise ConfigError(f"--data.window-bp must be at least --tokenizer.k ({built.k}), got {data.window_bp}")
    return built
