"""Mean and maximum of parts of a sequence, where all samples count the same tokens and where they do not."""

import numpy as np
import pytest
import torch

from dnar2mae.models.pooling import mean_and_max_of_parts


def by_hand(hidden, counts, number):
    """For each sample and part, in numpy."""
    rows = []
    for x, is_counted in zip(hidden.numpy(), counts.numpy(), strict=True):
        counted = x[is_counted]
        part = np.arange(len(counted)) * number // max(len(counted), 1)
        parts = [counted[part == i] for i in range(number)]
        rows.append(np.concatenate([f(p, 0) if len(p) else 0 * x[0] for p in parts for f in (np.mean, np.max)]))
    return torch.from_numpy(np.stack(rows))


@pytest.mark.parametrize("number", [4, 8])
@pytest.mark.parametrize("length", [1, 3, 8, 50])
@pytest.mark.parametrize("which", ["all", "the same", "other", "none"])
def test_parts_are_those_of_the_tokens_that_count(length, number, which):
    generator = torch.Generator().manual_seed(length)
    hidden = torch.randn(5, length, 6, generator=generator) - 3
    some = torch.rand(5, length, generator=generator) < 0.6
    counts = {"all": some | True, "the same": some[:1].repeat(5, 1), "other": some, "none": some & False}[which]
    torch.testing.assert_close(mean_and_max_of_parts(hidden, counts, number), by_hand(hidden, counts, number))
