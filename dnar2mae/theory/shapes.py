"""Arrays that recur in the theory, by their axes.

d features, K targets, L mask laws, G aspect ratios, P cells: pairs of a law and an aspect ratio, solved together.
"""

import numpy as np
from jaxtyping import Float

Matrix = Float[np.ndarray, "d d"]
"""A covariance, or a map of features to features."""
Targets = Float[np.ndarray, "d K"]
"""Coefficients of each feature for each target."""
PerCell = Float[np.ndarray, " P"]
"""A number of each cell."""
PerLaw = Float[np.ndarray, "L G"]
"""A number of each law at each aspect ratio."""
