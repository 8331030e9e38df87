"""A trained model of DNA by single bases or k-mers, for embeddings in memory, variant effects and export."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dnar2mae.config import ModelConfig
from dnar2mae.errors import RunError
from dnar2mae.genome.alphabet import encode_text
from dnar2mae.inference.loading import TrainedModel, load
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.modalities.dna.options import DnaEmbedOptions
from dnar2mae.models import MaskedModel
from dnar2mae.storage.progress import progress_bar
from dnar2mae.tokenizers import KmerTokenizer


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model of DNA; made by :meth:`from_pretrained`."""

    trained: TrainedModel
    """The same model as every modality has it."""
    modality: DnaModality
    """Its modality."""
    tokenizer: KmerTokenizer
    """Turns bases into token ids."""

    @classmethod
    def from_pretrained(cls, path: str | Path, *, device: str = "auto", trainable: bool = False) -> "Model":
        """Read a run, one of its checkpoints, or an exported folder; see :func:`dnar2mae.inference.load`.

        Parameters
        ----------
        path, device
            As for ``load``.
        trainable
            Let any training loop train ``module``, which is then in training mode. Without, it is frozen, and warns
            where it is put into that mode.

        Raises
        ------
        RunError
            As ``load``, or if the model is not one of DNA by single bases or k-mers.
        ConfigError
            If the device does not exist.
        """
        model = cls.of(load(path, device=device, trainable=trainable))
        if trainable:  # loops such as Lightning's leave the mode as it is
            model.module.train()
        return model

    @classmethod
    def of(cls, trained: TrainedModel) -> "Model":
        """Return the model of DNA in a trained model; raises as :meth:`from_pretrained`."""
        modality = trained.modality
        if not isinstance(modality, DnaModality):
            raise RunError(
                f"{trained.source}: expected a model of DNA, got one of --modality {trained.config.modality}"
            )
        if not isinstance(modality.tokenizer, KmerTokenizer):
            raise RunError(f"{trained.source}: expected a run on single bases or k-mers, got one with --tokenizer.file")
        return cls(trained, modality, modality.tokenizer)

    @property
    def module(self) -> MaskedModel:
        """The network, on its device, in fp32; in evaluation mode, unless it was read as trainable."""
        return self.trained.model

    @property
    def config(self) -> ModelConfig:
        """Sizes of the encoder."""
        return self.trained.config.model

    @property
    def window_bp(self) -> int:
        """Length of the windows it was trained on."""
        return self.modality.config.data.window_bp

    @property
    def source(self) -> str:
        """The path it was read from, or another description."""
        return self.trained.source

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.trained.device

    @property
    def is_strand_symmetric(self) -> bool:
        """See :attr:`dnar2mae.models.MaskedModel.is_strand_symmetric`."""
        return self.module.is_strand_symmetric

    def digest(self) -> str:
        """Return a digest of the weights, by which what was computed with them is known again."""
        digest = hashlib.sha256()
        for name, value in sorted(self.module.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def random_like(self, seed: int) -> "Model":
        """Return the same architecture with the initial weights of this seed: the control for what training adds."""
        return self.of(self.trained.random_like(seed))

    def tokens(
        self, sequences: str | Sequence[str | UInt8[np.ndarray, " _"]]
    ) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
        """Return what ``module`` takes: the token ids of sequences, and which of them are no padding.

        Parameters
        ----------
        sequences
            As for :meth:`embed`.

        Raises
        ------
        SequenceError
            If a sequence has a letter that is no nucleotide code.
        """
        ids = [torch.from_numpy(self.tokenizer.encode(codes)) for codes in _codes(sequences)]
        pad_id = self.tokenizer.vocabulary.pad_id
        tokens = pad_sequence(ids, batch_first=True, padding_value=pad_id).to(self.device)
        return tokens, tokens != pad_id

    def embed(
        self,
        sequences: str | Sequence[str | UInt8[np.ndarray, " _"]],
        *,
        pool: str = "mean",
        layer: int | Literal["units"] = -1,
        both_strands: bool = False,
        window_bp: int | None = None,
        batch_tokens: int | None = None,
        progress: bool = False,
    ) -> Any:
        """Embed sequences.

        Parameters
        ----------
        sequences
            DNA, any case, IUPAC codes read as N; or arrays of genome codes. One string is one sequence.
        pool, layer, both_strands, window_bp, batch_tokens
            As in :class:`DnaEmbedOptions`.
        progress
            Show a progress bar on a terminal.

        Returns
        -------
        float32 [N, D], or for ``pool="none"`` a list of float32 [T, D]
            In the order given. A sequence without a known token has NaN.

        Raises
        ------
        SequenceError
            If a sequence is shorter than one token or has a letter that is no nucleotide code.
        ConfigError
            If the pool or layer does not exist, or the window is shorter than one token.
        """
        options = DnaEmbedOptions(
            pool=pool,  # type: ignore[arg-type]  # checked there
            layer=layer,
            both_strands=both_strands,
            window_bp=window_bp,
            batch_tokens=batch_tokens,
        )
        codes = _codes(sequences)
        total = sum(self.tokenizer.num_tokens(len(c)) for c in codes) * (1 + both_strands)
        with progress_bar("embedding", total, show=progress) as bar:
            return self.modality.embedder_of(self.module, options).embed(codes, bar.advance)


def _codes(sequences: str | Sequence[str | UInt8[np.ndarray, " _"]]) -> list[UInt8[np.ndarray, " _"]]:
    sequences = [sequences] if isinstance(sequences, str) else sequences  # not its letters, one by one
    return [encode_text(s, f"sequence {i}, ") if isinstance(s, str) else s for i, s in enumerate(sequences, 1)]
