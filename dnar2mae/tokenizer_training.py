"""Train a tokenizer on text or DNA: a ``tokenizer.json`` by the ``tokenizers`` package."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dnar2mae.config import Positional, require
from dnar2mae.errors import ConfigError
from dnar2mae.genome.progress import progress_bar
from dnar2mae.modalities.text.config import TextConfig

SPECIAL_TOKENS = ("[PAD]", "[MASK]", "[UNK]", "[CLS]", "[SEP]")
_CHUNK_BP = 512
_NUM_BYTES = 256


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
    """Number of tokens, [PAD] [MASK] [UNK] [CLS] [SEP] and the alphabet included."""
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
        kinds = ("bpe", "wordpiece", "unigram")
        require(self.kind in kinds, "kind", f"one of {', '.join(kinds)}", self.kind)
        require(self.modality in ("text", "dna"), "modality", "text or dna", self.modality)
        least = len(SPECIAL_TOKENS) + (4 if self.modality == "dna" else _NUM_BYTES if self.kind == "bpe" else 1)
        what = f"at least {least} (specials and alphabet)"
        require(self.vocabulary_size >= least, "vocabulary-size", what, self.vocabulary_size)
        require(self.max_letters >= 1, "max-letters", "at least 1", self.max_letters)
        require(len(self.paths) > 0, "paths", "one or more files", self.paths)


def train_tokenizer(config: TokenizerTraining) -> int:
    """Train and write a tokenizer; the same input gives the same file.

    Returns
    -------
    int
        Number of its tokens: fewer than asked for where the input has no more to merge.

    Raises
    ------
    Dnar2maeError
        If the input is missing, wrong or empty, or the file exists or cannot be written.
    """
    if config.out.exists() and not config.overwrite:
        raise ConfigError(f"--out {config.out} exists; give --overwrite to replace it")
    chunks = _dna(config) if config.modality == "dna" else _text(config)
    tokenizer, trainer = _untrained(config)
    with _one_thread():
        try:
            tokenizer.train_from_iterator(chunks, trainer)
        except ValueError as error:  # of the package's own making: our errors pass
            if isinstance(error, ConfigError) or type(error) is not ValueError:
                raise
            raise ConfigError(f"{', '.join(config.paths)}: no tokenizer can be trained: {error}") from error
    partial = config.out.with_name(config.out.name + ".partial")
    try:
        partial.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        partial.replace(config.out)
    except OSError as error:
        raise ConfigError(f"--out {config.out}: cannot be written: {error.strerror}") from error
    return tokenizer.get_vocab_size()


def _untrained(config: TokenizerTraining) -> tuple[Any, Any]:
    """Build the tokenizer that is to be trained, and its trainer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    is_dna = config.modality == "dna"
    shared: dict[str, Any] = {
        "vocab_size": config.vocabulary_size,
        "special_tokens": list(SPECIAL_TOKENS),
        "show_progress": sys.stderr.isatty(),
    }
    if is_dna:
        shared["initial_alphabet"] = list("ACGT")
    if config.kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
        if not is_dna:
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder = decoders.ByteLevel()
            shared["initial_alphabet"] = sorted(pre_tokenizers.ByteLevel.alphabet())
        else:
            tokenizer.decoder = decoders.Fuse()
        return tokenizer, trainers.BpeTrainer(**shared)
    if config.kind == "wordpiece":
        most = 1 << 20 if is_dna else 100
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=most))
        tokenizer.decoder = decoders.WordPiece()
        if not is_dna:
            tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return tokenizer, trainers.WordPieceTrainer(**shared)
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.decoder = decoders.Fuse()
    if not is_dna:
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return tokenizer, trainers.UnigramTrainer(unk_token="[UNK]", **shared)


def _text(config: TokenizerTraining) -> Iterator[str]:
    """Give the documents of the input."""
    from dnar2mae.errors import TextError
    from dnar2mae.modalities.text.readers import documents, source_files

    files = [file for path in config.paths for file in source_files(Path(path))]
    total = sum(file.stat().st_size for file in files)
    if total == 0:
        raise TextError(f"{', '.join(config.paths)}: the input is empty")
    step = -(-total // config.max_letters)
    read = TextConfig(field=config.field)

    def every() -> Iterator[str]:
        with progress_bar("Reading text", total) as update:
            done = number = 0
            for file in files:
                for text in documents(file, read):
                    if number % step == 0:
                        yield text
                    number, done = number + 1, done + len(text)
                    update(done)

    return every()


def _dna(config: TokenizerTraining) -> Iterator[str]:
    """Give chunks of known bases of the input's genomes, and their reverse complements."""
    from dnar2mae.genome.alphabet import SOFT_MASK, UNKNOWN, complement, decode
    from dnar2mae.genome.intervals import intersection, intervals_of
    from dnar2mae.genome.store import Genome

    genomes = [Genome.open(path) for path in config.paths]
    total = sum(genome.total_bp for genome in genomes) * (1 + config.both_strands)
    step = -(-total // config.max_letters)

    def every() -> Iterator[str]:
        with progress_bar("Reading DNA", total // (1 + config.both_strands)) as update:
            done = number = 0
            for genome in genomes:
                gaps = np.append(0, genome.n_runs.flatten())
                known = intervals_of(gaps[::2], np.append(gaps[1::2], genome.total_bp))
                for first, end in intersection(known[known[:, 1] > known[:, 0]], genome.intervals).tolist():
                    for start in range(first, end, _CHUNK_BP):
                        number += 1
                        if number % step:
                            continue
                        codes = genome.span(start, min(start + _CHUNK_BP, end)) & np.uint8(SOFT_MASK - 1)
                        assert (codes < UNKNOWN).all(), "runs of N are complete"
                        yield decode(codes)
                        if config.both_strands:
                            yield decode(complement(codes[::-1]))
                        update(done + end - start)
                done += genome.total_bp

    return every()


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
