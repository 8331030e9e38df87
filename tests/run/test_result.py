import json
import math

import pytest

from dnar2mae.errors import RunError
from dnar2mae.run.result import RunResult, bound_line

RESULT = RunResult(
    out="runs/a",
    steps=3,
    finished=True,
    parameters=10,
    seconds=1.5,
    unit="bits per base",
    held_out=1.9,
    margin={"order 2": {"below_by": 0.1, "standard_error": None}},
    bound={"value": 1.95, "standard_error": math.nan, "extrapolated": "", "curve": {"0.85": 1.98}},
)


def test_a_summary_is_read_as_it_was_saved(tmp_path):
    RESULT.save(tmp_path / "summary.json")
    read = RunResult.read(tmp_path / "summary.json")
    assert math.isnan(read.standard_error)
    assert math.isnan(read.untrained)
    assert (read.held_out, read.margin, read.bound["curve"]) == (1.9, RESULT.margin, {"0.85": 1.98})
    assert bound_line(read) == bound_line(RESULT)


def test_a_summary_of_another_version(tmp_path):
    path = tmp_path / "summary.json"
    RESULT.save(path)
    content = json.loads(path.read_text())
    del content["bound"]
    path.write_text(json.dumps(content | {"later": 1}))
    assert RunResult.read(path).bound == {}
    for text in ("{", "[1]", "{}", '{"out": 1}'):
        path.write_text(text)
        with pytest.raises(RunError, match="summary.json: not a run's summary"):
            RunResult.read(path)
    with pytest.raises(RunError, match="none.json: not a run's summary: No such file"):
        RunResult.read(tmp_path / "none.json")
