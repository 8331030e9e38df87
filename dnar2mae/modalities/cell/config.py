"""Settings of runs on single cells; no torch here, so that ``--help`` stays quick."""

from dataclasses import dataclass
from typing import Literal

from dnar2mae.config import Positional, Settings
from dnar2mae.errors import require, require_choices, require_ranges


@dataclass(frozen=True, kw_only=True, slots=True)
class CellConfig(Settings):
    """Settings of reading cells and turning them into samples."""

    paths: Positional[tuple[str, ...]] = ()
    """AnnData .h5ad files, 10x .h5 files, and 10x folders with matrix.mtx, barcodes.tsv, features.tsv (or .gz)."""
    layer: str = "X"
    """h5ad: the matrix to read: X, raw, or the name of a layer, as counts."""
    gene_names: str | None = None
    """Column that names genes: h5ad: of var, by default its index; 10x: gene_symbols (default) or gene_ids."""
    genes: str = "union"
    """Vocabulary: union or intersection of the files' genes, or a text file with one gene a line."""
    num_genes: int = 2000
    """Most genes; where there are more, those whose log1p_cp10k varies most among the training cells."""
    normalisation: Literal["log1p_cp10k", "scaled", "counts", "none"] = "scaled"
    """scaled: log(1 + counts per 10,000), then each gene to mean 0 and standard deviation 1 over the training cells, at
    most 10, as scanpy's pp.scale; log1p_cp10k: the first step alone; counts: a likelihood; none: the file's values."""
    likelihood: Literal["negative_binomial", "poisson"] = "negative_binomial"
    """counts: distribution of a count, whose mean is a predicted share of the cell's total."""
    encoding: Literal["genes", "whole"] = "genes"
    """genes: a set of gene tokens, expressed ones and some zeros (transformer); whole: every gene in one order."""
    num_tokens: int = 512
    """genes: most tokens of a cell; the highest values first."""
    zero_share: float = 0.25
    """genes: share of a cell's tokens that are genes without a count, drawn at random, in [0, 1)."""
    validation_share: float = 0.1
    """Share of cells held out, drawn by their index, in (0, 0.5]."""
    validation_column: str | None = None
    """h5ad: column of obs (donor, batch) by which cells are held out instead."""
    validation_values: tuple[str, ...] = ()
    """Values of that column that are held out."""
    memory_mb: int = 1024
    """Larger matrices are read from disk when needed. Changes memory and speed, not results."""
    block_cells: int = 64
    """Consecutive cells that are read at once: their order in the file should not be the order of training."""
    buffer_cells: int = 4096
    """Cells held in memory and shuffled, from blocks in random order."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_choices(self, "data.")
        ranges = {"at least 1": ["num_genes", "num_tokens", "block_cells", "buffer_cells"], "at least 0": ["memory_mb"]}
        ranges |= {"in [0, 1)": ["zero_share"], "in (0, 0.5]": ["validation_share"]}
        require_ranges(self, ranges, "data.")
        together = (self.validation_column is None) == (not self.validation_values)
        require(together, "data.validation-values", "given with --data.validation-column", self.validation_values)

    def ignored(self) -> dict[str, str]:
        """Return the settings without effect: of other losses and encodings, and a share where values are named."""
        reasons = {}
        if self.normalisation != "counts":
            reasons["likelihood"] = "it needs --data.normalisation counts"
        if self.encoding == "whole":
            reasons |= dict.fromkeys(("num_tokens", "zero_share"), "--data.encoding whole shows every gene")
        if self.validation_column is not None:
            reasons["validation_share"] = "--data.validation-column says which cells are held out"
        return reasons
