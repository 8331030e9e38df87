"""A simulated genome with planted, annotated structure: demo data, and a benchmark whose answers are known.

Examples
--------
>>> from dnar2mae.genome.simulate import SimulateConfig, simulate
>>> genome = simulate(SimulateConfig(length_bp=100_000, chromosomes=2, seed=1))
>>> {name: len(sequence) for name, sequence in genome.sequences.items()}
{'chr1': 57142, 'chr2': 42858}
"""

from dnar2mae.genome.simulate.config import SimulateConfig
from dnar2mae.genome.simulate.genome import SimulatedGenome, simulate

__all__ = ["SimulateConfig", "SimulatedGenome", "simulate"]
