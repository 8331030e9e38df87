"""Samples of DNA by index: windows drawn at random, windows that tile, and sequences of a file."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from dnar2mae.batch import Batch
from dnar2mae.errors import SequenceError
from dnar2mae.genome.windows import MixtureSource, TiledSource, WindowSource
from dnar2mae.modalities.dna.embedding import DnaTokenizer, grid
from dnar2mae.modalities.dna.pieces import PieceTokenizer
from dnar2mae.modalities.dna.sequences import Sequences


class DnaSource:
    """Samples of windows, drawn or tiled.

    Parameters
    ----------
    windows
        Source of the genome codes.
    tokenizer
        Turns codes into ids.
    soft_mask_weight
        Loss weight of tokens with a lower-case base.
    """

    def __init__(
        self,
        windows: WindowSource | MixtureSource | TiledSource,
        tokenizer: DnaTokenizer,
        soft_mask_weight: float = 1.0,
    ) -> None:
        self.windows, self.tokenizer, self.soft_mask_weight = windows, tokenizer, soft_mask_weight

    def batch(self, sample_ids: Int[np.ndarray, " B"]) -> Batch:
        """Return the tokens of these windows; a token with an unknown base is neither masked nor predicted."""
        codes = self.windows.codes(sample_ids)
        if isinstance(self.tokenizer, PieceTokenizer):
            return self.tokenizer.batch(codes, sample_ids, self.soft_mask_weight)
        tokens = torch.from_numpy(self.tokenizer.encode(codes))
        weight = torch.ones(tokens.shape)
        if self.soft_mask_weight < 1:
            weight[torch.from_numpy(self.tokenizer.lower_case(codes))] = self.soft_mask_weight
        maskable = tokens >= self.tokenizer.vocabulary.first_real
        return Batch(tokens, maskable, weight, torch.from_numpy(sample_ids))


class FiniteDnaSource(DnaSource):
    """Samples of windows that tile, so that their number is known."""

    windows: TiledSource

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.windows)


class SequenceSource:
    """Whole sequences of a file, one per row.

    Parameters
    ----------
    sequences
        Source of the genome codes.
    tokenizer
        Turns codes into ids.
    path
        The file, for messages.

    Raises
    ------
    SequenceError
        If one is shorter than one token.
    """

    def __init__(self, sequences: Sequences, tokenizer: DnaTokenizer, path: Path) -> None:
        self.sequences, self.tokenizer, self.table = sequences, tokenizer, sequences.table
        least, short = grid(tokenizer).k, int(np.argmin(sequences.lengths))
        if sequences.lengths[short] < least:
            raise SequenceError(
                f"{path}: sequence {short + 1} ({sequences.lengths[short]} bp) is shorter than one token ({least} bp)"
            )

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.sequences.lengths)

    def batch(self, sample_ids: Int[np.ndarray, " B"]) -> Batch:
        """Return the tokens of these sequences, padded to the longest; those with an unknown base are not maskable."""
        codes, tokenizer = [self.sequences.codes(i) for i in sample_ids.tolist()], self.tokenizer
        if isinstance(tokenizer, PieceTokenizer):
            pieces = [tokenizer.encode(row[None])[0] for row in codes]
            ids_of_rows, sizes = [row.ids for row in pieces], np.concatenate([row.sizes for row in pieces])
        else:
            ids_of_rows, sizes = [tokenizer.encode(row) for row in codes], None
        lengths = np.array([len(ids) for ids in ids_of_rows])
        is_real = np.arange(lengths.max()) < lengths[:, None]
        tokens = np.full(is_real.shape, tokenizer.vocabulary.pad_id, np.int32)
        tokens[is_real] = np.concatenate(ids_of_rows)
        maskable = tokenizer.vocabulary.is_real(tokens)
        documents = None if is_real.all() else is_real.astype(np.int32) - 1
        units = None
        if sizes is not None:  # pieces stand for bases, not all for as many
            units = np.zeros(is_real.shape, np.float32)
            units[is_real] = sizes
        return Batch.of_arrays(
            tokens=tokens, maskable=maskable, sample_ids=sample_ids, documents=documents, units=units
        )
