"""Embeddings of samples of any kind of data, by a run's model."""

import numpy as np
import torch
from jaxtyping import Float

from dnar2mae.batch import FiniteSource
from dnar2mae.models import MaskedModel
from dnar2mae.storage.progress import progress_bar


@torch.inference_mode()
def embed_samples(
    model: MaskedModel, source: FiniteSource, *, batch_tokens: int | None = None, progress: bool = False
) -> Float[np.ndarray, "N W"]:
    """Return the vector of each sample, as :meth:`dnar2mae.models.MaskedModel.pooled` makes it.

    Parameters
    ----------
    model
        Of a run on the same kind of data.
    source
        The samples.
    batch_tokens
        Tokens encoded at once; by default 8,192 on a CPU, else 65,536.
    progress
        Show a progress bar on a terminal.

    Returns
    -------
    float32 [N, W]
        In the order of the source; NaN for a sample without a real token.
    """
    device = next(model.parameters()).device
    size = max((batch_tokens or (8192 if device.type == "cpu" else 65_536)) // max(model.layout.tokens, 1), 1)
    rows = []
    with progress_bar("embedding", len(source), show=progress) as update:
        for start in range(0, len(source), size):
            batch = source.batch(np.arange(start, min(start + size, len(source)))).to(device)
            vectors = model.pooled(batch)
            vectors[~batch.maskable.any(1)] = torch.nan
            rows.append(vectors.cpu().numpy())
            update(start + len(batch.tokens))
    return np.concatenate(rows)
