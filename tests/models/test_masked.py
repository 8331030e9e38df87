import dataclasses
from dataclasses import replace

import jaxtyping
import pytest
import torch
import torch.nn.functional as F

from dnar2mae.batch import Batch, Layout
from dnar2mae.config import MaskConfig, ModelConfig
from dnar2mae.errors import ConfigError
from dnar2mae.masking import Masker, corrupt
from dnar2mae.models import MaskedModel, head, transformer
from dnar2mae.models.attention import why_unavailable
from dnar2mae.models.backbone import build_encoder
from dnar2mae.models.cnn import ConvLayer
from dnar2mae.models.transformer import GeGlu, RotateQueriesAndKeys, rotary_angles
from dnar2mae.tokenizers import KmerTokenizer

SIZES = ModelConfig(width=32, depth=2, heads=2, mlp_width=48, decoder_width=16, global_every=2, local_tokens=8)


def make(objective="mlm", k=1, stride=None, **mask):
    tokenizer = KmerTokenizer(k, stride)
    model = MaskedModel.of_tokens(replace(SIZES, objective=objective), tokenizer.vocabulary)
    model.reset_parameters(torch.Generator().manual_seed(0))
    plan = Masker(MaskConfig(**mask), tokenizer.vocabulary, 0, 10).plan(0)
    first, count = tokenizer.vocabulary.first_real, tokenizer.vocabulary.num_real
    tokens = torch.randint(first, first + count, (4, 50))
    tokens[1, 7] = tokenizer.vocabulary.unk_id
    return model, plan, Batch(tokens, tokens >= first, torch.ones(4, 50), torch.arange(4))


def test_mlm_losses_are_the_cross_entropy_at_masked_positions():
    model, plan, batch = make()
    losses, index = model.masked_losses(plan, batch)
    inputs, predicted = corrupt(plan, batch.tokens, batch.maskable, batch.sample_ids)
    logits = model.logits(model(inputs))
    expected = F.cross_entropy(logits[predicted], batch.tokens[predicted], reduction="none")
    torch.testing.assert_close(losses, expected)
    assert torch.equal(index, predicted.flatten().nonzero().squeeze(1))


def test_the_head_sees_few_numbers_of_predictions(monkeypatch):
    model, _, batch = make()
    masker = Masker(MaskConfig(), model.embedder.vocabulary, 0, 50)
    sizes, real = set(), model.head.losses
    monkeypatch.setattr(model.head, "losses", lambda hidden, *rest: sizes.add(len(hidden)) or real(hidden, *rest))
    for step in range(50):
        model.masked_losses(masker.plan(step), batch)
    assert sizes == {128}


@pytest.mark.parametrize(("k", "stride"), [(1, None), (4, 2)])
def test_the_mae_encoder_never_sees_a_masked_token(k, stride):
    model, plan, batch = make("mae", k, stride, law="fixed", ratio=0.4)
    losses, index = model.masked_losses(plan, batch)
    assert len(index) > 10
    vocabulary = model.embedder.vocabulary
    first, count = vocabulary.first_real, vocabulary.num_real
    changed = batch.tokens.flatten().clone()
    changed[index] = first + (changed[index] - first + 1) % count
    seen = []
    for tokens in (batch.tokens, changed.view_as(batch.tokens)):
        hook = model.decoder.register_forward_hook(lambda module, args, out: seen.append(out))
        model.masked_losses(plan, dataclasses.replace(batch, tokens=tokens))
        hook.remove()
    if vocabulary.anchor_stride == 1:  # with overlap, hidden neighbours of the changed tokens differ too
        torch.testing.assert_close(seen[0], seen[1])
    losses.sum().backward()
    assert all(p.grad is not None for name, p in model.named_parameters())


def test_mae_masks_where_mlm_masks():
    mlm, plan, batch = make("mlm")
    mae, _, _ = make("mae")
    assert torch.equal(mlm.masked_losses(plan, batch)[1], mae.masked_losses(plan, batch)[1])


def test_padding_is_not_computed_and_changes_nothing():
    model, _, batch = make()
    tokens = batch.tokens
    valid = torch.arange(50) < torch.tensor([[50], [31], [1], [12]])
    hidden = model(tokens.where(valid, 0), valid)
    assert (hidden[~valid] == 0).all()
    for row, length in enumerate((50, 31, 1, 12)):
        torch.testing.assert_close(hidden[row, :length], model(tokens[row : row + 1, :length])[0])


