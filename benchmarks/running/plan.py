"""Which cells make a table."""

from collections.abc import Sequence
from dataclasses import replace

from dnar2mae.benchmarks.running.cells import BenchmarkCell, ModelSpec, load_encoder
from dnar2mae.benchmarks.running.options import BASELINES
from dnar2mae.benchmarks.running.protocol import Protocol
from dnar2mae.errors import ConfigError


def plan_cells(
    models: Sequence[ModelSpec],
    protocol: Protocol,
    methods: Sequence[str],
    baselines: Sequence[str],
    num_seeds: int | None,
) -> list[BenchmarkCell]:
    """List every model by every method, and the baselines by theirs, each with the seeds that its result depends on.

    Raises
    ------
    ConfigError
        A method is not in the protocol, a baseline is unknown, or the number of seeds is below 1.
    """
    for method in methods:
        if method not in protocol.methods:
            raise ConfigError(f"--method: protocol {protocol.name} has {', '.join(protocol.methods)}, got {method}")
    for name in baselines:
        if name not in BASELINES:
            raise ConfigError(f"--baselines must be some of {', '.join(BASELINES)}, got {name}")
    seeds = _seeds(protocol, num_seeds)
    specs = list(models)
    if "random" in baselines:
        specs += [replace(model, name=f"{model.name} (random weights)", kind="random") for model in models]
    cells = []
    for spec in specs:
        for seed in seeds:  # methods of one seed in a row share their vectors
            of_methods = [BenchmarkCell(model=spec, method=method, seed=seed, protocol=protocol) for method in methods]
            cells += [cell for cell in of_methods if cell.is_seeded or seed == seeds[0]]
    if "kmer" in baselines:
        counts = ModelSpec(name="k-mer counts", kind="kmer")
        cells.append(BenchmarkCell(model=counts, method="probe", seed=seeds[0], protocol=protocol))
    if "cnn" in baselines:
        cnn = ModelSpec(name="small CNN", kind="cnn")
        cells += [BenchmarkCell(model=cnn, method="scratch", seed=seed, protocol=protocol) for seed in seeds]
    return cells


def _seeds(protocol: Protocol, number: int | None) -> tuple[int, ...]:
    if number is None:
        return protocol.seeds
    if number < 1:
        raise ConfigError(f"--seeds must be at least 1, got {number}")
    more = range(protocol.seeds[-1] + 1, protocol.seeds[-1] + 1 + number)
    return (*protocol.seeds, *more)[:number]


def weights_digest(spec: ModelSpec) -> str:
    """Return the hash of the weights that a model starts from; one that cannot be read is an error before any work."""
    if spec.kind in ("kmer", "cnn"):
        return "v1"  # no weights to hash; another version when the method changes
    return load_encoder(spec.path, spec.device, spec.trust_remote_code, spec.modality).digest
