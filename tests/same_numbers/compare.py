"""What two sets of results have in common, bit by bit."""

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
    lists = {
        kind: (old["numbers"].get(kind, []), new["numbers"].get(kind, [])) for kind in old["numbers"] | new["numbers"]
    }
    equal = [f"{len(values)} {kind}" for kind, (before, values) in lists.items() if before == values]
    different = [_first_difference(kind, *pair) for kind, pair in lists.items() if pair[0] != pair[1]]
    if not different:
        return Finding(name, "equal", ", ".join(equal))
    return Finding(name, "DIFFERS", "; ".join([*different, *(f"equal {text}" for text in equal)]))


def _first_difference(kind: str, old: list[str], new: list[str]) -> str:
    """Say where two unequal lists first differ and by how much."""
    if len(old) != len(new):
        return f"{kind}: {len(old)} and {len(new)} of them"
    place = next(i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)
    where = f"{kind}, number {place + 1} of {len(new)}"
    try:
        x, y = float.fromhex(old[place]), float.fromhex(new[place])
    except ValueError:  # digests
        return where
    return f"{where}: {x:.9g} and {y:.9g}, by {y - x:.2g}"
