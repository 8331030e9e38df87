"""The files that figures depend on, by what is measured: narrow enough that a change of them may change the figure."""

RECIPE = (
    "dnar2mae/presets.py",
    "dnar2mae/masking/*.py",
    "dnar2mae/models/embedder.py",
    "dnar2mae/models/head.py",
    "dnar2mae/models/masked.py",
    "dnar2mae/training/step.py",
    "dnar2mae/training/optimizer.py",
    "dnar2mae/training/muon.py",
)
"""What every run's losses depend on, but for its backbone and modality; the loop around the step is left out."""
VALIDATION = ("dnar2mae/training/validation.py", "dnar2mae/scoring/blocks.py")
CNN = ("dnar2mae/models/cnn.py", "dnar2mae/models/strands.py")
HYBRID, MLP = ("dnar2mae/models/hybrid.py",), ("dnar2mae/models/mlp.py",)
TRANSFORMER = ("dnar2mae/models/transformer.py", "dnar2mae/models/attention.py")
COUNTS = ("dnar2mae/genome/markov.py", "dnar2mae/genome/two_sided.py", "dnar2mae/genome/fitted_bases.py")
DNA = ("dnar2mae/genome/windows.py", "dnar2mae/genome/split.py", "dnar2mae/modalities/dna/*.py")
PROBE = (
    "benchmarks/running/frozen.py",
    "benchmarks/running/solver.py",
    "benchmarks/running/vectors.py",
    "benchmarks/models/pooling.py",
    "benchmarks/models/encoder.py",
    "dnar2mae/models/hidden_states.py",
    "dnar2mae/models/pooling.py",
    "dnar2mae/finetuning/kmers.py",
    "benchmarks/models/checkpoint.py",
    "dnar2mae/scoring/*.py",
)
FEW_LABELS = (
    "benchmarks/running/solver.py",
    "benchmarks/running/few_labels.py",
    "benchmarks/running/logistic.py",
    "benchmarks/running/feature_sets.py",
    "benchmarks/models/pooling.py",
    "dnar2mae/models/hidden_states.py",
    "dnar2mae/models/pooling.py",
    "dnar2mae/scoring/*.py",
)
DEFAULT_RUN = (*RECIPE, *VALIDATION, *CNN, *DNA, *COUNTS)
"""A run of the preset ``tiny`` on a genome, with its yardsticks."""
CHECKPOINT = ("dnar2mae/run/checkpoint.py", "dnar2mae/run/checkpoint_writer.py", "dnar2mae/run/directory.py")
GENOME = (
    "dnar2mae/genome/store.py",
    "dnar2mae/genome/build.py",
    "dnar2mae/genome/windows.py",
    "dnar2mae/tokenizers/kmer.py",
)
