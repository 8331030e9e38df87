"""DNA: windows of genomes as tokens, with counts of one-sided and two-sided contexts as the yardstick."""

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, UInt8

from dnar2mae.batch import FiniteSource, Layout, evenly_spaced
from dnar2mae.config import DataConfig, PretrainConfig, TokenizerConfig
from dnar2mae.errors import ConfigError
from dnar2mae.genome.alphabet import SOFT_MASK, encode_text
from dnar2mae.genome.copies import copied
from dnar2mae.genome.fitted_bases import fitted_bases
from dnar2mae.genome.mixture import Classes, classes_at, read_classes
from dnar2mae.genome.split import Split, split
from dnar2mae.genome.store import Genome, open_genomes
from dnar2mae.genome.windows import MixtureSource, TiledSource, WindowSource, middle
from dnar2mae.masking import MaskPlan
from dnar2mae.modalities.contract import Copies, Embeddings, Modality, Yardsticks
from dnar2mae.modalities.dna.embedding import DnaTokenizer, SequenceEmbedder
from dnar2mae.modalities.dna.options import DnaEmbedOptions
from dnar2mae.modalities.dna.pieces import PieceTokenizer
from dnar2mae.modalities.dna.sequences import read_sequences
from dnar2mae.modalities.dna.sources import DnaSource, FiniteDnaSource, SequenceSource
from dnar2mae.models import MaskedModel
from dnar2mae.models.embedder import TokenEmbedder
from dnar2mae.models.head import TokenHead
from dnar2mae.storage.fingerprint import of_values
from dnar2mae.storage.remote import local_path
from dnar2mae.storage.safe_files import sha256
from dnar2mae.tokenizers import KmerTokenizer
from dnar2mae.tokenizers.file import saved_or_named

_WINDOWS_COUNTED = 1024
_COMPARED_BP = 1 << 23  # of held-out windows, looked for in the training bases at once


