"""Train a tokenizer on text or DNA: a ``tokenizer.json`` by the ``tokenizers`` package."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dnar2mae.config import Positional
from dnar2mae.errors import ConfigError, DataError, raising, require, require_choices
from dnar2mae.storage.progress import progress_bar
from dnar2mae.storage.safe_files import refuse_inputs, write_whole

SPECIAL_TOKENS = ("[PAD]", "[MASK]", "[UNK]", "[CLS]", "[SEP]")
_NUM_BYTES = 256
# letters inside words are moved up by this, into Unicode's planes for private use
_PRIVATE = 0xF0000
# the first letter that would be moved beyond Unicode's last one, 0x10FFFF: words with such letters are left out
_MOVABLE = "\U00020000"


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerTraining:
    """Train a tokenizer: a tokenizer.json for --tokenizer.file, on text or DNA.

    Example: dnar2mae tokenizer train genome.fa.gz --out bpe.json --modality dna --vocabulary-size 4096
    """

    paths: Positional[tuple[str, ...]]
    """Text (files, .jsonl, folders, data sets on disk), or FASTA and GenBank files with --modality dna."""
    out: Path
    """File to write, such as bpe.json."""
    kind: Literal["bpe", "wordpiece", "unigram"] = "bpe"
    """bpe (of text: byte-level, nothing is unknown), wordpiece (white space is dropped), unigram."""
    vocabulary_size: int = 4096
    """Number of tokens, [PAD], [MASK], [UNK], [CLS], [SEP] and the alphabet included."""
    modality: Literal["text", "dna"] = "text"
    """What the input is."""
    both_strands: bool = True
    """dna: learn from the reverse complement, too."""
    max_letters: int = 50_000_000
    """Learn from about this many letters, chunks evenly spaced over the input; more need more memory."""
    field: str = "text"
    """Name of the text in JSON lines and data sets."""
    overwrite: bool = False
    """Replace --out."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_choices(self)
        least = len(SPECIAL_TOKENS) + (4 if self.modality == "dna" else _NUM_BYTES if self.kind == "bpe" else 1)
        what = f"at least {least} (specials and alphabet)"
        require(self.vocabulary_size >= least, "vocabulary-size", what, self.vocabulary_size)
        require(self.max_letters >= 1, "max-letters", "at least 1", self.max_letters)
        require(len(self.paths) > 0, "paths", "one or more files", self.paths)


def train_tokenizer(config: TokenizerTraining, chunks: Iterator[str]) -> int:
    """Train and write a tokenizer; the same input gives the same file.

    Parameters
    ----------
    config
        What to train, and where to write it.
    chunks
        Texts to learn from, such as :func:`dnar2mae.modalities.text.readers.spaced_documents` or
        :func:`dnar2mae.genome.chunks.spaced_chunks` reads them.

    Returns
    -------
    int
        Number of its tokens: fewer than ``vocabulary_size`` where the input has no more to merge.

    Raises
    ------
    Dnar2maeError
        If the input is missing, wrong or empty, or the file exists, is an input, or cannot be written.
    """
    refuse_inputs(config.out, config.paths)
    if config.out.exists() and not config.overwrite:
        raise ConfigError(f"--out {config.out} exists; give --overwrite to replace it")
    train = {"bpe": _bpe, "wordpiece": _word_piece, "unigram": _unigram}[config.kind]
    # on a terminal the package draws its own bar
    is_shown = not sys.stderr.isatty()
    with _one_thread(), progress_bar("Training the tokenizer", None, show=is_shown, at_once=True):
        what = f"{', '.join(config.paths)}: no tokenizer of --vocabulary-size {config.vocabulary_size} can be trained"
        # the package raises plain exceptions
        with raising(ConfigError, what, Exception):
            tokenizer = train(_not_empty(chunks, config), config)
    size = tokenizer.get_vocab_size()
    least = f"at least {size} (specials and the input's alphabet)"
    require(size <= config.vocabulary_size, "vocabulary-size", least, config.vocabulary_size)
    with raising(ConfigError, f"--out {config.out}: cannot be written", OSError):
        write_whole(config.out, tokenizer.to_str(pretty=True))
    return size


