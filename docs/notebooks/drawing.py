# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Drawing and density
#
# A masked model that has seen every mask ratio is a density: it says how many bits a
# sequence takes, and sequences can be drawn from it.

# %%
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from dnar2mae import PRESETS, DataConfig, MaskConfig, pretrain
from dnar2mae.density.generate import generate
from dnar2mae.density.likelihood import likelihood
from dnar2mae.density.options import GenerateOptions, LikelihoodOptions
from dnar2mae.genome.simulate import SimulateConfig, simulate
from dnar2mae.inference import load

STEPS = int(os.environ.get("STEPS", "300"))

# %% [markdown]
# ## Train a density
#
# Ratios from 0 to 1, one for each sample, those near 0.35 more often than the extremes.

# %%
simulate(
    SimulateConfig(
        length_bp=300_000, chromosomes=1, genes_per_mb=150, repeat_share=0.05
    )
).write("genome.fa", "genome.gff3")
tiny = PRESETS["tiny"]()
config = replace(
    tiny,
    data=DataConfig(genomes=("genome.fa",), window_bp=256),
    mask=MaskConfig(
        law="beta",
        a=1.5,
        b=2.5,
        low=0.0,
        high=1.0,
        per="sample",
        replace=(1.0, 0.0, 0.0),
    ),
    model=replace(tiny.model, width=64, mlp_width=96, depth=4),
    steps=STEPS,
    validate_every=max(STEPS // 5, 1),
    validation_windows=64,
)
result = pretrain(config, "run")

curve = dict(
    sorted(
        {
            float(ratio): loss
            for ratio, loss in (result.curve | result.bound["curve"]).items()
        }.items()
    )
)
figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
axes.plot(list(curve), list(curve.values()), "o-")
axes.axhline(
    result.bound["value"],
    color="0.6",
    ls="--",
    label=f"bound: {result.bound['value']:.3f}",
)
axes.set(
    xlabel="mask ratio",
    ylabel=result.unit,
    title="The area under this curve bounds the model's bits per base",
)
axes.legend()

# %% [markdown]
# ## Bits, base by base
#
# From left to right, each base given those before it: exact for that order. Where a
# track is low the model knew what came.

# %%
trained = load("run", device="cpu")
bits = likelihood(trained, LikelihoodOptions(num_windows=4, bound=4))
print("\n".join(bits.lines()))

window = bits.track.iloc[:256]
smooth = np.convolve(window["bits"], np.ones(9) / 9, "same")
figure, axes = plt.subplots(figsize=(10, 2.5), layout="constrained")
axes.plot(window["start"], window["bits"], ".", ms=3, color="0.7")
axes.plot(window["start"], smooth)
axes.set(xlabel=f"position on {window['name'].iloc[0]}", ylabel="bits")

# %% [markdown]
# ## Draw
#
# Bases are unmasked in a random order, some at each step. The seed decides every draw.
# How far drawn sequences are from the genome shows in their words of three bases: the
# closer to the diagonal, the better.

# %%
drawn = [
    sequence.text
    for sequence in generate(trained, GenerateOptions(num=20, length_bp=200, steps=40))
]
print(drawn[0])

real = "".join(Path("genome.fa").read_text().upper().splitlines()[1:])


def spectrum(texts: list[str]) -> dict[str, float]:
    """Return the share of every word of three bases."""
    counts = Counter(text[i : i + 3] for text in texts for i in range(len(text) - 2))
    known = {word: count for word, count in counts.items() if set(word) <= set("ACGT")}
    return {word: count / sum(known.values()) for word, count in known.items()}


of_genome, of_drawn = spectrum([real]), spectrum(drawn)
figure, axes = plt.subplots(figsize=(4.5, 4), layout="constrained")
axes.plot(list(of_genome.values()), [of_drawn.get(word, 0) for word in of_genome], ".")
axes.axline((0, 0), slope=1, color="0.7")
axes.set(
    xlabel="share in the genome",
    ylabel="share in drawn sequences",
    title="words of three bases",
)

# %% [markdown]
# `dnar2mae generate --report` compares with held-out DNA and with a Markov model, up to
# words of eight: [drawing](../tutorials/drawing.md). Why all this holds: [a masked
# model as a density](../density.md).
