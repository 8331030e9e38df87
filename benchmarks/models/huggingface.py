"""Local Hugging Face folders as encoders, each with the tokenizer it came with."""

import inspect
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dnar2mae.benchmarks.models.checkpoint import digest
from dnar2mae.benchmarks.models.encoder import Encoder, LayerVectors, Tokens
from dnar2mae.config import PretrainConfig
from dnar2mae.errors import RunError, needing, raising
from dnar2mae.models.pooling import pooled_layers
from dnar2mae.training.device import choose_device

_NO_LIMIT = 1_000_000  # tokenizers without a limit have a model_max_length of 1e30


class HiddenStates(nn.Module):
    """A Hugging Face model as ``(ids, valid) -> last hidden state``; a ``forward`` without a mask gets none."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.takes_mask = "attention_mask" in inspect.signature(model.forward).parameters

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        """Return vectors ``[B, T, D]``."""
        return self._last(self._output(ids, valid))

    def layers(self, ids: Tensor, valid: Tensor, want_units: bool) -> LayerVectors:
        """Return the layers that are pooled, the last hidden state last; only that of a model that hides the others.

        There are no units: what a block's hidden units are called differs between architectures.
        """
        config: Any = self.model.config
        before, config.output_hidden_states = config.output_hidden_states, True
        try:
            output = self._output(ids, valid)
        finally:
            config.output_hidden_states = before
        last, states = self._last(output), getattr(output, "hidden_states", None) or ()
        inner = [states[layer] for layer in pooled_layers(len(states) - 1)[:-1]] if len(states) > 1 else []
        return LayerVectors([*inner, last] if all(hidden.shape == last.shape for hidden in inner) else [last])

    def _output(self, ids: Tensor, valid: Tensor) -> Any:
        mask = {"attention_mask": valid.long()} if self.takes_mask else {}
        return self.model(input_ids=ids, **mask)

    @staticmethod
    def _last(output: Any) -> Tensor:
        hidden = getattr(output, "last_hidden_state", None)
        return output[0] if hidden is None else hidden


def from_huggingface(name: str, path: Path, device: str = "auto", *, trust_remote_code: bool = False) -> Encoder:
    """Read a local folder of ``config.json``, safetensors weights and tokenizer files; nothing is downloaded.

    ``trust_remote_code`` runs the folder's Python files, for architectures that transformers does not have.

    Raises
    ------
    RunError
        The folder cannot be read, or needs its own code and may not run it.
    ConfigError
        transformers is not installed.
    """
    with needing(f"{path}: a Hugging Face model", "transformers", "dnar2mae[hf]"):
        from transformers import AutoConfig, AutoModel, AutoTokenizer
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    with raising(RunError, f"{path / 'config.json'}: cannot be read", OSError, ValueError):
        content = json.loads((path / "config.json").read_text())
    if content.get("model_type") not in CONFIG_MAPPING and not trust_remote_code:
        code = ", ".join(sorted(file.name for file in path.glob("*.py"))) or "code of another repository"
        raise RunError(
            f"{path}: model_type {content.get('model_type')!r} is not in transformers and needs its own code ({code}); "
            "read that code, then give --trust-remote-code"
        )
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    with raising(RunError, f"{path}: transformers cannot read this folder", OSError, ValueError, KeyError, ImportError):
        config = AutoConfig.from_pretrained(path, **options)
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
        model = AutoModel.from_pretrained(path, use_safetensors=True, dtype=torch.float32, **options)
    target, _ = choose_device(PretrainConfig(device=device))
    module = HiddenStates(model).to(target).eval()

    def random_like(seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return HiddenStates(AutoModel.from_config(config, trust_remote_code=trust_remote_code))

    return Encoder(
        name=name,
        kind="huggingface",
        module=module,
        width=config.hidden_size,
        tokenize=partial(_tokens, tokenizer),
        pad_id=tokenizer.pad_token_id or 0,
        tokenization=_tokenization(tokenizer),
        digest=digest(module),
        random_like=random_like,
        layers=HiddenStates.layers,
        context_tokens=_context(config, tokenizer),
        sees_padding=not module.takes_mask,
    )


def _tokens(tokenizer: Any, sequence: str) -> Tokens:
    encoded = tokenizer(sequence, return_special_tokens_mask=True, verbose=False)
    return Tokens(np.array(encoded["input_ids"]), np.array(encoded["special_tokens_mask"]) == 0)


def _tokenization(tokenizer: Any) -> str:
    """Classify a tokenizer by its vocabulary: one letter is base, all words of one length kmer, all else bpe."""
    special = set(tokenizer.all_special_tokens)
    lengths = [len(t) for t in tokenizer.get_vocab() if t not in special and set(t.upper()) <= set("ACGT")]
    if not lengths or max(lengths) == 1:
        return "base"
    return "kmer" if lengths.count(max(lengths)) == 4 ** max(lengths) else "bpe"


def _context(config: Any, tokenizer: Any) -> int | None:
    limits = [getattr(config, "max_position_embeddings", None), tokenizer.model_max_length]
    known = [limit for limit in limits if limit and limit < _NO_LIMIT]
    return min(known, default=None)
