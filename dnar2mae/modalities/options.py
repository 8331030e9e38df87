"""Options of embedding samples, for all modalities. No torch here, so that ``--help`` stays quick."""

from dataclasses import dataclass
from typing import Literal

from dnar2mae.config import require


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedOptions:
    """Options of every modality; one with more options has a subclass."""

    batch_tokens: int | None = None
    """Tokens encoded at once; by default what suits the device. Changes speed and memory only."""
    layer: int | Literal["units"] = -1
    """-1: the vector after the last layer; units: the hidden units of the feed-forward blocks of all layers (of more
    than six, six evenly spaced ones) side by side, from which linear probes often learn more. Of DNA also i, the output
    of layer i, and 0, the token embedding."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require(isinstance(self.layer, int) or self.layer == "units", "layer", "a number or units", self.layer)
        require(self.batch_tokens is None or self.batch_tokens >= 1, "batch-tokens", "at least 1", self.batch_tokens)
