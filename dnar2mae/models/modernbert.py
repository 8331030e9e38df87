"""Weights and sizes to and from the names of Hugging Face's ModernBERT, with its head for masked tokens or for labels.

References
----------
.. [1] https://huggingface.co/docs/transformers/model_doc/modernbert
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dnar2mae.config import ModelConfig
from dnar2mae.errors import RunError
from dnar2mae.models.transformer import NORM_EPS
from dnar2mae.tokenizers import KmerTokenizer

_BACKBONE = "transformer"
_NAMES = {
    "embedder.embedding.weight": "model.embeddings.tok_embeddings.weight",
    "embedder.norm.weight": "model.embeddings.norm.weight",
    "encoder.final_norm.weight": "model.final_norm.weight",
    "head.dense.weight": "head.dense.weight",
    "head.norm.weight": "head.norm.weight",
    "head.bias": "decoder.bias",
}
_LAYER_NAMES = {
    "attention_norm": "attn_norm",
    "qkv": "attn.Wqkv",
    "attention_out": "attn.Wo",
    "mlp_norm": "mlp_norm",
    "mlp_in": "mlp.Wi",
    "mlp_out": "mlp.Wo",
}
_TIED = "decoder.weight"
_WANTED: dict[str, Any] = {
    "hidden_activation": "gelu",
    "norm_eps": NORM_EPS,
    "norm_bias": False,
    "attention_bias": False,
    "mlp_bias": False,
    "classifier_activation": "gelu",
    "classifier_bias": False,
    "decoder_bias": True,
    "tie_word_embeddings": True,
}
"""Settings that this package's encoder has built in; they are the published defaults."""
_SMALL = 1e-8


def has_form(config: ModelConfig) -> bool:
    """Return whether a model is arithmetically a ModernBERT."""
    return config.backbone == _BACKBONE and config.objective == "mlm"


