"""Sequences whose relations are known."""

import numpy as np

LETTERS = np.array(list("ACGT"))


def random_sequences(seed, number, length):
    return ["".join(row) for row in LETTERS[np.random.default_rng(seed).integers(0, 4, (number, length))]]


def mutated(sequence, identity, seed, indels=True):
    """A sequence with this share of its letters replaced, deleted or followed by another one."""
    generator, letters = np.random.default_rng(seed), list(sequence)
    for n, place in enumerate(generator.choice(len(letters), round((1 - identity) * len(letters)), replace=False)):
        other = generator.choice([x for x in "ACGT" if x != sequence[place]])
        kinds = (other, "", sequence[place] + other) if indels and n % 4 == 0 else (other,)
        letters[place] = str(kinds[n // 4 % len(kinds)])
    return "".join(letters)
