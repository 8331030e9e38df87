"""What a command prints where ``--json`` is given: one JSON value on stdout, and nothing else there."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any


@contextmanager
def json_at_end(asked: bool) -> Iterator[Callable[[Any], None]]:
    """Print the value that the block hands over, as JSON, if that is asked for; all else then goes to stderr.

    Paths become text, dataclasses objects, and numbers that are not finite null.
    """
    values: list[Any] = []
    with redirect_stdout(sys.stderr) if asked else nullcontext():
        yield values.append
    if asked and values:
        from dnar2mae.run.result import finite

        # twice, since dataclasses and numpy's numbers are plain only once they were written
        plain = json.loads(json.dumps(values[-1], default=_plain))
        print(json.dumps(finite(plain), indent=1, allow_nan=False))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value) if isinstance(value, Path) else value.item()
