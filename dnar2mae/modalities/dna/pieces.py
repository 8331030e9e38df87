"""DNA windows as tokens of a ``tokenizer.json`` (byte-pair encoding and the like), whose lengths vary."""

from itertools import pairwise

import numpy as np
from jaxtyping import UInt8

from dnar2mae.batch import Batch
from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN, decode
from dnar2mae.tokenizers import Encoded, FileTokenizer

_PROBE_BP = 1 << 15  # random bases by which tokens are counted
_ROOM = 1.15


class PieceTokenizer:
    """A tokenizer of whole windows, padded to a fixed number of tokens.

    A run of unknown bases is one [UNK], which is neither masked nor predicted, so no real token has an N. Tokens do
    not overlap: a masked base is in one token only. Case makes no difference.

    Parameters
    ----------
    file
        The tokenizer, opened with the letters ACGT.
    window_bp
        Bases of a window.

    Attributes
    ----------
    num_tokens : int
        Tokens of a row: 15 % more than a window of random bases has (real windows, being less random, have fewer),
        at most one per base. Tokens beyond it are left out; ``report`` of the modality says in how many windows.

    Raises
    ------
    ConfigError
        If the tokenizer turns known bases into unknown tokens.
    """

    def __init__(self, file: FileTokenizer, window_bp: int) -> None:
        self.file, self.vocabulary = file, file.vocabulary
        codes = np.random.default_rng(0).integers(0, 4, _PROBE_BP, dtype=np.uint8)
        encoded = self.encode(codes.reshape(-1, 256))
        real = sum(int(part.sizes[part.ids >= self.vocabulary.first_real].sum()) for part in encoded)
        if real < 0.9 * _PROBE_BP:
            share = real / _PROBE_BP
            raise ConfigError(
                f"{file.name}: not a tokenizer of DNA: of random bases {share:.0%} become tokens of A, C, G and T"
            )
        expected = sum(len(part.ids) for part in encoded) / _PROBE_BP * window_bp
        self.num_tokens = min(-(-int(expected * _ROOM + 8) // 8) * 8, window_bp)

    def encode(self, codes: UInt8[np.ndarray, "B L"]) -> list[Encoded]:
        """Return the tokens of each window, and the number of bases of each."""
        bases = codes & np.uint8(SOFT_MASK - 1)
        letters = decode(bases.reshape(-1))
        length = codes.shape[1]
        cuts, texts, windows = [], [], []
        for row, known in enumerate(bases < UNKNOWN):
            edges = np.flatnonzero(np.diff(known, prepend=not known[0], append=not known[-1])).tolist()
            cuts.append([(start, end, bool(known[start])) for start, end in pairwise(edges)])
            texts += [letters[row * length + a : row * length + b] for a, b, is_known in cuts[-1] if is_known]
        encoded = iter(self.file.encode(texts))
        unknown = np.array([self.vocabulary.unk_id], np.int32)
        for parts in cuts:
            stretches = [next(encoded) if known else Encoded(unknown, np.array([b - a])) for a, b, known in parts]
            ids, sizes = zip(*stretches, strict=True)
            windows.append(Encoded(np.concatenate(ids), np.concatenate(sizes)))
        return windows

    def batch(self, codes: UInt8[np.ndarray, "B L"], sample_ids: np.ndarray, soft_mask_weight: float) -> Batch:
        """Return a row per window: tokens, with their bases as units, and padding at the end."""
        shape = (len(codes), self.num_tokens)
        tokens = np.full(shape, self.vocabulary.pad_id, np.int32)
        documents, units = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
        weight = np.ones(shape, np.float32)
        for row, (ids, sizes) in enumerate(self.encode(codes)):
            count = min(len(ids), self.num_tokens)
            tokens[row, :count], units[row, :count], documents[row, :count] = ids[:count], sizes[:count], 0
            if soft_mask_weight < 1:
                lower = np.append(0, np.cumsum(codes[row] & SOFT_MASK > 0))  # soft-masked bases before each position
                ends = np.cumsum(sizes)[:count]
                weight[row, :count][lower[ends] > lower[ends - sizes[:count]]] = soft_mask_weight
        maskable, parts = self.vocabulary.is_real(tokens), {"units": units, "documents": documents}
        return Batch.of_arrays(tokens=tokens, maskable=maskable, weight=weight, sample_ids=sample_ids, **parts)
