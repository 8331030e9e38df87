# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Another modality
#
# The same loop, masks and yardsticks for images: the 1,797 handwritten digits of 8 x 8
# pixels that come with scikit-learn. Then the question that every pretrained model has
# to answer: do its vectors beat the raw data where labels are few?

# %%
import os
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dnar2mae import PRESETS, pretrain
from dnar2mae.inference import load
from dnar2mae.modalities.image.config import ImageConfig
from dnar2mae.modalities.registry import preset_for

STEPS = int(os.environ.get("STEPS", "300"))

# %%
digits = load_digits()
np.save("digits.npy", (digits.images * 255 / 16).astype(np.uint8))

image = preset_for("image", PRESETS["tiny"]())
config = replace(
    image,
    data=ImageConfig(paths=("digits.npy",), patch=2),
    model=replace(image.model, width=64, mlp_width=96, depth=3),
    steps=STEPS,
    validate_every=max(STEPS // 5, 1),
)
result = pretrain(config, "run")
best = min(result.yardstick, key=result.yardstick.get)
print(f"held out, {result.unit}: {result.held_out:.3f}")
print(f"the best trivial model, {best}: {result.yardstick[best]:.3f}")

# %% [markdown]
# ## What it restores
#
# Held-out digits, their visible patches at mask ratio 0.75, and the reconstruction.

# %%
figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
axes.imshow(plt.imread("run/held_out-last.png"))
axes.axis("off")

# %% [markdown]
# ## Few labels
#
# A logistic regression on the vectors and one on the pixels, both given the same
# labelled digits and tested on the second half; ten draws of the labels. Pretraining
# saw all digits, without labels. On digits this small pixels are hard to beat: more
# steps, and larger images, are where it pays.

# %%
trained = load("run", device="cpu")
vectors = trained.embed(trained.modality.read(Path("digits.npy")))
inputs = {"vectors": vectors, "pixels": digits.data}
half = len(digits.target) // 2


def accuracy(of: np.ndarray, labels: int, seed: int) -> float:
    """Return the accuracy on the second half, learned from labels of the first."""
    draw = np.random.default_rng(seed)
    classes = [np.flatnonzero(digits.target[:half] == digit) for digit in range(10)]
    rows = np.concatenate(
        [draw.choice(rows, labels, replace=False) for rows in classes]
    )
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return classifier.fit(of[rows], digits.target[rows]).score(
        of[half:], digits.target[half:]
    )


figure, axes = plt.subplots(figsize=(5.5, 3.5), layout="constrained")
for name, of in inputs.items():
    scores = np.array(
        [[accuracy(of, labels, seed) for seed in range(10)] for labels in (2, 5, 20)]
    )
    print(name, scores.mean(1).round(3))
    axes.errorbar(
        [2, 5, 20], scores.mean(1), scores.std(1), marker="o", capsize=3, label=name
    )
axes.set(
    xscale="log",
    xlabel="labels a class",
    ylabel="accuracy",
    xticks=[2, 5, 20],
    xticklabels=[2, 5, 20],
)
axes.legend()

# %% [markdown]
# `dnar2mae benchmark few-labels` does this with paired intervals, for any modality;
# what real digits, cells and texts gave is on their pages:
# [images](../modalities/image.md), [cells](../modalities/cell.md),
# [text](../modalities/text.md).
