"""The declared figures, by name: add one to a module here, its marker to a page, and run ``make figures``."""

from dnar2mae.benchmarks.figures.figure import Figure, Listing
from dnar2mae.benchmarks.figures.tables import (
    counts,
    density,
    finetune,
    grid,
    homology,
    modalities,
    probes,
    runs,
    scaling,
    speed,
    stability,
    theory,
    tracks,
    variants,
)

LISTINGS: dict[str, Listing] = {
    listing.name: listing
    for listing in (
        Listing(
            name="results",
            figures=(
                *runs.LINES,
                *counts.LINES,
                *variants.LINES,
                *probes.LINES,
                *modalities.LINES,
                *speed.CPU_LINES,
                *speed.GPU_LINES,
                *stability.LINES,
            ),
        ),
        variants.SETS,
        variants.SPEED,
    )
}
"""Tables with a line for each of several figures."""

_ALONE = (
    *counts.TABLES,
    *runs.TABLES,
    *variants.TABLES,
    *probes.TABLES,
    *modalities.TABLES,
    *scaling.TABLES,
    *density.TABLES,
    *finetune.TABLES,
    *grid.TABLES,
    *homology.TABLES,
    *speed.TABLES,
    *stability.TABLES,
    *theory.TABLES,
    *tracks.TABLES,
)

FIGURES: dict[str, Figure] = {
    figure.name: figure for figure in (*_ALONE, *(line for listing in LISTINGS.values() for line in listing.figures))
}
"""All figures, those of listings too."""
