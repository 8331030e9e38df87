"""Description of the modality of DNA."""

from dnar2mae.config import DataConfig
from dnar2mae.modalities.registry import ModalitySpec

SPEC = ModalitySpec(
    config=DataConfig,
    modality="dnar2mae.modalities.dna.modality:DnaModality",
    paths="genomes",
    may_change=("genomes", "annotation"),
    files=("tokenizer.json",),
    benchmark="dnar2mae.benchmarks.rows.dna:DNA",
)
