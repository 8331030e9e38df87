"""Options of embedding samples, for all modalities. No torch here, so that ``--help`` stays quick."""

from dataclasses import dataclass

from dnar2mae.config import require


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedOptions:
    """Options of every modality; one with more options has a subclass."""

    batch_tokens: int | None = None
    """Tokens encoded at once; by default what suits the device. Changes speed and memory only."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.batch_tokens is None or self.batch_tokens >= 1, "batch-tokens", "at least 1", self.batch_tokens)
