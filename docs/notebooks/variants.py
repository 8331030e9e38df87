# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Variants
#
# The simulated genome of this notebook is made of binding sites, one in 45 bp, of eight
# weight matrices, and which variants break one is known. Does a model find these less
# likely than the same changes elsewhere? The one here is small and stops after 300
# steps, still behind counts of bases; `dnar2mae demo --dense` trains for minutes and
# gets ahead of those on both sides.

# %%
import os
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from dnar2mae import PRESETS, DataConfig, Genome, Model, pretrain, score_variants
from dnar2mae.genome.simulate import simulate
from dnar2mae.genome.simulate.config import dense
from dnar2mae.genome.simulate.variants import planted_variants
from dnar2mae.scoring.scores import auroc
from dnar2mae.variants import mutagenesis

STEPS = int(os.environ.get("STEPS", "300"))

# %%
simulated = simulate(replace(dense(), length_bp=300_000, chromosomes=1))
simulated.write("genome.fa", "genome.gff3")
planted = planted_variants(simulated, 200)
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
print(
    f"{result.unit}: {result.held_out:.3f}; counts {min(result.yardstick.values()):.3f}"
)

# %% [markdown]
# ## Score
#
# The changed base is masked, and log p(ALT) - log p(REF) is read off, in nats, averaged
# over both strands. Of each pair one variant breaks a site and one, with the same base,
# neighbours and change, lies in none. Most of them lie in training sequence here; for a
# strict test score held-out ones.

# %%
model, genome = Model.from_pretrained("run"), Genome.open("genome.fa")
rows = [(v.chrom, v.start + 1, v.ref, v.alt) for v in planted]
variants = pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt"])
scores = score_variants(model, variants, genome)["llr"].to_numpy()
breaks = np.array([v.planted for v in planted])
area = auroc((~breaks).astype(int), np.stack([-scores, scores], 1))
print(f"AUROC {area:.3f}; {breaks.sum()} variants break a site, {(~breaks).sum()} none")

figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
bins = np.linspace(scores.min(), scores.max(), 40)
axes.hist(
    [scores[breaks], scores[~breaks]],
    bins,
    label=["break a site", "break none"],
    histtype="stepfilled",
    alpha=0.6,
)
axes.set(xlabel="log-likelihood ratio of ALT against REF (nats)", ylabel="variants")
axes.legend()

# %% [markdown]
# ## Every substitution around one site
#
# A position where the model is sure of the reference base is dark: whatever else stands
# there is unexpected.

# %%
centre = next(v.start for v in planted if v.planted)
region = mutagenesis(model, genome, ("chr1", centre - 25, centre + 25))
figure, axes = plt.subplots(figsize=(10, 2.2), layout="constrained")
limit = np.abs(region).max()
image = axes.imshow(
    region.T,
    aspect="auto",
    cmap="RdBu",
    vmin=-limit,
    vmax=limit,
    extent=(-25.5, 24.5, 3.5, -0.5),
)
axes.set(
    yticks=range(4),
    yticklabels=list("ACGT"),
    xlabel=f"position from chr1:{centre:,} (0-based)",
    ylabel="instead",
)
figure.colorbar(image, label="log-likelihood ratio (nats)")

# %% [markdown]
# `dnar2mae score-variants` does the same for VCF files and tables, and draws controls
# from any annotation: [variants](../tutorials/variants.md).
