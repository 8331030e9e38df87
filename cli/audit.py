"""``dnar2mae audit``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from dnar2mae.cli.output import json_at_end
from dnar2mae.cli.parse import parse
from dnar2mae.errors import ConfigError, require_ranges

if TYPE_CHECKING:
    from dnar2mae.homology import Audit


@dataclass(frozen=True, kw_only=True)
class AuditCommand:
    """Count the test sequences that have a homologue in the training set, and score predictions without them.

    Example: dnar2mae audit train.csv test.csv --out leaked.csv --predictions predictions.csv --label label

    Both strands are compared. A test row counts at an identity if a training row reaches it, and training rows read
    backwards stay 10 points below: what they reach is chance.
    """

    train: Positional[Path]
    """CSV, TSV or parquet with a column of sequences, or FASTA; plain, gzip or zstd, or an address (https://, s3://)."""
    test: Positional[Path]
    """The same of the test set."""
    out: Path | None = None
    """CSV file of the test rows: identity, training row, chance, and whether each is leaked."""
    column: str = "sequence"
    """Name of the column of sequences."""
    predictions: Path | None = None
    """CSV, TSV or parquet with a row for each test row, as benchmark run writes: the predicted class, probabilities."""
    label: str = "label"
    """predictions: column of the true class, in TEST or in the predictions."""
    predicted: str = "predicted"
    """predictions: column of the predicted class."""
    identities: tuple[float, ...] = (0.5, 0.7, 0.9)
    """Identities to count at."""
    leaked_at: float = 0.7
    """Identity from which a row is called leaked, for scores and --fail-above."""
    fail_above: float | None = None
    """Exit with 1 if more of the test rows are leaked than this share."""
    json: bool = False
    """Print counts and scores as JSON, and all else on stderr."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_ranges(self, {"in (0, 1]": ("leaked_at",), "in [0, 1]": ("fail_above",)})
        if not self.identities or min(self.identities) <= 0 or max(self.identities) > 1:
            raise ConfigError(f"--identities must be in (0, 1], got {' '.join(map(str, self.identities)) or 'none'}")


def run(argv: list[str]) -> int:
    """Parse, compare, print the counts and scores; 1 if more is leaked than allowed."""
    command = parse(AuditCommand, argv, prog="dnar2mae audit")
    from dnar2mae.homology import audit
    from dnar2mae.homology.files import read_rows
    from dnar2mae.homology.predictions import read_predictions
    from dnar2mae.storage.progress import progress_bar
    from dnar2mae.storage.safe_files import refuse_inputs

    if command.train.resolve() == command.test.resolve():
        raise ConfigError(f"TRAIN and TEST must be two files, got {command.train} twice")
    if command.out is not None:
        refuse_inputs(command.out, (command.train, command.test, command.predictions))
    train, _ = read_rows(command.train, command.column)
    test, others = read_rows(command.test, command.column)
    predictions = None
    if command.predictions is not None:
        predictions = read_predictions(command.predictions, others, command.label, command.predicted)
    levels = tuple(sorted({*command.identities, command.leaked_at}))
    with progress_bar("Comparing", None, at_once=True) as bar:
        done = audit(train, test, levels, lambda number, total: bar(number, total=total))
    leaked = done.found.at(command.leaked_at)
    with json_at_end(command.json) as hand_over:
        scores = predictions.by_leakage(leaked) if predictions else {}
        _print(command, done, levels, scores)
        hand_over(_summary(done) | ({"scores": scores} if scores else {}))
    return int(command.fail_above is not None and leaked.mean() > command.fail_above)


def _summary(done: "Audit") -> dict[str, Any]:
    counts = {"train_rows": done.train_rows, "test_rows": done.test_rows, "exact": done.exact}
    return counts | {"levels": list(done.levels)}


def _print(command: AuditCommand, done: "Audit", levels: tuple[float, ...], scores: dict[str, Any]) -> None:
    from dnar2mae.benchmarks.reporting.console import print_table
    from dnar2mae.homology.files import found_table
    from dnar2mae.homology.predictions import score_lines
    from dnar2mae.storage.safe_files import output_file

    rows = [
        {"identity": f"{level.identity:.0%}", "test rows": f"{level.rows:,}", "share": f"{level.share:.2%}"}
        | {"by chance": f"{level.chance:.2%}"}
        for level in done.levels
    ]
    exact = {"identity": "equal", "test rows": f"{done.exact:,}", "share": f"{done.exact_share:.2%}", "by chance": ""}
    print_table(f"{done.test_rows:,} test rows, {done.train_rows:,} training rows", [*rows, exact])
    if scores:
        print_table(f"Leaked at {command.leaked_at:.0%}", score_lines(scores, done.found.at(command.leaked_at)))
    if command.out is not None:
        with output_file(command.out) as partial:
            found_table(done.found, levels).to_csv(partial)
        print(f"Wrote {command.out}")
