"""Masks, corrupted ids and ratios are the same bits in Triton as in the definition."""

from typing import no_type_check

import pytest
import torch
import triton
import triton.language as tl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnar2mae.kernels.mask_draw import VARYING, draw_arguments, mask_limit, pack
from dnar2mae.kernels.masked_embedding import masked_embedding
from dnar2mae.kernels.masked_embedding.triton import corrupted_ids
from dnar2mae.kernels.visible_gather.triton import visible_rank
from dnar2mae.masking import corrupt
from dnar2mae.masking.draw import draw_threshold, hidden_tokens
from tests.kernels.cases import SPECIAL, make_batch, make_plan

pytestmark = pytest.mark.long

LAWS = ["uniform", "fixed", "choice", "linear", "cosine"]
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        0x299F31D0A4093822,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@triton.jit
@no_type_check
def _philox_kernel(seed, counter, words):
    word = tl.arange(0, 1)
    c0 = tl.load(counter + word).to(tl.uint32)
    c1 = tl.load(counter + 1 + word).to(tl.uint32)
    c2 = tl.load(counter + 2 + word).to(tl.uint32)
    c3 = tl.load(counter + 3 + word).to(tl.uint32)
    c0, c1, c2, c3 = tl.philox(tl.load(seed), c0, c1, c2, c3)
    tl.store(words + word, c0.to(tl.int64))
    tl.store(words + 1 + word, c1.to(tl.int64))
    tl.store(words + 2 + word, c2.to(tl.int64))
    tl.store(words + 3 + word, c3.to(tl.int64))


@triton.jit(do_not_specialize=VARYING)
@no_type_check
def _limit_kernel(sample_ids, limits, seed, low, span, table, NUM_INTERVALS: tl.constexpr):
    sample = tl.load(sample_ids + tl.program_id(0))
    limit = mask_limit(sample, seed, low, span, table, NUM_INTERVALS)
    tl.store(limits + tl.program_id(0), limit)


def limits(plan, sample_ids):
    out = torch.empty_like(sample_ids)
    arguments = draw_arguments(pack(plan), sample_ids.device)
    del arguments["ANCHOR_STRIDE"]
    _limit_kernel[(len(out),)](sample_ids, out, **arguments)
    return out


@pytest.mark.parametrize(("counter", "seed", "words"), KNOWN_ANSWERS)
def test_philox_known_answers(counter, seed, words, device):
    seed = torch.tensor([seed - 2**64 if seed >= 2**63 else seed], device=device)
    out = torch.zeros(4, dtype=torch.int64, device=device)
    _philox_kernel[(1,)](seed, torch.tensor(counter, device=device), out)
    assert out.tolist() == list(words)


@st.composite
def cases(draw):
    ratio = st.floats(1e-6, 1 - 1e-6)
    low, high = sorted([draw(ratio), draw(ratio)])
    to_mask = draw(st.sampled_from([0.0, 0.8, 1.0]) | st.floats(0, 1))
    to_random = draw(st.floats(0, 1)) * (1 - to_mask)
    num_real = draw(st.sampled_from([1, 5, 4096]))
    plan = {
        "law": draw(st.sampled_from(LAWS)),
        "per": draw(st.sampled_from(["batch", "sample"])),
        "replace": (to_mask, to_random, 1 - to_mask - to_random),
        "low": low,
        "high": high,
        "ratio": high,
        "ratios": tuple(draw(st.lists(ratio, min_size=1, max_size=5))),
        "anchor_stride": draw(st.just(1) | st.integers(2, 8)),
        "num_real": num_real,
        "seed": draw(st.integers(0, 2**63 - 1)),
        "step": draw(st.integers(0, 2**40)),
    }
    size = draw(st.sampled_from([(1, 1), (1, 140), (2, 63)]) | st.tuples(st.just(1), st.integers(1, 128)))
    batch = {
        "num_real": num_real,
        "dtype": draw(st.sampled_from([torch.int16, torch.int32, torch.int64])),
        "seed": draw(st.integers(0, 2**31)),
    }
    return plan, size, batch


def many(examples):
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=quiet)


@many(200)
@given(case=cases())
def test_ratios_ids_and_masks_are_bit_equal_to_the_definition(device, case):
    plan, size, batch = case
    plan, num_real = make_plan(**plan), batch["num_real"]
    tokens, _, maskable, sample_ids = make_batch(*size, **batch, device=device)
    assert torch.equal(limits(plan, sample_ids), draw_threshold(plan, sample_ids))
    inputs, predicted = corrupt(plan, tokens, maskable, sample_ids)
    identity = torch.arange(SPECIAL + num_real, dtype=torch.float64, device=device)[:, None]
    embedded, asked = masked_embedding(identity, tokens, maskable, sample_ids, plan, backend="triton")
    assert torch.equal(embedded[..., 0], inputs.double())
    assert torch.equal(asked, predicted)


@many(40)
@given(case=cases())
def test_visible_tokens_are_bit_equal_to_the_definition(device, case):
    plan, size, batch = case
    plan = make_plan(**plan)
    tokens, valid, maskable, sample_ids = make_batch(*size, **batch, device=device)
    hidden, predicted = hidden_tokens(plan, tokens, maskable, sample_ids)
    rank, asked, lengths = visible_rank(valid, maskable, sample_ids, pack(plan))
    assert torch.equal(rank >= 0, valid & ~hidden)
    assert torch.equal(asked, predicted)
    assert torch.equal(lengths, (valid & ~hidden).sum(1).int())


@pytest.mark.parametrize("anchor_stride", [1, 3])
@pytest.mark.parametrize("per", ["batch", "sample"])
def test_same_whatever_the_batch_split(anchor_stride, per, device):
    plan = make_plan(anchor_stride=anchor_stride, per=per)
    tokens, _, maskable, sample_ids = make_batch(4, 70, device=device)
    whole = corrupted_ids(tokens, maskable, sample_ids, pack(plan))
    for rows in (slice(0, 1), slice(1, 4), torch.tensor([3, 0])):
        part = corrupted_ids(tokens[rows], maskable[rows], sample_ids[rows], pack(plan))
        assert torch.equal(part, whole[rows])


def test_evaluation_plan_always_shows_the_mask_token(device):
    plan = make_plan().at_ratio(0.3, seed=2**40)
    tokens, _, maskable, sample_ids = make_batch(4, 300, device=device)
    inputs, predicted = corrupt(plan, tokens, maskable, sample_ids)
    shown = corrupted_ids(tokens, maskable, sample_ids, pack(plan))
    assert torch.equal(shown, inputs.int())
    assert torch.equal(shown == plan.mask_id, predicted)
