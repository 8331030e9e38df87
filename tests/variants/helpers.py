"""Files of variants, and the layouts of the models that score them."""

from dataclasses import replace

import numpy as np
import pandas as pd

from dnar2mae.config import ModelConfig
from dnar2mae.variants import score_variants
from dnar2mae.variants.scores import Scores

KMERS = [(1, 1), (3, 3), (3, 1), (4, 3)]
LAYOUT = ModelConfig(width=16, depth=2, heads=2, mlp_width=16)
CNN = replace(LAYOUT, backbone="cnn", depth=3)
HEADER = '##fileformat=VCFv4.2\n##INFO=<ID=CLASS,Number=1,Type=String,Description="class">\n'
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def frame(variants):
    """A table of (name, start, ref, alternatives)."""
    rows = [(name, start + 1, ref or "-", ",".join(alt or "-" for alt in alts)) for name, start, ref, alts in variants]
    return pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt"])


def score(model, genome, variants, options=None):
    """Scores of each of (name, start, ref, alternatives), all of which must be scored."""
    table = score_variants(model, frame(variants), genome, options=options)
    assert set(table["status"]) <= {"scored", "no_context"}
    columns = ["llr", "distance", "percentile"]
    return [Scores(*own.reindex(columns=columns).to_numpy(np.float32).T) for _, own in table.groupby(level=0)]


def write_vcf(path, records, header=HEADER):
    path.write_text(header + COLUMNS + "".join("\t".join(map(str, r)) + "\n" for r in records))
    return path


def record(genome, position, ref=None, alt="", info=".", name="one"):
    ref = ref or genome.fetch(name, position - 1, position)
    return (name, position, ".", ref, alt or "ACGT".replace(ref[0], "")[0], ".", ".", info)
