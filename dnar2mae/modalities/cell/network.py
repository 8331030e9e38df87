"""The network that turns expression values into vectors."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from dnar2mae.modalities.cell.store import PER_CELL


class ValueNetwork(nn.Module):
    r"""A linear and a nonlinear function of the value, the same for all genes.

    .. math:: W_1 x + W_2\, \mathrm{gelu}(W_1 x), \quad x = v \text{ or } \log(1 + 10^4 c / L)

    Parameters
    ----------
    width
        D.
    is_counts
        Values are counts c with their cell's total L; else they are normalised.
    """

    def __init__(self, width: int, *, is_counts: bool) -> None:
        super().__init__()
        self.is_counts = is_counts
        self.line = nn.Linear(1, width)
        self.curve = nn.Linear(width, width, bias=False)

    def forward(self, values: Float[Tensor, "B T P"]) -> Float[Tensor, "B T D"]:
        """Return a vector per value."""
        x = values[..., :1]
        if self.is_counts:
            x = (x * PER_CELL / values[..., 1:].clamp(min=1)).log1p()
        line = self.line(x)
        return line + self.curve(gelu(line))