class DnaModality(Modality):
    """Windows of genomes as tokens.

    Parameters
    ----------
    config
        ``data``, ``tokenizer`` and ``seed`` are used.
    saved
        Run directory whose ``tokenizer.json`` replaces the file of ``--tokenizer.file``, if that is set.

    Raises
    ------
    ConfigError
        If a window is shorter than a token, or the tokenizer's file cannot be used.
    """

    unit = "bits per base"
    embed_options = DnaEmbedOptions

    def __init__(self, config: PretrainConfig[DataConfig], saved: Path | None = None) -> None:
        self.config = config
        self.tokenizer = tokenizer_of(config.data, config.tokenizer, saved)
        self.vocabulary = self.tokenizer.vocabulary
        if isinstance(self.tokenizer, PieceTokenizer):
            num_tokens = self.tokenizer.num_tokens
        else:
            num_tokens = self.tokenizer.num_tokens(config.data.window_bp)
        self.layout = Layout(axes=(num_tokens,), tokens=num_tokens, aligned=isinstance(self.tokenizer, KmerTokenizer))
        self.unit_size = math.log(2) * self.vocabulary.bases_per_token  # a piece's bases are its Batch.units

    @cached_property
    def genomes(self) -> tuple[Genome, ...]:
        """The genomes, opened.

        Raises
        ------
        ConfigError
            If none is named.
        SequenceError
            If one cannot be used.
        """
        if not self.config.data.genomes:
            raise ConfigError("no genome given: name at least one FASTA or GenBank file")
        return open_genomes(self.config.data.genomes, self.config.data.assembly_report)

    @cached_property
    def parts(self) -> Split:
        """The stretches that are trained on and those that are held out.

        Raises
        ------
        SequenceError
            If a genome cannot be used or divided.
        """
        return split(self.genomes, self.config.data)

    @cached_property
    def classes(self) -> Classes:
        """The bases of each class of ``--data.annotation``; empty without one.

        Raises
        ------
        SequenceError
            If a genome or its annotation cannot be used, or they do not belong together.
        """
        annotation = self.config.data.annotation
        return read_classes(annotation, self.genomes) if annotation else {}

    @cached_property
    def train(self) -> "DnaSource":  # type: ignore[override]
        """Windows drawn at random, by class where ``--data.mixture`` says so.

        Raises
        ------
        SequenceError
            If no window is left, at all or of a class of the mixture.
        """
        data = self.config.data
        drawn: WindowSource | MixtureSource
        drawn = WindowSource(self.genomes, self.parts.training, data, seed=self.config.seed)
        if shares := data.mixture_shares():
            drawn = MixtureSource(drawn, self.classes, shares)
        return DnaSource(drawn, self.tokenizer, data.soft_mask_weight)

    @cached_property
    def validation(self) -> "FiniteDnaSource":  # type: ignore[override]
        """Windows that tile the held-out parts.

        Raises
        ------
        SequenceError
            If no window is left.
        """
        return FiniteDnaSource(TiledSource(self.genomes, self.parts.validation, self.config.data), self.tokenizer)

    def classes_of(self, sample_ids: Int[np.ndarray, " S"]) -> list[str]:
        """Return the class of the base in the middle of each held-out window; nothing without an annotation."""
        if not self.classes:
            return []
        number, start, _ = self.validation.windows.places(sample_ids)
        return classes_at(self.classes, number, middle(start, self.config.data.window_bp))

    def locate(self, sample_ids: Int[np.ndarray, " S"]) -> pd.DataFrame:
        """Return the sequence, start, end (0-based half-open) and strand of held-out windows."""
        number, start, reverse = self.validation.windows.places(sample_ids)
        rows = []
        for genome, at in zip((self.genomes[i] for i in number), start.tolist(), strict=True):
            sequence = int(genome.sequence_of(np.array([at]))[0])
            first = at - int(genome.offsets[sequence])
            rows.append((genome.names[sequence], first, first + self.config.data.window_bp))
        table = pd.DataFrame(rows, columns=["name", "start", "end"])
        return table.assign(strand=np.where(reverse, "-", "+"))

    def tokens_of(self, text: str) -> Int[np.ndarray, " T"]:
        """Return the token ids of a DNA string; IUPAC codes read as N, in either case.

        Raises
        ------
        SequenceError
            If a letter is no nucleotide code.
        """
        codes = encode_text(text)
        if not len(codes):
            return np.zeros(0, np.int32)
        if isinstance(self.tokenizer, PieceTokenizer):
            return self.tokenizer.encode(codes[None])[0].ids
        return self.tokenizer.encode(codes)

    def text_of(self, ids: Int[np.ndarray, " T"]) -> str:
        """Return the letters of tokens, N for those that are unknown."""
        if isinstance(self.tokenizer, PieceTokenizer):
            return self.tokenizer.file.decode(ids).replace(" ", "")
        return self.tokenizer.decode(ids)

    def embedder(self) -> TokenEmbedder:
        """Build the table of token vectors."""
        return TokenEmbedder(self.vocabulary, self.config.model.width)

    def head(self) -> TokenHead:
        """Build the output, which is tied to that table."""
        return TokenHead(self.vocabulary, self.config.model.width)

    def report(self) -> dict[str, Any]:
        """Return the genomes, how many windows each rule left, and the tokens of a window where their number varies."""
        return {
            "genomes": {str(genome.path): genome.summary() for genome in self.genomes},
            "training_windows": self.train.windows.report(),
            "validation_windows": self.validation.windows.report(),
            **self._report_pieces(),
        }

    def fingerprint(self) -> str:
        """Return a digest of the genomes, and of the BED files and annotations that say where windows lie."""
        data = self.config.data
        beds = [bed and sha256(local_path(bed)) for bed in (data.include, data.exclude)]
        annotations = [sha256(local_path(path)) for path in data.annotation]
        # a list of none is left out: runs of earlier versions have their digest without
        return of_values([genome.fingerprint() for genome in self.genomes], beds, *filter(None, [annotations]))

    def _report_pieces(self) -> dict[str, Any]:
        if not isinstance(self.tokenizer, PieceTokenizer):
            return {}
        windows = self.validation.windows
        ids = evenly_spaced(len(windows), _WINDOWS_COUNTED)
        encoded = self.tokenizer.encode(windows.codes(ids))
        return {
            "tokens_added_to_the_tokenizer": list(self.tokenizer.file.added),
            "bases_per_token": windows.window_bp * len(encoded) / sum(len(part.ids) for part in encoded),
            "share_of_windows_cut": sum(len(part.ids) > self.tokenizer.num_tokens for part in encoded) / len(encoded),
        }

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``, if one is used."""
        if isinstance(self.tokenizer, PieceTokenizer):
            self.tokenizer.file.save(folder)

    def read(self, path: Path) -> SequenceSource:
        """Return the sequences of a FASTA, GenBank, CSV or TSV file in their order.

        Raises
        ------
        ConfigError, SequenceError
            If the file cannot be used.
        """
        return self.read_with(path, DnaEmbedOptions())

    def read_with(self, path: Path, options: DnaEmbedOptions) -> SequenceSource:
        """Return the same, or tiles of the sequences, or the regions of a BED file in ``options.genome``."""
        return SequenceSource(
            read_sequences(
                path, genome=options.genome, tile_bp=options.tile_bp, assembly_report=options.assembly_report
            ),
            self.tokenizer,
            path,
        )

    def embeddings(
        self,
        model: MaskedModel,
        source: FiniteSource,
        options: DnaEmbedOptions | None = None,
        *,
        progress: bool = False,
    ) -> Embeddings:
        """Embed sequences of any length by windows, on one strand or both; windows of training in one piece.

        Raises
        ------
        ConfigError
            If the options want a row per token and tokens have no fixed positions, or there is no such layer.
        """
        if not isinstance(source, SequenceSource):
            return super().embeddings(model, source, options, progress=progress)
        options, table, sequences = options or DnaEmbedOptions(), source.table, source.sequences
        num_rows = len(source)
        if options.pool == "none":
            if isinstance(self.tokenizer, PieceTokenizer):
                raise ConfigError("--pool none needs a model of single bases or k-mers, got one with --tokenizer.file")
            counts = np.array([self.tokenizer.num_tokens(n) for n in sequences.lengths.tolist()], np.int64)
            table = table.assign(first_row=np.cumsum(counts) - counts, num_rows=counts)
            num_rows = int(counts.sum())
        return Embeddings(num_rows, table, self.embedder_of(model, options).blocks(sequences, progress=progress))

    def embedder_of(self, model: MaskedModel, options: DnaEmbedOptions) -> SequenceEmbedder:
        """Return the embedder of whole sequences for a model of this run."""
        return SequenceEmbedder(
            model=model, tokenizer=self.tokenizer, options=options, window_bp=self.config.data.window_bp
        )

    def masked_yardsticks(self, plans: Sequence[MaskPlan], sample_ids: Int[np.ndarray, " S"]) -> Yardsticks:
        """Return the bits per base of Markov models and two-sided counts at the masks of these plans."""
        from dnar2mae.modalities.dna.yardstick import counted_yardsticks

        return counted_yardsticks(self, plans, sample_ids)

    def copied_samples(self, sample_ids: Int[np.ndarray, " S"]) -> Bool[np.ndarray, " S"]:
        """Return which held-out windows have 32 bases in a row that lie, on either strand, among the training bases."""
        training = self.training_bases()
        found = np.zeros(len(sample_ids), bool)
        size = max(_COMPARED_BP // self.config.data.window_bp, 1)
        for part in (slice(start, start + size) for start in range(0, len(sample_ids), size)):
            codes = self.validation.windows.codes(sample_ids[part]) & np.uint8(SOFT_MASK - 1)
            found[part] = copied(codes, training).any(1)
        return found

    def copies(self, sample_ids: Int[np.ndarray, " S"]) -> Copies | None:
        """Look held-out windows up in the training bases; not for pieces of a ``tokenizer.json``."""
        from dnar2mae.modalities.dna.copies import WindowCopies

        if isinstance(self.tokenizer, PieceTokenizer):
            return None
        codes = self.validation.windows.codes(sample_ids) & np.uint8(SOFT_MASK - 1)
        return WindowCopies(self.tokenizer, sample_ids, codes, self.training_bases())

    def training_bases(self) -> UInt8[np.ndarray, " F"]:
        """Return the training bases of the run, both strands, as its yardsticks are fitted on them."""
        return fitted_bases(self.genomes, self.train.windows.coverage())


def tokenizer_of(data: DataConfig, tokenizer: TokenizerConfig, saved: Path | None = None) -> DnaTokenizer:
    """Build the tokenizer that a configuration names.

    Raises
    ------
    ConfigError
        If a window is shorter than a token, or the tokenizer's file cannot be used.
    """
    if tokenizer.file is not None:
        return PieceTokenizer(saved_or_named(tokenizer.file, saved, "ACGT"), data.window_bp)
    built = KmerTokenizer(tokenizer.k, tokenizer.stride)
    if built.num_tokens(data.window_bp) < 1:
        raise ConfigError(f"--data.window-bp must be at least --tokenizer.k ({built.k}), got {data.window_bp}")
    return built
