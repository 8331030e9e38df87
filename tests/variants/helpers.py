"""Files of variants, and the layouts of the models that score them."""

from dataclasses import replace

from dnar2mae.config import ModelConfig

KMERS = [(1, 1), (3, 3), (3, 1), (4, 3)]
LAYOUT = ModelConfig(width=16, depth=2, heads=2, mlp_width=16)
CNN = replace(LAYOUT, backbone="cnn", depth=3)
HEADER = '##fileformat=VCFv4.2\n##INFO=<ID=CLASS,Number=1,Type=String,Description="class">\n'
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def write_vcf(path, records, header=HEADER):
    path.write_text(header + COLUMNS + "".join("\t".join(map(str, r)) + "\n" for r in records))
    return path


def record(genome, position, ref=None, alt="", info=".", name="one"):
    ref = ref or genome.fetch(name, position - 1, position)
    return (name, position, ".", ref, alt or "ACGT".replace(ref[0], "")[0], ".", ".", info)
