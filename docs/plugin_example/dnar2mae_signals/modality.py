"""Series, cut into stretches that are masked and predicted."""

import numpy as np
import torch
from torch import nn

from dnar2mae.batch import Batch, Layout
from dnar2mae.errors import ConfigError
from dnar2mae.modalities.contract import Modality
from dnar2mae.models.embedder import ValueEmbedder
from dnar2mae.models.head import ValueHead
from dnar2mae.random import Stream, draw, scale
from dnar2mae.tokenizers import Vocabulary


class Series:
    """Series in their order, or at random if a seed is given: sample i is a pure function of the seed and i."""

    def __init__(self, values, seed=None):
        self.values, self.seed = torch.from_numpy(values), seed

    def __len__(self):
        return len(self.values)

    def batch(self, sample_ids):
        rows = sample_ids if self.seed is None else scale(draw(self.seed, Stream.WINDOW, sample_ids)[0], len(self))
        values = self.values[rows]
        one, places = torch.ones(values.shape[:2]), torch.arange(values.shape[1]).expand(values.shape[:2])
        return Batch(places, one.bool(), one, torch.from_numpy(sample_ids), values=values)


def _stretches(file, length):
    try:
        values = np.loadtxt(file, ndmin=2, dtype=np.float32)
        return values.reshape(len(values), -1, length)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read in stretches of {length}: {error}") from error


class SignalModality(Modality):
    """The last tenth of the lines is held out."""

    unit = "squared error"

    def __init__(self, config, saved=None):
        self.width, self.stretch = config.model.width, config.data.stretch
        values = _stretches(config.data.file, self.stretch)
        tokens, held_out = values.shape[1], max(len(values) // 10, 1)
        self.layout = Layout(axes=(tokens,), tokens=tokens)
        self.vocabulary = Vocabulary(size=tokens + 1, mask_id=0, pad_id=-1, unk_id=-1, first_real=1, num_real=tokens)
        self._train, self._held_out = Series(values[:-held_out], config.seed), Series(values[-held_out:])

    def read(self, path):
        """Series to embed or to probe, in their order."""
        return Series(_stretches(path, self.stretch))

    train = property(lambda self: self._train)
    validation = property(lambda self: self._held_out)

    def embedder(self):
        places = nn.Embedding(self.layout.tokens, self.width)
        return ValueEmbedder(nn.Linear(self.stretch, self.width), places, self.width)

    def head(self):
        return ValueHead(self.width, self.stretch, lambda predicted, true: (predicted - true).square().mean(-1))

    def yardstick(self):
        return {"mean series": (self._held_out.values - self._train.values.mean(0)).square().mean().item()}
