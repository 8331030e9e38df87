"""R2MAE masking: what is masked and what the encoder sees instead (draw); how much is a matter of ``mask_laws``."""

from dnar2mae.masking.draw import Masker, MaskPlan, corrupt, draw_ratio, fixed_masks, prediction_capacity

__all__ = ["MaskPlan", "Masker", "corrupt", "draw_ratio", "fixed_masks", "prediction_capacity"]
