"""The laboratory: the same model pretrained on the same windows under several mask laws, and compared."""

from dnar2mae.laboratory.compare import LawComparison, compare
from dnar2mae.laboratory.laws import Law, parse_mask, with_controls
from dnar2mae.laboratory.plan import CompareOptions, LabelledVariants

__all__ = ["LawComparison", "Law", "CompareOptions", "LabelledVariants", "compare", "parse_mask", "with_controls"]
