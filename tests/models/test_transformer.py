import pytest
import torch

from dnar2mae.config import ModelConfig
from dnar2mae.errors import ConfigError
from dnar2mae.models import MaskedModel
from dnar2mae.tokenizers import KmerTokenizer

SIZES = {"width": 32, "depth": 4, "heads": 2, "mlp_width": 48}
NAMES = {
    "embedder.embedding.weight": "model.embeddings.tok_embeddings.weight",
    "embedder.norm.weight": "model.embeddings.norm.weight",
    "encoder.final_norm.weight": "model.final_norm.weight",
    "head.dense.weight": "head.dense.weight",
    "head.norm.weight": "head.norm.weight",
    "head.bias": "decoder.bias",
}
LAYER_NAMES = {
    "attention_norm": "attn_norm",
    "qkv": "attn.Wqkv",
    "attention_out": "attn.Wo",
    "mlp_norm": "mlp_norm",
    "mlp_in": "mlp.Wi",
    "mlp_out": "mlp.Wo",
}


def random_model(**settings):
    model = MaskedModel.of_tokens(ModelConfig(**SIZES, **settings), KmerTokenizer(2).vocabulary)
    model.reset_parameters(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def modernbert_of(model):
    """The published implementation with our weights."""
    transformers = pytest.importorskip("transformers")
    config = model.config
    kinds = ["full_attention" if i % config.global_every == 0 else "sliding_attention" for i in range(config.depth)]
    theirs = transformers.ModernBertForMaskedLM(
        transformers.ModernBertConfig(
            vocab_size=model.embedder.vocabulary.size,
            hidden_size=config.width,
            intermediate_size=config.mlp_width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            layer_types=kinds,
            local_attention=config.local_tokens,
            rope_parameters={
                "full_attention": {"rope_type": "default", "rope_theta": config.global_rope_theta},
                "sliding_attention": {"rope_type": "default", "rope_theta": config.local_rope_theta},
            },
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
            cls_token_id=None,
            sep_token_id=3,
        )
    )
    weights = {}
    for name, value in model.state_dict().items():
        if name.startswith("encoder.layers."):
            _, _, index, part, _ = name.split(".")
            weights[f"model.layers.{index}.{LAYER_NAMES[part]}.weight"] = value
        else:
            weights[NAMES[name]] = value
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert set(missing) <= {"decoder.weight"}
    assert not unexpected
    return theirs.eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "settings",
    [{}, {"global_every": 3, "local_tokens": 16, "global_rope_theta": 160_000.0}],
    ids=["global", "local"],
)
def test_logits_equal_the_published_implementation(settings):
    model = random_model(**settings)
    theirs = modernbert_of(model)
    tokens = torch.randint(0, model.embedder.vocabulary.size, (3, 77))
    valid = torch.arange(77) < torch.tensor([[77], [60], [5]])
    ours = model.logits(model(tokens, valid))
    reference = theirs(input_ids=tokens, attention_mask=valid.long()).logits
    real = slice(4, 20)
    torch.testing.assert_close(ours[valid][:, real], reference[valid][:, real], atol=1e-5, rtol=1e-5)
    everything = theirs(input_ids=tokens).logits
    torch.testing.assert_close(model.logits(model(tokens)), everything, atol=2e-3, rtol=1e-5)


def test_local_layers_see_their_window_only():
    model = random_model(global_every=4, local_tokens=8)
    model.encoder.layers = model.encoder.layers[1:2]  # one local layer
    tokens = torch.randint(4, 20, (1, 40))
    changed = tokens.clone()
    changed[0, 20] = 4 + (tokens[0, 20] - 3) % 16
    moved = (model(tokens) - model(changed)).abs().sum(-1)[0] > 0
    assert moved.nonzero().flatten().tolist() == list(range(16, 25))


def test_gradient_checkpointing_changes_nothing():
    model = random_model()
    tokens = torch.randint(4, 20, (2, 30))
    grads = []
    for on in (False, True):
        model.encoder.gradient_checkpointing = on
        model.zero_grad()
        model(tokens).square().mean().backward()
        grads.append([p.grad.clone() for p in model.encoder.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_an_untrained_model_predicts_real_tokens_alike():
    model = MaskedModel.of_tokens(ModelConfig(**SIZES), KmerTokenizer().vocabulary)
    model.reset_parameters(torch.Generator().manual_seed(0))
    probabilities = model.logits(model(torch.randint(4, 8, (4, 50)))).softmax(-1)
    assert probabilities[..., :4].max() == 0
    assert (probabilities[..., 4:] - 0.25).abs().max() < 0.05


def test_embedding_table_is_normalised_once_for_all_tokens():
    model = random_model()
    tokens = torch.randint(0, 20, (2, 9))
    looked_up = torch.nn.functional.embedding(tokens, model.embedder.table())
    torch.testing.assert_close(looked_up, model.embedder.norm(model.embedder.embedding(tokens)))


def test_full_size_shapes_without_memory():
    from dnar2mae.presets import large

    with torch.device("meta"):
        model = MaskedModel.of_tokens(large().model, KmerTokenizer().vocabulary)
        assert model(torch.zeros(1, 64, dtype=torch.int64)).shape == (1, 64, 1024)
    assert 3.4e8 < sum(p.numel() for p in model.parameters()) < 3.8e8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"width": 100, "heads": 3},
            r"--model.width must be an even multiple of --model.heads \(3\), got 100",
        ),
        ({"depth": 0}, "--model.depth must be at least 1, got 0"),
        ({"local_tokens": 7}, "--model.local-tokens must be even, got 7"),
    ],
)
def test_bad_sizes(settings, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**settings)
