"""Settings of a build; importing them is quick."""

from dataclasses import dataclass
from typing import Literal, get_args

from dnar2mae.errors import ConfigError, require, require_ranges

BuiltTask = Literal["promoter", "coding", "splice", "gene_start", "strand"]
TASKS: tuple[BuiltTask, ...] = get_args(BuiltTask)
_INSIDE = ("coding", "strand")


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildConfig:
    """Tasks, hold-outs and sizes."""

    tasks: tuple[BuiltTask, ...] = TASKS
    """promoter or not; coding or intergenic; splice donor, acceptor or neither; start codon of a gene or another
    ATG; strand of the gene."""
    dev: tuple[str, ...] = ()
    """Sequences held out for dev, by name."""
    test: tuple[str, ...] = ()
    """Sequences held out for test, by name. Without --dev and --test each sequence is cut into blocks."""
    block_bp: int | None = None
    """Length of the blocks that go to train, dev or test as a whole; by default a hundredth of the genome, at most
    50 kb."""
    gap_bp: int = 1000
    """Bases between two blocks that no example may touch."""
    length_bp: int = 200
    """Length of an example in base pairs."""
    inside_bp: int | None = None
    """Length of the examples of coding and strand, which lie inside a coding part or a gene; by default --length-bp.
    Where coding parts are short, shorter examples are more."""
    max_examples: int = 20_000
    """Most positive examples of a task."""
    seed: int = 0
    """Seed of every random choice."""
    assembly_report: str | None = None
    """NCBI's *_assembly_report.txt of the genome: the annotation may then name sequences by accession, as chr1 or 1."""

    def __post_init__(self) -> None:
        """Check ranges."""
        unknown = sorted(set(self.tasks) - set(TASKS))
        require(not unknown, "tasks", f"some of {', '.join(TASKS)}", ", ".join(unknown))
        for flag, length in (("length-bp", self.length_bp), ("inside-bp", self.inside_bp)):
            require(length is None or (length >= 20 and length % 4 == 0), flag, "a multiple of 4 >= 20", length)
        require_ranges(self, {"at least 0": ["gap_bp", "seed"], "at least 1": ["max_examples"]})
        least = self.gap_bp + self.longest_bp
        fits = self.block_bp is None or self.block_bp > least
        require(fits, "block-bp", f"above gap and length together ({least})", self.block_bp)
        both = sorted(set(self.dev) & set(self.test))
        require(not both, "test", "disjoint from --dev", ", ".join(both))
        if bool(self.dev) != bool(self.test):
            raise ConfigError("--dev and --test must both name sequences, or neither (blocks are then held out)")

    @property
    def longest_bp(self) -> int:
        """Return the length of the longest examples."""
        return max(map(self.length_of, self.tasks))

    def length_of(self, task: str) -> int:
        """Return the length of a task's examples."""
        return self.inside_bp or self.length_bp if task in _INSIDE else self.length_bp
