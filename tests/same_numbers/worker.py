"""Run cases with whichever ``dnar2mae`` is on the path and write what they computed as JSON.

Needs no other file of the tests, so that a commit that knows nothing of it can be asked too. Commands are given as a
user types them, and results read from the files that users get: these change least from one commit to the next.
"""

import hashlib
import io
import json
import os
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from safetensors.numpy import load_file

import dnar2mae
from dnar2mae.cli import main as run_command

Numbers = dict[str, list[str]]


def perform(case: dict[str, Any]) -> dict[str, Any]:
    """Run one case: a command, or the scores of variants.

    Returns
    -------
    dict
        ``state``: ran; refused, by an error meant for users; or failed, by any other (an unknown flag too).
        ``message``, of an error; and ``numbers``, each as a text that keeps all bits.
    """
    said = io.StringIO()
    result: dict[str, Any] = {"state": "ran", "message": "", "numbers": {}}
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            if "command" not in case:
                result["numbers"] = score(case)
            elif run_command(["--debug", *case["command"]]) == 0:  # --debug: errors are raised
                result["numbers"] = read_numbers(Path(case["out"]))
            else:
                result.update(state="failed", message=said.getvalue())
    except dnar2mae.Dnar2maeError as error:
        result.update(state="refused", message=str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001  the cases after it are still to be run
        where = traceback.extract_tb(error.__traceback__)[-1]
        message = f"{said.getvalue()} {error!r} at {where.filename}:{where.lineno}"
        result.update(state="failed", message=" ".join(message.split()))
    return result


def read_numbers(out: Path) -> Numbers:
    """Numbers of a run directory, or of the file that a command wrote."""
    if out.is_file():
        return {"file": [digest(out.read_bytes())]}
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((out / "summary.json").read_text())
    weights = load_file(sorted(out.glob("checkpoints/step-*"))[-1] / "model.safetensors")
    # sorted digests do not see the names of parameters: a name is no number
    digests = sorted(digest(tensor.tobytes()) for tensor in weights.values())
    return {
        "losses": [to_text(row["loss"]) for row in rows if row["event"] == "train"],
        "held-out losses": [
            *(to_text(row["held_out"]) for row in rows if row["event"] == "validation"),
            to_text(summary["held_out"]),
            *(to_text(loss) for loss in summary["curve"].values()),
        ],
        "weights": digests,
    }


def digest(content: bytes) -> str:
    """Name a content by its hash, in a form that is not taken for a number."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def score(case: dict[str, Any]) -> Numbers:
    """Score variants by a trained run, in full precision (a written file has six digits)."""
    from dnar2mae import Genome, Model
    from dnar2mae.variants import ScoreOptions
    from dnar2mae.variants.alleles import Variant, judge
    from dnar2mae.variants.scores import score_alleles

    model, genome = Model.from_pretrained(case["run"], device="cpu"), Genome.open(case["genome"])
    sites = [judge(genome, Variant(name, at, ref, (alt,)), len(ref + alt)) for name, at, ref, alt in case["variants"]]
    scored = score_alleles(model, genome, [site.alleles for site in sites], ScoreOptions(**case["options"]))
    numbers = {"scores": [to_text(value) for scores in scored for value in scores.ratio]}
    if case["options"].get("distance"):
        numbers["distances"] = [to_text(value) for scores in scored for value in scores.distance]
    return numbers


def to_text(value: float | None) -> str:
    """Write a number exactly; losses that are not finite are null in a run's files."""
    return "nan" if value is None else float(value).hex()


def draw_nothing(figure: Figure, target: Any, **_: Any) -> None:
    """Stand in for ``Figure.savefig``: an empty file."""
    if isinstance(target, (str, Path)):
        Path(target).touch()


def undo_later_recipe() -> list[str]:
    """Take back what a newer tree begins with and an older one cannot be asked for; return flags to add to a run.

    The start of the Transformer's heads at fixed offsets, which no flag turns off, and Muon.
    """
    try:
        from dnar2mae.models.backbone import Backbone
        from dnar2mae.models.transformer import Transformer

        Transformer.prepare_initial = Backbone.prepare_initial
    except (ImportError, AttributeError):  # an older tree
        return []
    return ["--optimizer.muon-lr", "None", "--model.backbone", "transformer"]


def main(plan: str, out: str) -> None:
    """Run the cases of a plan in their order, in the present folder."""
    assert dnar2mae.__file__.startswith(os.environ["PYTHONPATH"]), "not the package of the tree that was asked"
    torch.set_num_threads(1)
    Figure.savefig = draw_nothing  # pictures would take half of the time
    cases, later = json.loads(Path(plan).read_text()), undo_later_recipe()
    for case in cases:
        if case.get("command", [""])[0] == "pretrain":
            case["command"][1:1] = later  # before the case's own flags, which win
    results = {case["name"]: perform(case) for case in cases}
    Path(out).write_text(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
