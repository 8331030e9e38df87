"""R2MAE masking: how much is masked (laws), what is masked and what the encoder sees instead (draw)."""

from dnar2mae.masking.draw import Masker, MaskPlan, corrupt, draw_ratio, fixed_masks, prediction_capacity
from dnar2mae.masking.laws import RatioLaw, ratio_law

__all__ = ["MaskPlan", "Masker", "RatioLaw", "corrupt", "draw_ratio", "fixed_masks", "prediction_capacity", "ratio_law"]
