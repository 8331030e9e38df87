"""Which cells make a table."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

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
    *,
    raw_names: Sequence[str] = (),
) -> list[BenchmarkCell]:
    """List every model by every method, and the baselines by theirs, each with the seeds that its result depends on.

    Parameters
    ----------
    models, protocol
        Who is judged, and how.
    methods, baselines, num_seeds
        As in :class:`dnar2mae.benchmarks.running.options.SuiteOptions`.
    raw_names
        Raw features that the task has; each is a row, and one more beside each model's vectors.

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
    cells = []
    for spec in models:
        cells += _cells(spec, methods, seeds, protocol)
        if "combined" in baselines and "probe" in methods:  # at once: they share the model's vectors
            for raw in raw_names:
                both = replace(spec, name=f"{raw} + {spec.name}", kind="combined", raw=raw)
                cells += _cells(both, ["probe"], seeds, protocol)
    if "random" in baselines:
        for spec in models:
            control = replace(spec, name=f"{spec.name} (random weights)", kind="random")
            cells += _cells(control, methods, seeds, protocol)
    if "raw" in baselines:
        for raw in raw_names:
            cells += _cells(ModelSpec(name=raw, kind="raw", raw=raw), ["probe"], seeds, protocol)
    if "cnn" in baselines:
        cells += _cells(ModelSpec(name="small CNN", kind="cnn"), ["scratch"], seeds, protocol)
    return cells


def _cells(spec: ModelSpec, methods: Sequence[str], seeds: Sequence[int], protocol: Protocol) -> list[BenchmarkCell]:
    """Return one model's cells; methods of one seed in a row share their vectors."""
    of_model = partial(BenchmarkCell, model=spec, protocol=protocol)
    cells = [of_model(method=method, seed=seed) for seed in seeds for method in methods]
    return [cell for cell in cells if cell.is_seeded or cell.seed == seeds[0]]


def _seeds(protocol: Protocol, number: int | None) -> tuple[int, ...]:
    if number is None:
        return protocol.seeds
    if number < 1:
        raise ConfigError(f"--seeds must be at least 1, got {number}")
    more = range(protocol.seeds[-1] + 1, protocol.seeds[-1] + 1 + number)
    return (*protocol.seeds, *more)[:number]


def weights_digest(spec: ModelSpec) -> str:
    """Return the hash of the weights that a model starts from; one that cannot be read is an error before any work."""
    return load_encoder(spec.path, spec.device, spec.trust_remote_code, spec.modality).digest
