"""Single-base and k-mer tokenizers, vectorised over whole batches of windows."""

from itertools import product

import numpy as np
from jaxtyping import Bool, Int, UInt8

from dnar2mae.config import TokenizerConfig
from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN, encode_text
from dnar2mae.tokenizers.vocabulary import SPECIAL_TOKENS, Vocabulary

_FIRST_REAL = len(SPECIAL_TOKENS)


class KmerTokenizer:
    """Tokens of ``k`` bases, one every ``stride`` bases; ``k = 1`` is the single-base tokenizer.

    A window of L bases gives ``T = (L - k) // stride + 1`` tokens; bases after the last whole token are left out.
    A token with any base that is not A, C, G or T is [UNK]. Case makes no difference. Ids 0..3 are [PAD], [MASK],
    [UNK] and [SEP]; k-mers follow in alphabetical order; the vocabulary is filled up to a multiple of 8 rows.

    Parameters
    ----------
    k
        Bases per token, in 1..8.
    stride
        Bases from one token to the next, in 1..k; by default ``k``.

    Raises
    ------
    ConfigError
        If k or stride is out of range.

    Examples
    --------
    >>> tokenizer = KmerTokenizer(3)
    >>> tokenizer.encode_text("ACGTTTNAC").tolist()
    [10, 67, 2]
    >>> tokenizer.decode(tokenizer.encode_text("ACGTTTNAC"))
    'ACGTTTNNN'
    """

    def __init__(self, k: int = 1, stride: int | None = None) -> None:
        config = TokenizerConfig(k=k, stride=stride)
        self.k, self.stride = k, config.stride or k
        self.vocabulary = Vocabulary(
            size=-(-(_FIRST_REAL + 4**k) // 8) * 8,
            pad_id=0,
            mask_id=1,
            unk_id=2,
            first_real=_FIRST_REAL,
            num_real=4**k,
            anchor_stride=-(-k // self.stride),
            bases_per_token=k,
            is_base=k == 1,
        )
        # ids by code, of lower case as of upper case
        codes = np.arange(16, dtype=np.uint8) & ~np.uint8(SOFT_MASK)
        self._single = np.where(codes < UNKNOWN, codes + _FIRST_REAL, self.vocabulary.unk_id).astype(np.int32)

    def num_tokens(self, length_bp: int) -> int:
        """Return the number of tokens in a window of this many bases."""
        return max((length_bp - self.k) // self.stride + 1, 0)

    def encode(self, codes: UInt8[np.ndarray, "... L"]) -> Int[np.ndarray, "... T"]:
        """Return the ``int32`` token ids of base codes: A, C, G, T, N = 0..4, plus 8 for lower case."""
        if self.k == 1:
            # codes are below 16, so none wraps: with this mode NumPy does not check each of them
            return self._single.take(codes, mode="wrap")
        bases = codes & ~np.uint8(SOFT_MASK)
        num_tokens = self.num_tokens(codes.shape[-1])
        # two bits a base: 8 bases just fit
        index = np.zeros((*codes.shape[:-1], num_tokens), np.uint16)
        for offset in range(self.k):
            index <<= 2
            index |= self._column(bases, offset, num_tokens) & 3
        ids = index.astype(np.int32)
        ids += _FIRST_REAL
        unknown = bases >= UNKNOWN
        if unknown.any():
            ids[self._touches(unknown, num_tokens)] = self.vocabulary.unk_id
        return ids

    def encode_text(self, sequence: str) -> Int[np.ndarray, " T"]:
        """Return the token ids of a DNA string; U is read as T, IUPAC codes as N.

        Raises
        ------
        SequenceError
            If a letter is not an IUPAC nucleotide code.
        """
        return self.encode(encode_text(sequence))

    def decode(self, ids: Int[np.ndarray, " T"]) -> str:
        """Return the ``(T - 1) * stride + k`` upper-case letters that the tokens cover; N where no real token does."""
        ids = np.asarray(ids, np.int64)
        if ids.size == 0:
            return ""
        letters = np.full((ids.size - 1) * self.stride + self.k, ord("N"), np.uint8)
        real = (ids >= _FIRST_REAL) & (ids < _FIRST_REAL + 4**self.k)
        starts = np.flatnonzero(real) * self.stride
        for offset in range(self.k):
            digit = (ids[real] - _FIRST_REAL) >> (2 * (self.k - 1 - offset)) & 3
            letters[starts + offset] = np.frombuffer(b"ACGT", np.uint8)[digit]
        return letters.tobytes().decode("ascii")

    def lower_case(self, codes: UInt8[np.ndarray, "... L"]) -> Bool[np.ndarray, "... T"]:
        """Return which tokens have a soft-masked base."""
        return self._touches((codes & SOFT_MASK) > 0, self.num_tokens(codes.shape[-1]))

    def tokens(self) -> list[str]:
        """Return every token's text, in the order of the ids."""
        named = [*SPECIAL_TOKENS, *map("".join, product("ACGT", repeat=self.k))]
        return [*named, *(f"[unused{i}]" for i in range(self.vocabulary.size - len(named)))]

    def _column(self, x: np.ndarray, offset: int, num_tokens: int) -> np.ndarray:
        return x[..., offset : offset + (num_tokens - 1) * self.stride + 1 : self.stride]

    def _touches(self, flags: np.ndarray, num_tokens: int) -> np.ndarray:
        return np.logical_or.reduce([self._column(flags, i, num_tokens) for i in range(self.k)])
