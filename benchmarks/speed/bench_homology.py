"""Homologues: what is found of planted ones, what unrelated sequences reach, published sets, and speed.

    python -m dnar2mae.benchmarks.speed.bench_homology --data GUE

Everything is compared with an alignment of all pairs by the same definition of identity. Prints, and appends rows to
``benchmarks/results/homology_*.csv``. One thread.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from dnar2mae.benchmarks.speed import rows
from dnar2mae.benchmarks.tasks.audit import audit_rows, audit_suite
from dnar2mae.benchmarks.tasks.suite import load_suite
from dnar2mae.homology import clusters, homologues
from dnar2mae.homology.identity import identity_of, rank
from dnar2mae.homology.letters import canonical, reverse_complement, upper
from dnar2mae.homology.search import BEYOND_CHANCE, IDENTITIES

RESULTS = Path(__file__).parents[1] / "results"
_LETTERS = np.array(list("ACGT"))
_INDELS = 0.2
"""Share of the planted edits that insert or delete a letter."""


@dataclass(frozen=True, kw_only=True)
class HomologySettings:
    """Measure recall, precision, chance and speed."""

    data: Path | None = None
    """Folder of GUE; without it only simulated sequences are measured."""
    parts: tuple[str, ...] = ("planted", "suite", "speed")
    """What to measure."""
    lengths_bp: tuple[int, ...] = (70, 200, 500)
    """Lengths of simulated sequences."""
    training_rows: int = 1000
    """Simulated training sequences."""
    planted: int = 30
    """Test sequences for each length and identity, and unrelated ones for each length."""
    checked: int = 50
    """Rows of each published test set that are compared with all training rows."""
    tasks: tuple[str, ...] = ()
    """Only these tasks of GUE."""


def random_sequences(generator: np.random.Generator, number: int, length_bp: int) -> list[str]:
    """Return sequences of equally frequent letters."""
    return ["".join(row) for row in _LETTERS[generator.integers(0, 4, (number, length_bp))]]


def mutated(generator: np.random.Generator, sequence: str, identity: float) -> str:
    """Return the sequence with edits in this part of its letters, a fifth of them insertions or deletions."""
    letters: list[str] = list(sequence)
    number = round((1 - identity) * len(letters))
    for place in generator.choice(len(letters), number, replace=False).tolist():
        if generator.random() >= _INDELS:
            letters[place] = str(generator.choice([x for x in "ACGT" if x != sequence[place]]))
        else:
            letters[place] = sequence[place] + str(generator.choice(_LETTERS)) if generator.random() < 0.5 else ""
    return "".join(letters)


def best_of_all(query: str, targets: list[str]) -> tuple[float, int]:
    """Return the best identity with any target on either strand, and the target, from an alignment of every pair."""
    best, found, own = 0.0, -1, canonical(query)
    for strand in (own, reverse_complement(own)):
        for number, target in enumerate(targets):
            short, long = (strand, target) if rank(own) <= rank(target) else (target, strand)
            if best < 1 and (value := identity_of(short, long, best + 1e-6)):
                best, found = value, number
    return best, found


def planted_rows(settings: HomologySettings, length_bp: int) -> list[dict[str, Any]]:
    """Return recall and precision by planted identity, and what unrelated sequences reach, at one length."""
    generator = np.random.default_rng(length_bp)
    train = random_sequences(generator, settings.training_rows, length_bp)
    levels = np.repeat(np.arange(95, 45, -5), settings.planted)
    sources = generator.integers(0, len(train), len(levels))
    test = [mutated(generator, train[i], level / 100) for i, level in zip(sources, levels, strict=True)]
    test = [reverse_complement(letters) if generator.random() < 0.5 else letters for letters in test]
    test += random_sequences(generator, settings.planted, length_bp)
    found = homologues(train, test)
    known = [canonical(letters) for letters in train]
    exact = [best_of_all(letters, known) for letters in test]
    chance = np.array([best_of_all(letters, [x[::-1] for x in known])[0] for letters in test])
    identity, row = np.array([value for value, _ in exact]), np.array([target for _, target in exact])
    counts = found.at(IDENTITIES[0]), identity >= chance + BEYOND_CHANCE - 1e-9
    unrelated = np.append(sources, np.full(settings.planted, -2))  # -1 stands for nothing found
    result = []
    for level in [*range(95, 45, -5), 0]:
        own = np.append(levels, np.zeros(settings.planted, int)) == level
        called, right = counts[0] & own, counts[0] & own & (found.row == unrelated)
        result.append(
            {"length_bp": length_bp, "planted": level, "rows": int(own.sum())}
            | {"aligned": float((counts[1] & own & (row == unrelated)).sum() / own.sum())}
            | {"found": float(right.sum() / own.sum()), "called": int(called.sum()), "right": int(right.sum())}
            | {"identity": float(identity[own].mean()), "chance": float(np.median(chance))}
            | {"most_by_chance": float(chance.max())}
        )
    return result


def checked_rows(train: list[str], test: list[str], number: int) -> dict[str, Any]:
    """Return how many rows of a sample have a homologue by the search, and by an alignment of every pair."""
    sample = np.random.default_rng(0).permutation(len(test))[:number].tolist()
    chosen, known = upper([test[i] for i in sample]), [canonical(letters) for letters in upper(train)]
    found = homologues(known, chosen)
    exact = np.array([best_of_all(letters, known)[0] for letters in chosen])
    counted = replace(found, identity=exact).at(IDENTITIES[1])
    return {
        "checked": len(sample),
        "aligned": int(counted.sum()),
        "found": int((found.at(IDENTITIES[1]) & counted).sum()),
    }


def suite_rows(settings: HomologySettings) -> Iterator[dict[str, Any]]:
    """Yield the audit of every task of GUE that is at hand, each beside an alignment of all pairs of a sample."""
    from dnar2mae.benchmarks.rows.contract import labelled_data
    from dnar2mae.benchmarks.tasks.data import find_task

    assert settings.data is not None
    suite = load_suite("gue").select(settings.tasks)
    for task in suite.tasks:
        folder = find_task(suite, task, settings.data)
        if folder is None:
            continue
        splits = labelled_data("dna").read(task, folder)
        train = list(splits["train" if "train" in splits else "dev"].rows)
        (row,) = audit_rows(audit_suite(suite.select((task.name,)), settings.data))
        yield row | checked_rows(train, list(splits["test"].rows), settings.checked)


def speed_rows() -> list[dict[str, Any]]:
    """Return the seconds of clusters and of a search, and of aligning all pairs, from those of a sample's pairs."""
    generator = np.random.default_rng(0)
    short = random_sequences(generator, 42_000, 70)
    short += [mutated(generator, letters, 0.85) for letters in short[:5000]]
    train = random_sequences(generator, 30_000, 100)
    test = [mutated(generator, letters, 0.8) for letters in train[:500]] + random_sequences(generator, 500, 100)
    cases = (
        ("clusters, 47,000 x 70 bp", partial(clusters, short), short, short, len(short) * (len(short) - 1), 0.8),
        ("homologues, 1,000 in 30,000 x 100 bp", partial(homologues, train, test), test, train, 4 * 3 * 10**7, 0.5),
    )
    result = []
    for what, call, queries, targets, pairs, at_least in cases:
        picked = generator.integers(0, len(queries), 100_000), generator.integers(0, len(targets), 100_000)
        per_pair = []
        begun = time.process_time()
        for half in range(2):  # before and after what is compared, in the same process
            before = time.process_time()
            for i, j in zip(*(each.tolist() for each in picked), strict=True):
                identity_of(queries[i], targets[j], at_least)
            per_pair.append((time.process_time() - before) / len(picked[0]))
            if not half:
                begun = time.process_time()
                call()
                seconds = time.process_time() - begun
        all_pairs = float(np.mean(per_pair)) * pairs
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        row = {"what": what, "seconds": round(seconds, 1), "all_pairs_seconds": round(all_pairs)}
        result.append(row | {"ratio": round(all_pairs / seconds), "most_mb": round(memory)})
    return result


def main(settings: HomologySettings) -> int:
    """Measure, print, record."""
    measured: dict[str, Callable[[], Iterable[dict[str, Any]]]] = {
        "planted": lambda: (row for length in settings.lengths_bp for row in planted_rows(settings, length)),
        "suite": lambda: suite_rows(settings) if settings.data is not None else (),
        "speed": speed_rows,
    }
    stamp = rows.stamp()
    for part in settings.parts:
        for row in measured[part]():
            rounded = {name: round(value, 5) if isinstance(value, float) else value for name, value in row.items()}
            about = {name: stamp[name] for name in ("commit", "device", "date")}
            rows.append(RESULTS / f"homology_{part}.csv", rounded | about)
            print(*rounded.values(), sep="\t", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(HomologySettings)))
