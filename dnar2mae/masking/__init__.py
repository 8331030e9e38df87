"""R2MAE masking: what is masked and what the encoder sees instead (draw), before its step (ahead).

``mask_laws`` defines how much is masked.
"""

from dnar2mae.masking.ahead import draw_masks
from dnar2mae.masking.draw import (
    Masker,
    MaskPlan,
    corrupt,
    draw_ratio,
    fixed_masks,
    mean_drawn_ratio,
    plans_of_bound,
)

__all__ = [
    "MaskPlan",
    "Masker",
    "corrupt",
    "draw_masks",
    "draw_ratio",
    "fixed_masks",
    "mean_drawn_ratio",
    "plans_of_bound",
]
