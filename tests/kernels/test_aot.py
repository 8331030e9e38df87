"""Every kernel must compile for the GPUs we support; no GPU is needed for that."""

import itertools
import re

import pytest

from dnar2mae.kernels.row_sum.triton import ONE_HOT_ROWS, product_tile
from tests.kernels.cases import run_compiled

pytestmark = pytest.mark.long

DRAW = {"seed": "i64", "low": "i64", "span": "i64", "ANCHOR_STRIDE": 1}
ONE, SEVERAL = {"table": None, "NUM_INTERVALS": 1}, {"table": "*i64", "NUM_INTERVALS": 3}
REPLACE = {
    "mask_below": "i64",
    "random_below": "i64",
    "mask_id": "i32",
    "first_real": "i32",
    "num_real": "i32",
}
SIZES = {"vocabulary": "i32", "length": "i32", "width": "i32"}
TILE = {"BLOCK_T": 128, "BLOCK_D": 64}
BATCH = {"tokens": "*i64", "maskable": "*i1", "sample_ids": "*i64", "out": "*bf16", "predicted": "*i1"}
EMBED = {"weight": "*bf16", **BATCH, **SIZES, **DRAW, **ONE, **REPLACE, "EMBED": True, **TILE}
ONE_HOT = {
    **{"ids": "*i32", "values": "*bf16", "partial": "*fp32", "num_values": "i32", "width": "i32"},
    **{"num_rows": "i32", "chunk_rows": "i32", "WIDEN": False, "ROWS": 16, "BLOCK_N": 64, "BLOCK_D": 64},
}
RUNS = {
    **{"values": "*bf16", "order": "*i64", "starts": "*i64", "sums": "*fp32", "width": "i32"},
    **{"BLOCK_N": 16, "BLOCK_D": 256},
}
RANK = {
    **{"valid": "*i1", "maskable": "*i1", "sample_ids": "*i64", "rank": "*i32", "predicted": "*i1"},
    **{"lengths": "*i32", "length": "i32", **DRAW, **ONE, "BLOCK_T": 512},
}
ROWS = {
    **{"weight": "*bf16", "tokens": "*i64", "rank": "*i32", "cu_seqlens": "*i32", "embedded": "*bf16"},
    **{"index": "*i64", "ids": "*i32", **SIZES, "batch": "i32", "num_rows": "i32", **TILE},
}
KERNELS = {
    "masked_embedding": ("_masked_embedding_kernel", EMBED),
    "masked_embedding spans": ("_masked_embedding_kernel", {**EMBED, **SEVERAL, "ANCHOR_STRIDE": 6}),
    "masked_embedding small": (
        "_masked_embedding_kernel",
        {**EMBED, "tokens": "*u8", "weight": "*fp64", "out": "*fp64", "BLOCK_D": 8},
    ),
    "masked_embedding ids": (
        "_masked_embedding_kernel",
        {**EMBED, "weight": None, "predicted": None, "out": "*i32", "EMBED": False, "BLOCK_D": 1},
    ),
    "row_sum one-hot": ("_one_hot_kernel", ONE_HOT),
    "row_sum one-hot fp32": ("_one_hot_kernel", {**ONE_HOT, "values": "*fp32", "BLOCK_N": 32, "BLOCK_D": 32}),
    "row_sum one-hot widest": ("_one_hot_kernel", {**ONE_HOT, "ROWS": 64}),
    "row_sum runs": ("_run_sum_kernel", RUNS),
    "row_sum runs fp64": ("_run_sum_kernel", {**RUNS, "values": "*fp64", "sums": "*fp64"}),
    "row_sum second": ("_run_sum_kernel", {**RUNS, "values": "*fp32", "order": None}),
    "visible_gather rank": ("_visible_rank_kernel", RANK),
    "visible_gather rank spans": ("_visible_rank_kernel", {**RANK, **SEVERAL, "ANCHOR_STRIDE": 6}),
    "visible_gather rows": ("_visible_rows_kernel", ROWS),
    "visible_gather rows fp32": (
        "_visible_rows_kernel",
        {**ROWS, "weight": "*fp32", "embedded": "*fp32", "BLOCK_D": 32},
    ),
}
SCRIPT = """
import importlib.util
if importlib.util.find_spec("beartype"):
    from jaxtyping import install_import_hook
    install_import_hook("dnar2mae", "beartype.beartype")
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

def build(module, name, types, capability):
    kernel = getattr(importlib.import_module(f"dnar2mae.kernels.{module}.triton"), name)
    const = {key: value for key, value in types.items() if not isinstance(value, str)}
    signature = {key: "constexpr" if key in const else types[key] for key in kernel.arg_names}
    aligned = [i for i, key in enumerate(kernel.arg_names) if signature[key][0] == "*" or key == "width"]
    attrs = {(i,): [["tt.divisibility", 16]] for i in aligned}
    source = ASTSource(fn=kernel, signature=signature, constexprs=const, attrs=attrs)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32))
"""


def test_kernels_compile_for_ampere(tmp_path):
    lines = [f"build({what.split()[0]!r}, {name!r}, {types!r}, 80)" for what, (name, types) in KERNELS.items()]
    lines.append(f"print(build('masked_embedding', '_masked_embedding_kernel', {EMBED!r}, 90).asm['ptx'])")
    ptx = run_compiled("\n".join([SCRIPT, *lines]), tmp_path)
    # on Hopper: one Philox call a token (and one a sample), rows in 16-byte accesses
    assert len(re.findall(r"mul\.wide\.u32|mul\.hi\.u32|mad\.wide\.u32", ptx)) < 3 * 20
    assert len(re.findall(r"ld\.global\S*\.v4\.b32", ptx)) == 8
    assert len(re.findall(r"st\.global\S*\.v4\.b32", ptx)) == 8


SPILLS = """
import subprocess
from pathlib import Path
from triton import knobs

def stack_bytes(built, path):
    # cuobjdump rather than n_spills, which only a loaded kernel has
    Path(path).write_bytes(built.asm["cubin"])
    command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", path]
    usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return sum(int(word.split(":")[1]) for word in usage.split() if word.startswith(("STACK:", "LOCAL:")))
"""


def test_kernels_compile_for_hopper_and_spill_no_registers(tmp_path):
    kernels = dict(KERNELS)
    rows = [2**i for i in range(4, ONE_HOT_ROWS.bit_length())]
    for num_rows, (dtype, size), width in itertools.product(rows, (("bf16", 2), ("fp16", 2), ("fp32", 4)), (16, 1024)):
        block_n, block_d = product_tile(width, size)
        shape = {"values": f"*{dtype}", "ROWS": num_rows, "BLOCK_N": block_n, "BLOCK_D": block_d}
        kernels[f"row_sum one-hot {shape}"] = ("_one_hot_kernel", {**ONE_HOT, **shape})
    cubin = str(tmp_path / "cubin")
    lines = [
        f"print(stack_bytes(build({what.split()[0]!r}, {name!r}, {types!r}, 90), {cubin!r}), {what!r})"
        for what, (name, types) in kernels.items()
    ]
    found = run_compiled("\n".join([SCRIPT, SPILLS, *lines]), tmp_path).splitlines()
    assert found == [f"0 {what}" for what in kernels]
