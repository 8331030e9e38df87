"""The part of a tokenizer that masking and the model use, for DNA and text alike; and the tokenizer of bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Integer

SPECIAL_TOKENS = ("[PAD]", "[MASK]", "[UNK]", "[SEP]")
_FIRST_REAL = len(SPECIAL_TOKENS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """Token ids by role. Real tokens are one range of ids, so that a random one is an offset away."""

    size: int
    """Number of embedding rows; at least ``first_real + num_real``."""
    pad_id: int
    """Padding: never masked, never predicted, never attended to."""
    mask_id: int
    """Token that the encoder sees in place of a masked one."""
    unk_id: int
    """A token with an unknown part (a k-mer with an N in it): visible, never predicted."""
    first_real: int
    """Lowest id of a real token."""
    num_real: int
    """Number of real tokens."""
    anchor_stride: int = 1
    """Tokens from one anchor to the next that has no base of it (``ceil(k / stride)``)."""
    bases_per_token: int = 1
    """Base pairs that one predicted token stands for, by which losses become bits per base."""
    is_base: bool = False
    """Whether tokens are A, C, G and T: in reverse order, their complements."""

    @property
    def real(self) -> slice:
        """Ids of the real tokens."""
        return slice(self.first_real, self.first_real + self.num_real)

    def is_real(self, ids: Any) -> Any:
        """Mark the real tokens of an array or tensor of ids."""
        return (ids >= self.first_real) & (ids < self.first_real + self.num_real)


class Encoded(NamedTuple):
    """A text as tokens."""

    ids: Int[np.ndarray, " T"]
    """Token ids, ``int32``."""
    sizes: Int[np.ndarray, " T"]
    """UTF-8 bytes (of DNA: bases) that each token stands for; what a tokenizer drops, such as white space, counts
    with the token after it, and at the end with the last one, so that they sum to the text's length."""


class ByteTokenizer:
    """One token a byte: ids 0..3 are [PAD], [MASK], [UNK] and [SEP], byte b is 4 + b; 264 rows.

    Examples
    --------
    >>> tokenizer = ByteTokenizer()
    >>> tokenizer.encode(["né"])[0].ids.tolist()
    [114, 199, 173]
    >>> tokenizer.decode(tokenizer.encode(["né"])[0].ids)
    'né'
    """

    fingerprint = "bytes"
    """Identifies the tokenizer, for caches of its tokens."""
    added: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.vocabulary = Vocabulary(size=264, pad_id=0, mask_id=1, unk_id=2, first_real=_FIRST_REAL, num_real=256)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the token ids of each text."""
        encoded = []
        for text in texts:
            ids = np.frombuffer(text.encode(), np.uint8).astype(np.int32) + _FIRST_REAL
            encoded.append(Encoded(ids, np.ones(len(ids), np.int64)))
        return encoded

    def decode(self, ids: Integer[np.ndarray, " T"]) -> str:
        """Return the text of tokens; specials are left out, bytes that are no UTF-8 become U+FFFD."""
        ids = np.asarray(ids, np.int64)
        real = ids[(ids >= _FIRST_REAL) & (ids < _FIRST_REAL + 256)] - _FIRST_REAL
        return real.astype(np.uint8).tobytes().decode(errors="replace")
