r"""What a track shows of the distribution :math:`p` that a model predicts of a base :math:`r` of the genome.

.. math::
    H = -\sum_b p_b \log_2 p_b, \qquad
    \text{constraint} = \frac{1}{3} \sum_{b \ne r} \log_2 \frac{p_r}{p_b}

The constraint is the expected log-likelihood ratio over the three substitutions: above 0 the base is one that the
context asks for, below 0 one that it does not.
"""

import numpy as np
from jaxtyping import Float32, UInt8

from dnar2mae.genome.alphabet import UNKNOWN
from dnar2mae.tracks.options import What
from dnar2mae.tracks.predictions import LogProbabilities


def quantity(what: What, log_p: LogProbabilities, codes: UInt8[np.ndarray, " L"]) -> Float32[np.ndarray, " L"]:
    """Return a quantity of each base; NaN where ``log_p`` is.

    Parameters
    ----------
    what
        Which one; entropy and constraint are in bits.
    log_p
        Log-probabilities, nats.
    codes
        The genome's bases, without the soft-mask bit.
    """
    if what == "entropy":
        return -(np.exp(log_p) * log_p).sum(1) / np.float32(np.log(2))
    # an unknown base has no probability: whatever is taken here is NaN
    of_base = np.take_along_axis(log_p, np.minimum(codes, UNKNOWN - 1).astype(np.int64)[:, None], axis=1)[:, 0]
    if what == "reference-probability":
        return np.exp(of_base)
    return (of_base - (log_p.sum(1) - of_base) / 3) / np.float32(np.log(2))
