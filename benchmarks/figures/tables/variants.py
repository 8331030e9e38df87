"""Scores of variants: controls of an annotation, published sets, speed."""

from dnar2mae.benchmarks.figures.figure import Figure, Listing, Row, clear_interval, lines, where
from dnar2mae.benchmarks.figures.tables import code
from dnar2mae.benchmarks.figures.tables.runs import HOUR

_SCORES = tuple(f"dnar2mae/variants/{name}.py" for name in ("allele_windows", "questions", "scores"))
_FILES = (
    *(f"dnar2mae/variants/{name}.py" for name in ("control_pairs", "control_sites", "count_ratios")),
    *_SCORES,
    "dnar2mae/models/partial.py",
    *code.RECIPE,
    *code.CNN,
)
_CONTROLS = (
    "dnar2mae score-variants runs/ecoli --genome GCF_000005845.2_ASM584v2_genomic.fna.gz "
    "--controls GCF_000005845.2_ASM584v2_genomic.gff.gz --out controls.csv"
)


def _with_interval(name: str, row: Row) -> str:
    interval = f" ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})" if row[f"{name}_low"] != "" else ""
    return f"{row[name]:.3f}{interval}"


def _less(row: Row) -> str:
    no_difference = row["difference_low"] == ""
    return "" if no_difference else clear_interval(row, "difference", "difference_low", "difference_high")


def _by_seed(rows: list[Row]) -> str:
    models = ", ".join(_with_interval("model", row) for row in rows)
    counts = f"{rows[0]['two_sided']:.3f} by two-sided, {rows[0]['one_sided']:.3f} by one-sided counts"
    return f"{models}; {counts}; {rows[0]['pairs']} pairs"


def _control(name: str, what: str, control: str, settings: str = "") -> Figure:
    return Figure(
        name=name,
        what=what,
        source="controls.csv",
        choose=where(genome="E. coli K-12", settings=settings, control=control),
        key=("seed",),
        show=_by_seed,
        command=_CONTROLS.replace("runs/ecoli", "runs/hour") if settings else _CONTROLS,
        files=_FILES,
    )


LINES = (
    _control(
        "stop_gained",
        "the *E. coli* model: a stop codon gained against the same change out of frame, AUROC",
        "stop_gained",
    ),
    _control("stop_gained_hour", "the same of the wider and deeper model", "stop_gained", HOUR),
    _control("start_lost", "start codons lost, AUROC; below 0.5 as counts are", "start_lost"),
)

TABLES = (
    Figure(
        name="controls",
        source="controls.csv",
        choose=where(genome="E. coli K-12", settings=""),
        key=("control", "seed"),
        show=lines(
            {
                "control": "`{control}`",
                "seed": "{seed}",
                "pairs": "{pairs}",
                "model": lambda row: _with_interval("model", row),
                "two-sided counts": lambda row: _with_interval("two_sided", row),
                "one-sided counts": lambda row: _with_interval("one_sided", row),
            }
        ),
        command=_CONTROLS,
        files=_FILES,
    ),
    Figure(
        name="dense_control",
        source="dense_control.csv",
        key=("score", "seed"),
        show=lines(
            {
                "held-out pairs": "{pairs}, seed {seed}",
                "score": "{score}",
                "AUROC": "{auroc:.3f} ({low:.3f} to {high:.3f})",
                "the model's, less this one (pairs resampled)": _less,
            }
        ),
        command="dnar2mae demo --dense --out demo-dense",
        files=(
            *_FILES,
            "dnar2mae/variants/binding_sites.py",
            "dnar2mae/variants/matrix_ratios.py",
            "dnar2mae/genome/motifs.py",
            "dnar2mae/genome/simulate/*.py",
        ),
    ),
)


def _set(name: str, beginning: str) -> Figure:
    def chosen(row: Row) -> bool:
        return str(row["what"]).startswith(beginning)

    return Figure(
        name=name,
        what={"clinvar": "ClinVar", "thousand_genomes": "1000 Genomes", "rare_common": "Rare and common"}[name],
        source="variant_sets.csv",
        choose=chosen,
        key=("what",),
        show=lambda rows: f"{rows[0]['what']}: {rows[0]['figure']}",
        command="dnar2mae score-variants runs/human --evaluate ...",
        files=(*code.RECIPE, *code.TRANSFORMER, *_SCORES, "dnar2mae/scoring/*.py"),
    )


SETS = Listing(
    name="variant_sets",
    figures=(
        _set("clinvar", "1,000 ClinVar"),
        _set("thousand_genomes", "1000 Genomes"),
        _set("rare_common", "of these, rare"),
    ),
)


def _speed(name: str, what: str, backbone: str, positions: str) -> Figure:
    return Figure(
        name=name,
        what=what,
        source="variants.csv",
        choose=where(
            what="score-variants",
            backbone=backbone,
            positions=positions,
            dtype="fp32",
            device="cpu x1",
            preset="tiny",
            window_bp=512,
        ),
        only_last_commit=True,
        show=lambda rows: f"{min(row['cpu_seconds_per_1000'] for row in rows[-2:]):.1f}",
        command="python -m dnar2mae.benchmarks.speed.bench_variants --snvs 240 --rounds 2 --whole",
        files=(
            *_SCORES,
            "dnar2mae/models/partial.py",
            *(code.CNN if backbone == "cnn" else code.TRANSFORMER),
        ),
    )


SPEED = Listing(
    name="variant_speed",
    figures=(
        _speed(
            "snvs_cnn",
            "processor seconds per 1,000 substitutions at 512 bp, both strands, fp32, the faster of two: `cnn`",
            "cnn",
            "needed",
        ),
        _speed("snvs_transformer", "`transformer`", "transformer", "needed"),
        _speed("snvs_cnn_whole", "`cnn`, computing whole windows", "cnn", "all"),
        _speed("snvs_transformer_whole", "`transformer`, computing whole windows", "transformer", "all"),
    ),
)
