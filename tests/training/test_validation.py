import numpy as np
import pytest

from dnar2mae.distributed import Ranks
from dnar2mae.modalities.registry import build_modality
from dnar2mae.training import validation
from dnar2mae.training.validation import _batches
from tests.modalities.kinds import KINDS


@pytest.mark.parametrize("num_samples", [1, 3, 10, 14])
@pytest.mark.parametrize("tokens", [8, 8192], ids=["one by one", "at once"])
def test_ranks_share_held_out_cells_without_copies(tmp_path, num_samples, tokens, monkeypatch):
    source = build_modality(KINDS["cell genes"](tmp_path)).validation
    monkeypatch.setattr(validation, "_BATCH_TOKENS", tokens)
    ids = np.arange(num_samples)
    shares = [list(_batches(source, ids, Ranks(rank, 4))) for rank in range(4)]
    assert len({len(share) for share in shares}) == 1  # the same number of collectives
    for share in shares:
        for part, _ in share:
            assert len(source.batch(part).tokens) == len(part) == len(set(part.tolist()))
    counted = [number for share in shares for part, counts in share if counts for number in part.tolist()]
    assert counted == ids.tolist()
