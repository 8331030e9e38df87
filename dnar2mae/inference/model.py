"""A trained model with its tokenizer: what embeddings, variant effects and export start from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from dnar2mae.config import ModelConfig, PretrainConfig
from dnar2mae.errors import RunError, SequenceError
from dnar2mae.genome.alphabet import encode
from dnar2mae.inference.hidden_states import EmbedOptions, embed_codes
from dnar2mae.modalities.registry import build_modality
from dnar2mae.models import MaskedModel
from dnar2mae.models.modernbert import read_modernbert, refuse_pickles
from dnar2mae.run.checkpoint import find_checkpoint, load_checkpoint
from dnar2mae.run.config_file import read_config
from dnar2mae.storage.progress import progress_bar
from dnar2mae.tokenizers import KmerTokenizer
from dnar2mae.tokenizers.kmer_json import read_tokenizer
from dnar2mae.training.device import choose_device


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A trained model with its tokenizer; made by :meth:`from_pretrained`."""

    module: MaskedModel
    """The network, in evaluation mode, on its device, in fp32."""
    tokenizer: KmerTokenizer
    """From bases to token ids."""
    config: ModelConfig
    """Sizes of the encoder."""
    window_bp: int
    """Length of the windows it was trained on."""
    source: str
    """Where it came from."""

    @classmethod
    def from_pretrained(cls, path: str | Path, *, device: str = "auto") -> "Model":
        """Read a run, one of its checkpoints, or a ModernBERT folder as :func:`export` writes it.

        Only safetensors, JSON and YAML are ever read.

        Parameters
        ----------
        path
            A run directory (its last checkpoint is read), a checkpoint such as ``RUN/checkpoints/best``, or a folder
            with ``config.json``, ``model.safetensors`` and ``tokenizer.json``.
        device
            ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes the first GPU, else the CPU.

        Returns
        -------
        Model
            Ready for use.

        Raises
        ------
        RunError
            If there is none of these, a file is damaged or does not fit, or the weights are a pickle.
        ConfigError
            If the device does not exist.
        """
        path = Path(path)
        target, _ = choose_device(PretrainConfig(device=device))
        found = find_checkpoint(path)
        if found is not None:
            model = _from_checkpoint(*found)
        elif (path / "config.json").is_file():
            model = _from_modernbert(path)
        else:
            refuse_pickles(path)
            raise RunError(f"{path}: neither a run, nor a checkpoint of one, nor a ModernBERT folder with config.json")
        model.module.to(target).eval().requires_grad_(False)
        return model

    def random_like(self, seed: int) -> "Model":
        """Return the same architecture with the initial weights of this seed: the control for what was learned."""
        module = MaskedModel.of_tokens(self.config, self.tokenizer.vocabulary, self.module.layout)
        module.reset_parameters(torch.Generator().manual_seed(seed))
        module.to(self.device).eval().requires_grad_(False)
        return replace(self, module=module, source=f"random weights of seed {seed}")

    def embed(
        self,
        sequences: Sequence[str | UInt8[np.ndarray, " _"]],
        *,
        pool: str = "mean",
        layer: int = -1,
        both_strands: bool = False,
        window_bp: int | None = None,
        batch_tokens: int | None = None,
        progress: bool = False,
    ) -> Any:
        """Embed sequences.

        Parameters
        ----------
        sequences
            DNA, any case, IUPAC codes read as N; or arrays of genome codes.
        pool, layer, both_strands, window_bp, batch_tokens
            As in :class:`EmbedOptions`.
        progress
            Show a progress bar on a terminal.

        Returns
        -------
        float32 [N, D], or for ``pool="none"`` a list of float32 [T, D]
            In the order given. A sequence without a known token has NaN.

        Raises
        ------
        SequenceError
            If a sequence is shorter than one token or holds a letter that is no nucleotide code.
        ConfigError
            If the pool or layer does not exist, or the window holds no token.

        Notes
        -----
        Windows of a long sequence lie side by side; the last is moved back to end with the sequence, and only its
        new tokens count.
        """
        options = EmbedOptions(
            pool=pool, layer=layer, both_strands=both_strands, window_bp=window_bp, batch_tokens=batch_tokens
        )
        codes = [_codes(i, s) if isinstance(s, str) else s for i, s in enumerate(sequences)]
        total = sum(self.tokenizer.num_tokens(len(c)) for c in codes) * (1 + both_strands)
        done = 0
        with progress_bar("embedding", total, show=progress) as update:

            def advance(tokens: int) -> None:
                nonlocal done
                done += tokens
                update(min(done, total))

            return embed_codes(
                self.module,
                self.tokenizer,
                codes,
                options=options,
                window_bp=window_bp or self.window_bp,
                advance=advance,
            )

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.module.parameters()).device


def _codes(index: int, sequence: str) -> UInt8[np.ndarray, " L"]:
    codes = encode(sequence.encode("latin-1", "replace"))
    if (codes == 255).any():
        where = int(np.argmax(codes == 255))
        raise SequenceError(
            f"sequence {index + 1}, position {where + 1}: expected a nucleotide letter, got {sequence[where]!r}"
        )
    return codes


def _from_checkpoint(run: Path, folder: Path) -> Model:
    config = read_config(run / "config.yaml", whole=True)
    if config.modality != "dna":
        raise RunError(f"{run}: expected a run on DNA, got one of --modality {config.modality}")
    if config.tokenizer.file is not None:
        raise RunError(f"{run}: expected a run on single bases or k-mers, got one with --tokenizer.file")
    tokenizer = KmerTokenizer(config.tokenizer.k, config.tokenizer.stride)
    modality = build_modality(config)
    module = MaskedModel.of_tokens(config.model, tokenizer.vocabulary, modality.layout)
    load_checkpoint(folder, module)
    return Model(
        module=module,
        tokenizer=tokenizer,
        config=config.model,
        window_bp=config.data.window_bp,
        source=str(folder),
    )


def _from_modernbert(folder: Path) -> Model:
    config, weights, tokens = read_modernbert(folder)
    tokenizer = read_tokenizer(folder)
    module = MaskedModel.of_tokens(config, tokenizer.vocabulary)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(f"{folder}: the weights do not fit: {' '.join(str(error).split())}") from error
    return Model(
        module=module,
        tokenizer=tokenizer,
        config=config,
        window_bp=(tokens - 1) * tokenizer.stride + tokenizer.k,
        source=str(folder),
    )
