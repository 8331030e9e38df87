"""Protocols as versioned data: how a model is judged on a task."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from dnar2mae.benchmarks.running.options import BASELINES, METHODS, VectorKind
from dnar2mae.errors import ConfigError
from dnar2mae.finetuning.options import TuningSettings
from dnar2mae.run.config_file import read_yaml, structured

PACKAGED = Path(__file__).parents[1] / "protocols"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeSettings:
    """Logistic regression on frozen vectors, standardised with the training rows' mean and sd, run to its optimum."""

    c: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    """Inverse strengths of the L2 penalty to choose from on dev."""
    features: tuple[VectorKind, ...] = ("vector",)
    """Vectors to choose from on dev. A model that has none of them has its vector."""
    select: Literal["mcc", "loss"] | None = None
    """What decides on dev; None: what the protocol says for all methods."""
    ensemble: int = 0
    """Most choices of an ensemble of the probes of all features, each at its best penalty; 0: the best one alone. What
    stands for raw features beside a model's vectors is then an ensemble of both, else one fit on both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KnnSettings:
    """Vote of the nearest training rows by cosine similarity."""

    k: tuple[int, ...] = (1, 5, 15, 45)
    """Numbers of neighbours to choose from on dev."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitSettings(TuningSettings):
    """Training of a classifier by AdamW."""

    lr: tuple[float, ...] = (3e-5,)
    """Peak learning rates to choose from on dev, with the first seed."""
    tokenization: str | None = None
    """Which tokenizers max_tokens counts for: base, kmer or bpe."""
    max_tokens: int | None = None
    """Longest input in such tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """Everything that a published number must state."""

    name: str
    source: str
    notes: str = ""
    methods: tuple[str, ...] = METHODS
    """Methods that it defines."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    select: Literal["mcc", "loss"] = "mcc"
    """What decides on dev: the highest MCC or the lowest cross-entropy."""
    dev_share: float = 0.1
    """Share of the training rows held out where a suite has no dev split."""
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    knn: KnnSettings = field(default_factory=KnnSettings)
    finetune: FitSettings = field(default_factory=FitSettings)
    lora: FitSettings = field(default_factory=FitSettings)
    cnn: FitSettings = field(
        default_factory=lambda: FitSettings(lr=(1e-3,), weight_decay=0.0, batch_size=64, epochs=10)
    )
    """The small CNN, trained from scratch."""
    cnn_head: FitSettings = field(
        default_factory=lambda: FitSettings(lr=(1e-3,), weight_decay=0.0, batch_size=64, epochs=10)
    )
    """A small convolution over the frozen vectors of the last layer's tokens."""
    baselines: tuple[str, ...] = ("random", "raw", "cnn")
    """Controls to run unless others are asked for."""
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings of the tasks whose name a pattern matches; later patterns win."""

    def settings(self, method: str, task: str) -> Any:
        """Return the settings of a method, or of the cnn, for a task."""
        name = method.replace("-", "_")
        settings = getattr(self, name)
        for pattern, of_methods in self.tasks.items():
            for other, changes in of_methods.items():
                if fnmatchcase(task, pattern) and other.replace("-", "_") == name:
                    settings = replace(settings, **changes)
        return settings


def packaged_protocols() -> dict[str, Path]:
    """Return the files of the protocols that come with the package, by the protocol's name."""
    return {read_yaml(path)["name"]: path for path in sorted(PACKAGED.glob("*.yaml"))}


def load_protocol(name: str) -> Protocol:
    """Read a packaged protocol by name, or one of your own from a YAML file.

    Raises
    ------
    ConfigError
        There is no such protocol, or its file breaks a rule; every fault is named.
    """
    packaged = packaged_protocols()
    path = packaged.get(name, Path(name))
    if not path.is_file():
        raise ConfigError(f"no protocol {name!r}: name one of {', '.join(packaged)}, or a YAML file")
    protocol = structured(read_yaml(path), Protocol, path)
    if unknown := sorted(set(protocol.baselines) - set(BASELINES)):
        raise ConfigError(f"{path}: baselines must be some of {', '.join(BASELINES)}, got {', '.join(unknown)}")
    if empty := list(_empty(protocol)):
        raise ConfigError(f"{path}: {', '.join(empty)}: give at least one value to choose from")
    # Else a wrong name would be noticed only once a matching task runs.
    for pattern, changes in protocol.tasks.items():
        for method in changes:
            try:
                replace(getattr(protocol, method.replace("-", "_")), **changes[method])
            except (TypeError, AttributeError) as error:
                raise ConfigError(f"{path}: tasks, {pattern!r}, {method}: {error}") from error
    return protocol


def _empty(protocol: Protocol) -> Iterator[str]:
    """Return the names of the grids without a value."""
    for method in ("probe", "knn", "finetune", "lora", "cnn", "cnn_head"):
        settings = getattr(protocol, method)
        for name in ("c", "features", "k", "lr"):
            if getattr(settings, name, None) == ():
                yield f"{method}.{name}"
    if not protocol.seeds:
        yield "seeds"
