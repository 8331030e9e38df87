"""Models whose masked predictions are known: an exactly known Markov source, and predictors that know it."""

import numpy as np
import torch
import torch.nn.functional as F

from dnar2mae.batch import SEQUENCE, Batch
from dnar2mae.config import ModelConfig
from dnar2mae.models import MaskedModel
from dnar2mae.models.embedder import TokenEmbedder
from dnar2mae.models.head import TokenHead
from dnar2mae.tokenizers import KmerTokenizer

VOCABULARY = KmerTokenizer().vocabulary
FIRST = VOCABULARY.first_real


class OneHot(TokenEmbedder):
    def table(self):
        return torch.eye(self.vocabulary.size, dtype=torch.float64)


class LogProbabilities(TokenHead):
    """The vectors are the log-probabilities themselves."""

    def logits(self, hidden, embedder):
        return hidden

    def losses(self, hidden, batch, index, embedder):
        return F.cross_entropy(hidden, batch.tokens.flatten()[index].long(), reduction="none")


class Predictor(torch.nn.Module):
    """From shown tokens, one-hot, to log-probabilities of every token."""

    def __init__(self, predict):
        super().__init__()
        self.predict, self.passes = predict, 0

    def encode(self, x, documents=None, lengths=None):
        self.passes += 1
        shown = x.argmax(-1)
        four = self.predict(shown - FIRST, shown >= FIRST)
        out = torch.full((*shown.shape, VOCABULARY.size), -1e4, dtype=torch.float64)
        out[..., FIRST : FIRST + 4] = four.log()
        return out

    def encode_span(self, x, start, end):
        return self.encode(x)[:, start:end]

    def encode_rows(self, x, documents, lengths, rows):
        return self.encode(x).flatten(0, 1)[rows]


class Oracle(MaskedModel):
    """A masked model around a function (bases, which are visible) -> probabilities [B, T, 4]."""

    def __init__(self, predict):
        torch.nn.Module.__init__(self)
        self.config, self.layout, self.decoder = ModelConfig(), SEQUENCE, None
        self.embedder, self.head = OneHot(VOCABULARY, VOCABULARY.size), LogProbabilities(VOCABULARY, VOCABULARY.size)
        self.encoder = Predictor(predict)


class Bases:
    """A held-out source of given bases."""

    def __init__(self, bases):
        self.bases = bases

    def __len__(self):
        return len(self.bases)

    def batch(self, ids):
        tokens = torch.from_numpy((self.bases[ids] + FIRST).astype(np.int32))
        return Batch(tokens, self.bases_known(ids), torch.ones(tokens.shape), torch.from_numpy(np.asarray(ids)))

    def bases_known(self, ids):
        return torch.ones(self.bases[ids].shape, dtype=torch.bool)


START = np.array([0.4, 0.1, 0.2, 0.3])
TABLE = np.random.default_rng(1).dirichlet(np.full(4, 0.5), 4)


def markov_bases(number, length, seed=0):
    """Sequences of the first-order source."""
    rng = np.random.default_rng(seed)
    bases = np.empty((number, length), np.int64)
    bases[:, 0] = rng.choice(4, number, p=START)
    for at in range(1, length):
        bases[:, at] = (rng.random(number)[:, None] > TABLE.cumsum(1)[bases[:, at - 1]]).sum(1).clip(max=3)
    return bases


def exact_bits(bases):
    """Bits of each sequence under the source."""
    steps = TABLE[bases[:, :-1], bases[:, 1:]]
    return -np.log2(START[bases[:, 0]]) - np.log2(steps).sum(1)


def exact_predictor(bases, visible, table=None):
    """The source's conditionals of every base given the visible ones, by dynamic programming from both ends."""
    table = torch.from_numpy(TABLE if table is None else table)
    shown = F.one_hot(bases.clamp(0, 3), 4).double()
    possible = torch.where(visible[..., None], shown, torch.ones(4, dtype=torch.float64))
    before, after = torch.empty_like(possible), torch.ones_like(possible)
    before[:, 0] = torch.from_numpy(START)
    length = bases.shape[1]
    for at in range(1, length):
        before[:, at] = (before[:, at - 1] * possible[:, at - 1]) @ table
        before[:, at] /= before[:, at].sum(1, keepdim=True)
    for at in range(length - 2, -1, -1):
        after[:, at] = (after[:, at + 1] * possible[:, at + 1]) @ table.T
        after[:, at] /= after[:, at].sum(1, keepdim=True)
    both = before * after
    return both / both.sum(-1, keepdim=True)


def short_sighted(bases, visible):
    """Conditionals that agree with no density: a base from its two neighbours, and each of them half believed."""
    shown = F.one_hot(bases.clamp(0, 3), 4).double() * visible[..., None]
    near = F.pad(shown, (0, 0, 1, 1))
    votes = 0.6 + near[:, :-2] @ torch.from_numpy(TABLE) + near[:, 2:] @ torch.from_numpy(TABLE).T
    return votes / votes.sum(-1, keepdim=True)


def order_0(bases, visible):
    """The same probabilities everywhere."""
    return torch.from_numpy(START).expand(*bases.shape, 4)
