"""Settings of text; no torch here, so that ``--help`` stays quick."""

import re
from dataclasses import dataclass
from typing import Literal

from dnar2mae.config import Positional, Settings
from dnar2mae.errors import ConfigError, raising, require_choices, require_ranges


@dataclass(frozen=True, kw_only=True, slots=True)
class TextConfig(Settings):
    """Settings of reading documents and cutting them into rows of tokens."""

    paths: Positional[tuple[str, ...]] = ()
    """Text files, JSON lines (.jsonl), folders of them (.txt, .md, .jsonl; all also .gz), and data sets that Hugging
    Face's datasets package saved on disk."""
    field: str = "text"
    """Name of the text in JSON lines, data sets and, for embeddings, CSV files."""
    split: Literal["paragraph", "line", "file"] = "paragraph"
    """What a document is in a plain file: the text between blank lines, a line, or the whole file."""
    start: str | None = None
    """Regular expression: in plain files a line it matches starts a document, and --data.split is not used;
    '^ = [^=]' for the articles of WikiText."""
    window_tokens: int = 256
    """Tokens of a row."""
    pack: bool = True
    """Fill rows with documents end to end, which do not see each other; else a row is one document or a part of
    one, padded."""
    validation: tuple[str, ...] = ()
    """Files or folders held out; by default a share of the documents is (validation_share)."""
    validation_share: float = 0.1
    """Share held out at the end of each of validation_blocks stretches of the documents, in (0, 0.5]."""
    validation_blocks: int = 10
    """Number of stretches that the documents are split into, in their order."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_choices(self, "data.")
        ranges = {"at least 8": ["window_tokens"], "in (0, 0.5]": ["validation_share"]}
        require_ranges(self, ranges | {"at least 1": ["validation_blocks"]}, "data.")
        with raising(ConfigError, f"--data.start must be a regular expression, got {self.start}", re.error):
            re.compile(self.start or "")

    def ignored(self) -> dict[str, str]:
        """Return the settings without effect beside a pattern of starts or named validation files."""
        reasons = {"split": "--data.start says where documents start"} if self.start is not None else {}
        if self.validation:
            reason = "--data.validation names the files held out"
            reasons |= dict.fromkeys(("validation_share", "validation_blocks"), reason)
        return reasons
