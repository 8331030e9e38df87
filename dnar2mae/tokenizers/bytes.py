"""Text as its UTF-8 bytes: no vocabulary to train, nothing unknown."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Integer

from dnar2mae.tokenizers.kmer import SPECIAL_TOKENS
from dnar2mae.tokenizers.vocabulary import Encoded, Vocabulary

_FIRST_REAL = len(SPECIAL_TOKENS)


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
        self.vocabulary = Vocabulary(
            size=264, pad_id=0, mask_id=1, unk_id=2, first_real=_FIRST_REAL, num_real=256, anchor_stride=1
        )

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