def to_modernbert(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a :class:`dnar2mae.models.MaskedModel`; the tied decoder matrix is left out."""
    return {_their_name(name): tensor for name, tensor in weights.items()}


def to_classifier(
    weights: Mapping[str, Tensor], head: Float[Tensor, "K D"], bias: Float[Tensor, " K"]
) -> dict[str, Tensor]:
    r"""Return the weights of a ModernBERT whose head for labels is a linear layer on the vectors as they are.

    The published head is a dense layer, an activation (here none) and a LayerNorm before the classifier. With

    .. math:: d = \alpha (h_1 x, ..., h_K x, -\sum_k h_k x, 0, ..., 0)

    as the dense layer's output, whose mean is 0, and :math:`\alpha` so small that its variance is nothing beside the
    norm's epsilon, LayerNorm is a division by :math:`\sqrt\epsilon`, which its weight undoes.

    Parameters
    ----------
    weights
        Of a :class:`dnar2mae.models.MaskedModel`; its own head and decoder are left out.
    head, bias
        The linear layer, of fewer outputs than the width.
    """
    num_outputs, width = head.shape
    assert num_outputs < width, "the dense layer needs a row for each output and one more"
    # rows of length 1, so that the size of the weights does not count
    size = head.norm(dim=1).max().clamp(min=1e-30)
    dense, classifier = head.new_zeros(width, width), head.new_zeros(num_outputs, width)
    dense[:num_outputs] = head / size * _SMALL
    dense[num_outputs] = -dense[:num_outputs].sum(0)
    classifier[:, :num_outputs] = torch.eye(num_outputs) * size
    encoder = {name: tensor for name, tensor in weights.items() if name.startswith(("embedder.", "encoder."))}
    return to_modernbert(encoder) | {
        "head.dense.weight": dense,
        "head.norm.weight": head.new_full((width,), math.sqrt(NORM_EPS) / _SMALL),
        "classifier.weight": classifier,
        "classifier.bias": bias,
    }


def to_classifier_config(
    config: dict[str, Any], labels: Sequence[str], problem: str | None, *, per_token: bool
) -> dict[str, Any]:
    """Return the ``config.json`` that goes with :func:`to_classifier`.

    Parameters
    ----------
    config
        That of the ``ModernBertForMaskedLM``.
    labels
        Names of the outputs.
    problem
        ``single_label_classification``, ``multi_label_classification`` or ``regression``.
    per_token
        Outputs are of tokens, not of sequences.
    """
    kind = "ForTokenClassification" if per_token else "ForSequenceClassification"
    kept = {name: value for name, value in config.items() if not name.startswith("sparse_")}
    return kept | {
        "architectures": [f"ModernBert{kind}"],
        "classifier_activation": "linear",
        "classifier_dropout": 0.0,
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        "problem_type": problem,
    }


def from_modernbert(weights: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Rename the weights of a ModernBERT of ``depth`` layers; a tensor without a counterpart keeps its name."""
    parts = [f"encoder.layers.{i}.{part}.weight" for i in range(depth) for part in _LAYER_NAMES]
    ours = {_their_name(name): name for name in (*_NAMES, *parts)}
    return {ours.get(name, name): tensor for name, tensor in weights.items() if name != _TIED}


def to_config(config: ModelConfig, tokenizer: KmerTokenizer, max_tokens: int) -> dict[str, Any]:
    """Return the ``config.json`` of a ``ModernBertForMaskedLM`` trained on windows of ``max_tokens`` at most.

    Rotary bases and layer types are written under the names of transformers 5 and under those of 4.48 to 4.57.
    """
    layer_types = [
        "full_attention" if i % config.global_every == 0 else "sliding_attention" for i in range(config.depth)
    ]
    thetas = {"full_attention": config.global_rope_theta, "sliding_attention": config.local_rope_theta}
    vocabulary = tokenizer.vocabulary
    return {
        "architectures": ["ModernBertForMaskedLM"],
        "model_type": "modernbert",
        "vocab_size": vocabulary.size,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "max_position_embeddings": max_tokens,
        "layer_types": layer_types,
        "global_attn_every_n_layers": config.global_every,
        "local_attention": config.local_tokens,
        "rope_parameters": {k: {"rope_type": "default", "rope_theta": v} for k, v in thetas.items()},
        "global_rope_theta": config.global_rope_theta,
        "local_rope_theta": config.local_rope_theta,
        **_WANTED,
        "attention_dropout": 0.0,
        "embedding_dropout": 0.0,
        "mlp_dropout": 0.0,
        "classifier_pooling": "mean",
        # a label [UNK], which collators draw where they are not told that an N is special, does not count in the loss:
        # it is never predicted, its logit being that of no real token. With labels, logits then have one row a label.
        "sparse_prediction": True,
        "sparse_pred_ignore_index": vocabulary.unk_id,
        "pad_token_id": vocabulary.pad_id,
        "sep_token_id": tokenizer.tokens().index("[SEP]"),
        "bos_token_id": None,
        "cls_token_id": None,
        "eos_token_id": None,
        "dtype": "float32",
    }


def from_config(content: Mapping[str, Any], where: str) -> ModelConfig:
    """Read the sizes in a ModernBERT ``config.json`` of any version; messages begin with ``where``.

    Raises
    ------
    RunError
        If the model is one with biases, another activation, or an irregular order of local and global layers.
    """
    for name, wanted in _WANTED.items():
        if content.get(name, wanted) != wanted:
            raise RunError(f"{where}: {name} must be {wanted}, got {content[name]}")
    try:
        depth, types = content["num_hidden_layers"], content.get("layer_types")
        every = content.get("global_attn_every_n_layers", 3)
        if types:  # the distance between the first two global layers; all layers if there is only one
            every = types.index("full_attention", 1) if "full_attention" in types[1:] else depth
        if types and [t == "full_attention" for t in types] != [i % every == 0 for i in range(depth)]:
            raise RunError(f"{where}: layer_types must have a full_attention layer first and every n-th, got {types}")
        rope = content.get("rope_parameters") or {}
        # what a file leaves out has ModernBERT's default
        return ModelConfig(
            backbone=_BACKBONE,
            width=content["hidden_size"],
            depth=depth,
            heads=content["num_attention_heads"],
            mlp_width=content["intermediate_size"],
            global_every=every,
            local_tokens=content.get("local_attention", 128),
            global_rope_theta=_theta(rope, "full_attention", content.get("global_rope_theta", 160_000.0)),
            local_rope_theta=_theta(rope, "sliding_attention", content.get("local_rope_theta", 10_000.0)),
        )
    except KeyError as error:
        raise RunError(f"{where}: {error.args[0]} is missing") from error


def _their_name(name: str) -> str:
    if not name.startswith("encoder.layers."):
        return _NAMES[name]
    _, _, index, part, _ = name.split(".")
    return f"model.layers.{index}.{_LAYER_NAMES[part]}.weight"


def _theta(rope: Mapping[str, Any], layer_type: str, default: float) -> float:
    return float((rope.get(layer_type) or {}).get("rope_theta", default))
