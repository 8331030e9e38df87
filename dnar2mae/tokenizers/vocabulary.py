"""The part of a tokenizer that masking and the model use, for DNA and text alike."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int


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
    """Tokens from one anchor to the next that shares no base with it (``ceil(k / stride)``)."""
    bases_per_token: int = 1
    """Base pairs that one predicted token stands for, by which losses become bits per base."""

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