def test_chunked_losses_equal_plain_ones(monkeypatch):
    hidden = torch.randn(37, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 8, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(11, dtype=torch.float64, requires_grad=True)
    labels, upstream = torch.randint(11, (37,)), torch.randn(37)

    def both():
        losses = head.token_losses(hidden, weight, bias, labels)
        return [losses, *torch.autograd.grad((losses * upstream).sum(), (hidden, weight, bias))]

    plain = both()
    monkeypatch.setattr(head, "_CHUNK_LOGITS", 50)
    for a, b in zip(plain, both(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_rotation_keeps_lengths_and_has_the_right_gradient():
    qkv = torch.randn(2, 6, 3, 2, 8, dtype=torch.float64, requires_grad=True)
    cos, sin = (x.double() for x in rotary_angles(6, 8, 100.0, torch.device("cpu")))
    query, key, value = RotateQueriesAndKeys.apply(qkv, cos, sin)
    torch.testing.assert_close(query.norm(dim=-1), qkv[:, :, 0].norm(dim=-1))
    torch.testing.assert_close(value, qkv[:, :, 2])
    alike = qkv.detach().clone()
    alike[:] = alike[:, :1]  # one vector at every position: a score depends on the distance alone
    query, key, _ = RotateQueriesAndKeys.apply(alike, cos, sin)
    torch.testing.assert_close((query[:, 0] * key[:, 2]).sum(-1), (query[:, 3] * key[:, 5]).sum(-1))
    for angles in ((cos, sin), (torch.complex(cos, sin),)):
        assert torch.autograd.gradcheck(lambda x, a=angles: RotateQueriesAndKeys.apply(x, *a), (qkv,))
        strided = torch.randn(2, 3, 2, 8, 6, dtype=torch.float64, requires_grad=True)  # of a last axis that is not
        assert torch.autograd.gradcheck(lambda x, a=angles: RotateQueriesAndKeys.apply(x.movedim(-1, 1), *a), strided)


def test_rotation_by_a_complex_product_is_the_same_model():
    model = MaskedModel.of_tokens(SIZES, KmerTokenizer(1).vocabulary)
    model.reset_parameters(torch.Generator().manual_seed(0))
    layer, x = model.encoder.layers[1], torch.randn(2, 40, SIZES.width)
    _, nearby = model.encoder.scopes(x, None)
    assert nearby.turns is not None
    results = []
    for scope in (nearby, nearby._replace(turns=None)):
        query, key, value = layer.rotated(x, scope)
        out = layer(x, scope, None, "sdpa")
        grads = torch.autograd.grad(out.square().sum(), list(layer.parameters()))
        results.append([torch.einsum("bqhk,bthk->bhqt", query, key), value, out, *grads])
    for by_product, by_halves in zip(*results, strict=True):
        torch.testing.assert_close(by_product, by_halves, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_numbers_rotate_by_halves(dtype):
    model = MaskedModel.of_tokens(SIZES, KmerTokenizer(1).vocabulary)
    assert model.encoder.scopes(torch.zeros(1, 4, SIZES.width, dtype=dtype), None)[0].turns is None
    with torch.autocast("cpu", torch.bfloat16):
        assert model.encoder.scopes(torch.zeros(1, 4, SIZES.width), None)[0].turns is None


def test_geglu_has_the_right_value_and_gradient():
    joint = torch.randn(3, 5, 8, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(GeGlu.apply(joint), torch.nn.functional.gelu(joint[..., :4]) * joint[..., 4:])
    assert torch.autograd.gradcheck(GeGlu.apply, (joint,))


@pytest.mark.filterwarnings("ignore:The .grad attribute", "ignore:.*should not be instantiated")  # by the compiler
def test_encoder_compiles_whole(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the compiler cannot trace the checks
    model, _, batch = make()
    tokens = batch.tokens
    plain = model(tokens)
    model.encoder.compile(fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(model(tokens), plain)


@pytest.mark.parametrize("settings", [{"objective": "gan"}, {"decoder_width": 7}, {"decoder_depth": 0}])
def test_bad_objectives(settings, any_type):
    with pytest.raises(ConfigError, match="--model.(objective|decoder)"):
        replace(SIZES, **settings)


def loss_trajectory(objective, dtype, *, prepare=lambda model: None, steps=100, device="cpu"):
    torch.manual_seed(1)
    model, _, batch = make(objective)
    batch = batch.to(torch.device(device))
    model.to(device)
    prepare(model)
    masker = Masker(MaskConfig(), model.embedder.vocabulary, 0, steps)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for step in range(steps):
        with torch.autocast(device, torch.bfloat16, enabled=dtype is torch.bfloat16):
            shifted = dataclasses.replace(batch, sample_ids=batch.sample_ids + 4 * step)
            loss = model.masked_losses(masker.plan(step), shifted)[0].mean()
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return torch.tensor(losses)


def masked_softmax(query, key, value, *, packing, window, backend):
    """Dense attention as autograd would have it, the window as a mask."""
    assert packing is None
    scores = torch.einsum("bthk,bshk->bhts", query, key) * query.shape[-1] ** -0.5
    if window is not None:
        place = torch.arange(query.shape[1])
        scores = scores.masked_fill((place[:, None] - place).abs() > window, -torch.inf)
    return torch.einsum("bhts,bshk->bthk", scores.softmax(-1), value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_hundred_steps_go_the_same_way_whatever_computes_attention(dtype, monkeypatch):
    fast = loss_trajectory("mlm", dtype)
    monkeypatch.setattr(transformer, "attention", masked_softmax)
    plain = loss_trajectory("mlm", dtype)
    assert fast[-20:].mean() < fast[:20].mean() - 0.02
    tolerance = 1e-4 if dtype is torch.float32 else 2e-2
    torch.testing.assert_close(fast, plain, atol=tolerance, rtol=0)


@pytest.mark.filterwarnings("ignore:The .grad attribute", "ignore:.*should not be instantiated")  # by the compiler
def test_a_hundred_steps_go_the_same_way_compiled(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    plain = loss_trajectory("mlm", torch.float32)
    compiled = loss_trajectory("mlm", torch.float32, prepare=lambda m: m.encoder.compile(backend="aot_eager"))
    torch.testing.assert_close(compiled, plain, atol=1e-4, rtol=0)


@pytest.mark.long
@pytest.mark.parametrize("objective", ["mlm", "mae"])
def test_fifty_steps_go_the_same_way_with_the_kernels(objective):
    plain = loss_trajectory(objective, torch.float32, steps=50)
    fused = loss_trajectory(
        objective, torch.float32, steps=50, prepare=lambda m: setattr(m.embedder, "kernels", "triton")
    )
    torch.testing.assert_close(fused, plain, atol=1e-5, rtol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("objective", ["mlm", "mae"])
@pytest.mark.parametrize("backend", ["flash_attn", "varlen"])
def test_a_hundred_steps_go_the_same_way_on_every_gpu_backend(backend, objective):
    if reason := why_unavailable(backend, torch.device("cuda"), torch.bfloat16):
        pytest.skip(reason)
    runs = [
        loss_trajectory(
            objective,
            torch.bfloat16,
            prepare=lambda m, name=name: [setattr(x, "backend", name) for x in m.modules() if hasattr(x, "backend")],
            device="cuda",
        )
        for name in ("sdpa", backend)
    ]
    torch.testing.assert_close(runs[1], runs[0], atol=3e-2, rtol=0)


def test_the_decoder_begins_by_its_own_width_and_depth():
    wide = replace(SIZES, width=512, depth=8, heads=8, objective="mae", decoder_width=64, decoder_depth=2)
    model = MaskedModel.of_tokens(wide, KmerTokenizer(1).vocabulary)
    model.reset_parameters(torch.Generator().manual_seed(0))
    own, encoder = 0.02 * (768 / 64) ** 0.5, 0.02 * (768 / 512) ** 0.5
    layer = model.decoder.layers.layers[1]
    for weight, sd in [
        (layer.qkv.weight, own),
        (layer.attention_out.weight, own / 4**0.5),
        (layer.mlp_out.weight, own / 4**0.5),
        (model.decoder.project_out.weight, own),
        (model.decoder.project_in.weight, encoder),
        (model.encoder.layers[1].mlp_out.weight, encoder / 16**0.5),
    ]:
        assert weight.std().item() == pytest.approx(sd, rel=0.05)


def test_convolutions_leave_the_size_of_the_stream_alone():
    sizes = ModelConfig(backbone="cnn", width=128, depth=6, mlp_width=192)
    model = MaskedModel.of_tokens(sizes, KmerTokenizer(1).vocabulary)
    model.reset_parameters(torch.Generator().manual_seed(0))
    streams = []
    model.encoder.final_norm.register_forward_pre_hook(lambda _, inputs: streams.append(inputs[0]))
    model.encoder.encode(torch.randn(2, 200, 128), None)
    assert streams[0].square().mean().sqrt() < 2  # 4 without residual scaling


@pytest.mark.parametrize(
    "settings", [{}, {"backbone": "cnn"}, {"backbone": "hybrid"}, {"backbone": "mlp"}, {"objective": "mae"}]
)
def test_every_layer_is_recomputed_under_gradient_checkpointing(settings, monkeypatch):
    recomputed = []
    plain = transformer.checkpoint
    monkeypatch.setattr(
        transformer, "checkpoint", lambda layer, *rest, **how: (recomputed.append(layer), plain(layer, *rest, **how))[1]
    )
    grads = []
    for gradient_checkpointing in (False, True):
        model = MaskedModel.of_tokens(
            replace(SIZES, **settings),
            KmerTokenizer(1).vocabulary,
            Layout(axes=(50,), tokens=50),
            gradient_checkpointing=gradient_checkpointing,
        )
        model.reset_parameters(torch.Generator().manual_seed(0))
        _, plan, batch = make()
        torch.manual_seed(0)
        batch = replace(batch, tokens=batch.tokens * 0 + 5, maskable=torch.ones_like(batch.maskable))
        losses, _ = model.masked_losses(plan, batch)
        losses.sum().backward()
        grads.append([p.grad for p in model.parameters() if p.grad is not None])
    layers = {id(layer) for layer in recomputed}
    expected = [*model.encoder.layers, *(model.decoder.layers.layers if model.decoder else [])]
    assert layers == {id(layer) for layer in expected}
    torch.testing.assert_close(grads[0], grads[1])


def test_the_vector_of_a_grid_says_where_the_largest_values_are():
    encoder = build_encoder(replace(SIZES, backbone="cnn", depth=1), Layout(axes=(6, 6), tokens=36))
    encoder.encode = lambda x, documents: x
    x = torch.zeros(1, 36, 4)
    x[0, 5, 2] = 7.0  # in the upper right part, the third of nine
    pooled = encoder.pooled(x, None, torch.ones(1, 36, dtype=torch.bool))
    assert pooled.shape == (1, 36)
    assert pooled.nonzero().tolist() == [[0, 2 * 9 + 2]]
    along = build_encoder(replace(SIZES, backbone="cnn", depth=1), Layout(axes=(36,), tokens=36))
    along.encode = encoder.encode
    torch.testing.assert_close(along.pooled(x, None, torch.ones(1, 36, dtype=torch.bool)), x.mean(1))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("length", "index", "kernel"), [(50, 0, None), (50, 3, None), (7, 5, 3), (1, 1, None)])
def test_a_convolution_in_each_way_is_torchs(length, index, kernel, groups):
    layer = ConvLayer(replace(SIZES, conv_kernel=kernel, conv_groups=groups), index, num_axes=1)

    def at_all_rows(x):
        return layer.convolved(x, torch.arange(3 * length)).view(x.shape)

    results = []
    for compute in (layer.everywhere, at_all_rows, lambda x: layer.conv(x.movedim(-1, 1)).movedim(1, -1)):
        x = torch.randn(3, length, SIZES.width, generator=torch.Generator().manual_seed(0), requires_grad=True)
        out = compute(x)
        results.append([out, *torch.autograd.grad(out.square().sum(), [x, layer.conv.weight])])
    for picture, rows, plain in zip(*results, strict=True):
        torch.testing.assert_close(picture, plain, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(rows, plain, atol=1e-5, rtol=1e-4)