def _bpe(chunks: Iterator[str], config: TokenizerTraining) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    if config.modality == "dna":
        tokenizer.decoder = decoders.Fuse()
        alphabet = list("ACGT")
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(chunks, trainers.BpeTrainer(**_settings(config, alphabet)))
    return tokenizer


def _settings(config: TokenizerTraining, alphabet: list[str]) -> dict[str, Any]:
    """Return what all trainers of the package take."""
    about = {"vocab_size": config.vocabulary_size, "special_tokens": list(SPECIAL_TOKENS)}
    return about | {"initial_alphabet": alphabet, "show_progress": sys.stderr.isatty()}


def _word_piece(chunks: Iterator[str], config: TokenizerTraining) -> Any:
    """Merge pairs as for BPE, letters inside a word being others than at its start.

    The package's own trainer does so too, but numbers the letters inside words in the order of a hash table, which
    differs from run to run and decides between pairs that are equally frequent. So they are moved to a range of
    private letters, and back afterwards.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    words = None if config.modality == "dna" else pre_tokenizers.BertPreTokenizer()

    def moved() -> Iterator[str]:
        for text in chunks:
            parts = [text] if words is None else [word for word, _ in words.pre_tokenize_str(text)]
            yield " ".join(
                word[0] + "".join(chr(ord(x) + _PRIVATE) for x in word[1:]) for word in parts if max(word) < _MOVABLE
            )

    alphabet = list("ACGT") if words is None else []
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    bare.train_from_iterator(moved(), trainers.BpeTrainer(**_settings(config, alphabet)))
    vocabulary = {}
    for token, number in bare.get_vocab().items():
        is_inside = ord(token[0]) >= _PRIVATE
        letters = "".join(chr(ord(x) - _PRIVATE if ord(x) >= _PRIVATE else ord(x)) for x in token)
        vocabulary["##" * is_inside + letters] = number
    # longer words become [UNK]: 100 letters is the package's default, but a chunk of DNA is one word
    most = 100 if words else 1 << 20
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=most))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.decoder = decoders.WordPiece()
    if words:
        tokenizer.pre_tokenizer = words
    return tokenizer


def _unigram(chunks: Iterator[str], config: TokenizerTraining) -> Any:
    """Fit pieces with probabilities.

    The package adds numbers in the order of a hash table, so these are rounded; and it puts rare letters that are no
    piece at the end in that order, at most 0.0001 apart, so these are sorted.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    if config.modality == "dna":
        tokenizer.decoder = decoders.Fuse()
    else:
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    alphabet = list("ACGT") if config.modality == "dna" else []
    tokenizer.train_from_iterator(chunks, trainers.UnigramTrainer(unk_token="[UNK]", **_settings(config, alphabet)))
    content = json.loads(tokenizer.to_str())
    pieces = [(piece, round(score, 6)) for piece, score in content["model"]["vocab"]]
    special, real = pieces[: len(SPECIAL_TOKENS)], pieces[len(SPECIAL_TOKENS) :]
    real.sort(key=lambda pair: (-pair[1], pair[0]))
    # 0.0001 apart at most, with room for the rounding of both
    rare = len(real) - 1
    while rare > 0 and len(real[rare - 1][0]) == 1 and real[rare - 1][1] - real[rare][1] < 1.03e-4:
        rare -= 1
    letters = sorted(piece for piece, _ in real[rare:])
    real[rare:] = [(letter, score) for letter, (_, score) in zip(letters, real[rare:], strict=True)]
    content["model"]["vocab"] = special + real
    return Tokenizer.from_str(json.dumps(content))


def _not_empty(chunks: Iterator[str], config: TokenizerTraining) -> Iterator[str]:
    """Yield the chunks, and raise an error at the end if there was no text in them."""
    has_text = False
    for chunk in chunks:
        has_text = has_text or bool(chunk.strip())
        yield chunk
    if not has_text:
        raise DataError(f"{', '.join(config.paths)}: the input is empty: there is nothing to learn from")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep the package from adding numbers in the order in which its threads end."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
