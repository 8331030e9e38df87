"""What a build can be told."""

from dataclasses import dataclass

from dnar2mae.errors import ConfigError

TASKS = ("promoter", "coding", "splice", "gene_start", "strand")


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildConfig:
    """Tasks, hold-outs and sizes; see ``dnar2mae benchmark build --help``."""

    tasks: tuple[str, ...] = TASKS
    dev: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    block_bp: int | None = None
    gap_bp: int = 1000
    length_bp: int = 200
    max_examples: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges."""
        unknown = sorted(set(self.tasks) - set(TASKS))
        _require(not unknown, "tasks", f"some of {', '.join(TASKS)}", ", ".join(unknown))
        _require(self.length_bp >= 20 and self.length_bp % 4 == 0, "length-bp", "a multiple of 4 >= 20", self.length_bp)
        _require(self.gap_bp >= 0, "gap-bp", "at least 0", self.gap_bp)
        least = self.gap_bp + self.length_bp
        fits = self.block_bp is None or self.block_bp > least
        _require(fits, "block-bp", f"above gap and length together ({least})", self.block_bp)
        _require(self.max_examples >= 1, "max-examples", "at least 1", self.max_examples)
        _require(self.seed >= 0, "seed", "at least 0", self.seed)
        both = sorted(set(self.dev) & set(self.test))
        _require(not both, "test", "disjoint from --dev", ", ".join(both))
        if bool(self.dev) != bool(self.test):
            raise ConfigError("--dev and --test must both name sequences, or neither (blocks are then held out)")


def _require(ok: bool, name: str, rule: str, value: object) -> None:
    if not ok:
        raise ConfigError(f"--{name} must be {rule}, got {value}")
