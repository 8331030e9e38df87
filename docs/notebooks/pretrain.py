# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Pretrain, and look at a run
#
# A genome of 400 kb is simulated, a small model pretrained on it for under a minute of
# one CPU core, and what it has learned is compared with counts. With a genome of your
# own, put its path in place of `genome.fa` and leave out the settings of the model:
# those of the preset suit it better.

# %%
import os
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from dnar2mae import PRESETS, DataConfig, Model, pretrain
from dnar2mae.genome.simulate import SimulateConfig, simulate
from dnar2mae.run.metrics import read_metrics
from dnar2mae.run.result import verdicts

STEPS = int(os.environ.get("STEPS", "300"))

# %%
simulate(
    SimulateConfig(
        length_bp=400_000, chromosomes=2, genes_per_mb=150, repeat_share=0.05
    )
).write("genome.fa", "genome.gff3")
tiny = PRESETS["tiny"]()
config = replace(
    tiny,
    data=DataConfig(genomes=("genome.fa",), window_bp=256),
    model=replace(tiny.model, width=64, mlp_width=96, depth=4),
    steps=STEPS,
    validate_every=max(STEPS // 5, 1),
    validation_windows=64,
)
result = pretrain(config, "run")

# %% [markdown]
# ## Has it learned anything?
#
# Bits per base on held-out bases that were masked; 2 is a guess among four. The two
# best families of counts stand beside the model, scored at the same masked bases. A
# model that is not below both has learned no more than counts.

# %%
held_out = {
    "untrained": result.untrained,
    **{name: result.yardstick[name] for name in result.margin},
}
held_out["this model"] = result.held_out
print(pd.Series(held_out, name=result.unit).round(4).to_string())
print(*verdicts(result.unit, result.margin), sep="\n")

# %%
rows = read_metrics(Path("run"))
validated = [
    (row["step"], row["held_out"]) for row in rows if row["event"] == "validation"
]
figure, (by_step, by_ratio) = plt.subplots(
    1, 2, figsize=(10, 3.5), layout="constrained"
)
by_step.plot(*zip(*validated, strict=True), "o-")
by_step.set(xlabel="step", ylabel=f"held out, {result.unit}", title="mask ratio 0.15")
for name, curve in {"this model": result.curve, **result.yardstick_curve}.items():
    by_ratio.plot(
        [float(ratio) for ratio in curve], list(curve.values()), "o-", label=name
    )
by_ratio.set(xlabel="mask ratio", title="the fewer are hidden, the easier")
by_ratio.legend()

# %% [markdown]
# ## A map of the genome
#
# A vector for every 500 bases, in its first two principal components, coloured by the
# share of coding sequence. Here the model has seen all of it but the held-out tenth,
# without the annotation.

# %%
features = pd.read_csv(
    "genome.gff3", sep="\t", comment="#", header=None, usecols=[0, 2, 3, 4]
)
features.columns = ["name", "type", "first", "last"]
sequence = "".join(Path("genome.fa").read_text().partition(">chr2")[0].splitlines()[1:])
coding = np.zeros(len(sequence))
for feature in features[
    (features["name"] == "chr1") & (features["type"] == "CDS")
].itertuples():
    coding[feature.first - 1 : feature.last] = 1

tiles = [sequence[start : start + 500] for start in range(0, len(sequence) - 499, 500)]
vectors = Model.from_pretrained("run").embed(tiles)
known = np.isfinite(vectors).all(1)
centred = vectors[known] - vectors[known].mean(0)
plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
share = coding[: len(tiles) * 500].reshape(-1, 500).mean(1)[known]

figure, axes = plt.subplots(figsize=(5.5, 4), layout="constrained")
points = axes.scatter(*plane.T, c=share, s=10, cmap="viridis")
axes.set(xlabel="component 1", ylabel="component 2", title="500-bp tiles of chr1")
figure.colorbar(points, label="share of coding bases")

# %% [markdown]
# Next: `dnar2mae embed run genome.fa --tile-bp 500 --out tiles.npy` does so for whole
# genomes, and [your annotation as a benchmark](../tutorials/own-annotation.md) puts a
# number on it.
