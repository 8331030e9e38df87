"""What two sets of results have in common, bit by bit."""

from itertools import zip_longest
from typing import Any, Literal, NamedTuple

Verdict = Literal["equal", "refused", "DIFFERS"]
Result = dict[str, Any]
"""Of one case: ``state`` (ran, refused, failed), ``message``, and ``numbers``, lists of texts by name."""


class Finding(NamedTuple):
    """What is to be said of a case."""

    case: str
    verdict: Verdict
    details: str


def compare(old: dict[str, Result], new: dict[str, Result]) -> list[Finding]:
    """Compare the results of all cases; a case that only one side has differs."""
    return [_compare_case(name, old.get(name), new.get(name)) for name in {**old, **new}]


def _compare_case(name: str, old: Result | None, new: Result | None) -> Finding:
    if old is None or new is None:
        return Finding(name, "DIFFERS", "a case of one side only")
    states = old["state"], new["state"]
    if "failed" in states or states[0] != states[1]:  # a case that fails on both sides compares nothing
        told = (f"{result['state']} {result['message']}".strip() for result in (old, new))
        return Finding(name, "DIFFERS", " | ".join(told))
    if states[0] == "refused":  # the words of a message may change, that it comes may not
        return Finding(name, "refused", new["message"])
    for kind in {**old["numbers"], **new["numbers"]}:
        text = _first_difference(kind, old["numbers"].get(kind, []), new["numbers"].get(kind, []))
        if text:
            return Finding(name, "DIFFERS", text)
    counts = (f"{len(values)} {kind}" for kind, values in new["numbers"].items())
    return Finding(name, "equal", ", ".join(counts))


def _first_difference(kind: str, old: list[str], new: list[str]) -> str | None:
    """Where two lists first differ and by how much; None if they are equal."""
    for place, (a, b) in enumerate(zip_longest(old, new), 1):
        if a == b:
            continue
        if a is None or b is None:
            return f"{kind}: {len(old)} and {len(new)} of them"
        try:
            x, y = float.fromhex(a), float.fromhex(b)
        except ValueError:  # digests
            return f"{kind}, number {place} of {len(new)}"
        return f"{kind}, number {place} of {len(new)}: {x:.9g} and {y:.9g}, by {y - x:.2g}"
    return None
