"""Losses of predicted expression, and the trivial predictions that a model is compared with."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dnar2mae.modalities.cell.store import PER_CELL

Loss = Callable[[Tensor, Tensor], Tensor]
_LOG_RATE, _LOG_SHAPE = (-20.0, 12.0), (-6.0, 6.0)  # clamped, so that exponentials and their gradients stay finite


def squared_error(predicted: Float[Tensor, "M Q"], values: Float[Tensor, "M P"]) -> Float[Tensor, " M"]:
    """Return the squared difference of normalised values."""
    return (predicted[:, 0] - values[:, 0]).square()


def poisson(predicted: Float[Tensor, "M Q"], values: Float[Tensor, "M P"]) -> Float[Tensor, " M"]:
    r"""Return :math:`\mu - c \log\mu + \log c!` with :math:`\mu = e^{q_0} L / 10^4`, for a count c and its total L."""
    count, log_mean = values[:, 0], _log_mean(predicted, values)
    return log_mean.exp() - count * log_mean + torch.lgamma(count + 1)


def negative_binomial(predicted: Float[Tensor, "M Q"], values: Float[Tensor, "M P"]) -> Float[Tensor, " M"]:
    r"""Return the negative log-likelihood of a count with mean :math:`\mu` and variance :math:`\mu + \mu^2/\theta`.

    .. math:: \mu = e^{q_0} L / 10^4, \quad \theta = e^{q_1}, \quad
       -\log\Gamma(c + \theta) + \log\Gamma(\theta) + \log c!
       + \theta \log\frac{\theta + \mu}{\theta} + c \log\frac{\theta + \mu}{\mu}
    """
    count, log_mean = values[:, 0], _log_mean(predicted, values)
    log_shape = predicted[:, 1].clamp(*_LOG_SHAPE)
    shape = log_shape.exp()
    # softplus(log mu - log theta) = log((theta + mu) / theta), without the overflow of the exponentials
    constant = torch.lgamma(shape) + torch.lgamma(count + 1) - torch.lgamma(count + shape)
    difference = log_mean - log_shape
    return constant + shape * F.softplus(difference) + count * F.softplus(-difference)


def _log_mean(predicted: Float[Tensor, "M Q"], values: Float[Tensor, "M P"]) -> Float[Tensor, " M"]:
    return predicted[:, 0].clamp(*_LOG_RATE) + (values[:, 1].clamp(min=1) / PER_CELL).log()


LOSSES: dict[str, tuple[Loss, int]] = {
    "squared_error": (squared_error, 1),
    "poisson": (poisson, 1),
    "negative_binomial": (negative_binomial, 2),
}
"""Each loss, and how many numbers it needs per prediction."""


class GeneMeans:
    """Running sums of each gene's training values, for predictions from the gene alone.

    Parameters
    ----------
    num_genes
        G.
    """

    def __init__(self, num_genes: int) -> None:
        self.sums = torch.zeros(6, num_genes, dtype=torch.float64)

    def add(self, gene: Int[Tensor, " M"], values: Float[Tensor, "M P"]) -> None:
        """Add values to the sums."""
        value, library = values[:, 0].double(), values[:, -1].double() / PER_CELL
        terms = (torch.ones_like(value), value, value**2, library, library**2, value * library)
        self.sums.index_add_(1, gene, torch.stack(terms))

    def predictions(self, loss: str) -> dict[str, Float[Tensor, "G Q"]]:
        """Return the predictions for each gene, by name.

        For a squared error these are its mean, and zero. For a likelihood: its share of all counts, with the shape
        that fits the variance by moments; and one share for all genes.
        """
        count, total = self.sums[:2]
        if loss == "squared_error":
            mean = (total / count.clamp(min=1))[:, None].float()
            return {"mean expression": mean, "zero": torch.zeros_like(mean)}
        pooled = _rate_and_shape(self.sums.sum(1, keepdim=True))
        return {
            "mean expression": _rate_and_shape(self.sums),
            "one rate for all genes": pooled.expand(len(total), -1),
        }


def _rate_and_shape(sums: Float[Tensor, "6 G"]) -> Float[Tensor, "G 2"]:
    """Return the logarithms of the share, in counts per 10,000, and of the shape, by moments."""
    _, total, squares, library, library_squares, cross = sums
    rate = (total / library.clamp(min=1e-9)).clamp(min=math.exp(_LOG_RATE[0]))
    above_poisson = squares - 2 * rate * cross + rate**2 * library_squares - rate * library
    # var = mu + mu^2 / theta: what exceeds a Poisson variance determines theta
    inverse_shape = (above_poisson / (rate**2 * library_squares).clamp(min=1e-12)).clamp(min=math.exp(-_LOG_SHAPE[1]))
    return torch.stack([rate.log(), -inverse_shape.log()], -1).float()
