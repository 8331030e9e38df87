"""Mask laws compared on equal budgets."""

from dnar2mae.benchmarks.figures.figure import Figure, Row, clear, markdown, pivot, where
from dnar2mae.benchmarks.figures.tables import code

_ECOLI = (
    "dnar2mae compare GCF_000005845.2_ASM584v2_genomic.fna.gz --laws uniform:0.05,0.5 fixed:0.15 "
    "uniform:0.05,0.5/sample fixed:0.275/spans:3 fixed:0.275/pmi:6 --seeds 3 --workers 2 --steps 250 "
    "--data.window-bp 256 --validation-windows 96 --validate-every 1000 --out labs/ecoli"
)
_MNIST = (
    "dnar2mae compare --modality image t10k-images-idx3-ubyte.gz --model.objective mlm --seeds 3 --workers 2 "
    "--validation-windows 250 --validate-every 1000 --optimizer.warmup-steps 20 "
    "--laws uniform:0.3,0.9 fixed:0.3 uniform:0.3,0.9/sample --model.backbone {} --out labs/{}"
)
_EXPERIMENTS = {
    "ecoli": ("ecoli", _ECOLI, code.TRANSFORMER),
    "mnist, mlp": ("mnist_mlp", _MNIST.format("mlp --steps 150", "mlp"), code.MLP),
    "mnist, cnn": ("mnist_cnn", _MNIST.format("cnn --model.depth 4 --steps 60", "cnn"), code.CNN),
}
_RATIOS = (0.05, 0.15, 0.3, 0.5, 0.7, "mean")


def _losses(rows: list[Row]) -> str:
    named = [{**row, "law": f"`{row['law']}`"} for row in rows]
    return pivot("law", "law", "at", "{value:.4f} ± {sd:.4f}", {at: str(at) for at in _RATIOS})(named)


def _differences(rows: list[Row]) -> str:
    """Show paired differences; bold only where the wider interval, that of Student's t, is clear of 0."""
    table = []
    for law, against in dict.fromkeys((row["law"], row["against"]) for row in rows):
        own = {row["at"]: row for row in rows if (row["law"], row["against"]) == (law, against)}
        mean = own["mean"]
        cells = [f"{own[at]['difference']:+.4f} [{own[at]['low']:+.4f}, {own[at]['high']:+.4f}]" for at in own]
        student = clear(f"{mean['t_low']:+.4f} to {mean['t_high']:+.4f}", mean["t_low"], mean["t_high"])
        table.append([f"`{law}`", f"`{against}`", *cells, student, f"{mean['seeds_better']} of {mean['seeds']}"])
    return markdown(["law", "against", "0.15", "0.5", "mean", "mean, Student's t", "seeds better"], table)


TABLES = tuple(
    figure
    for experiment, (name, command, backbone) in _EXPERIMENTS.items()
    for figure in (
        Figure(
            name=f"laws_{name}",
            source="laws.csv",
            choose=where(experiment=experiment),
            key=("law", "at"),
            show=_losses,
            command=command,
            files=(*code.RECIPE, *backbone, "dnar2mae/laboratory/*.py"),
        ),
        Figure(
            name=f"law_differences_{name}",
            source="law_differences.csv",
            choose=where(experiment=experiment),
            key=("law", "against", "at"),
            show=_differences,
            command=command,
            files=(*code.RECIPE, *backbone, "dnar2mae/laboratory/*.py"),
        ),
    )
)
