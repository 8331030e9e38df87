"""Fifty steps with the kernels and without give the same losses."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dnar2mae.kernels.masked_embedding import masked_embedding
from dnar2mae.kernels.visible_gather import visible_gather
from tests.kernels.cases import make_batch, make_plan, make_weight

STEPS, BATCH, LENGTH, WIDTH, REAL = 50, 2, 48, 16, 5


class Tiny(nn.Module):
    """Masked embedding, a convolution over neighbours, tied output; and a loss on the visible tokens."""

    def __init__(self, backend):
        super().__init__()
        self.backend = backend
        self.weight = nn.Parameter(make_weight(REAL, WIDTH).detach())
        self.mix = nn.Conv1d(WIDTH, WIDTH, 5, padding=2)

    def forward(self, batch, plan):
        tokens, valid, maskable, sample_ids = batch
        weight = F.layer_norm(self.weight, (WIDTH,))
        embedded, predicted = masked_embedding(weight, tokens, maskable, sample_ids, plan, backend=self.backend)
        mixed = F.gelu(self.mix(embedded.transpose(1, 2))).transpose(1, 2)
        loss = F.cross_entropy((mixed @ weight.T)[predicted], tokens[predicted], reduction="sum")
        visible = visible_gather(weight, tokens, valid, maskable, sample_ids, plan, backend=self.backend)
        return loss / predicted.sum().clamp(min=1) + visible.embedded.tanh().square().mean()


def losses(backend, device):
    torch.manual_seed(0)
    model = Tiny(backend).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    out = []
    for step in range(STEPS):
        batch = make_batch(BATCH, LENGTH, num_real=REAL, device=device, seed=step)
        loss = model(batch, make_plan(step=step, per="batch"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        out.append(loss.item())
    return torch.tensor(out)


@pytest.mark.long
def test_fifty_steps_with_and_without_kernels(device):
    plain, fused = losses("reference", device), losses("triton", device)
    assert plain[-10:].mean() < plain[:10].mean()
    torch.testing.assert_close(fused, plain, rtol=0, atol=1e-5)
