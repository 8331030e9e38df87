"""Shapes of the tiles that the lookup kernels write."""

import triton

SEGMENT_BYTES = 128
"""One cache line of a row: then a tile has a token for each thread, and each thread draws one mask."""
TILE_BYTES = 16_384
"""Bytes that one program has in flight: eight 16-byte accesses for each thread of four warps."""


def tile(width: int, element_bytes: int) -> tuple[int, int]:
    """Return tokens and columns of a tile, both powers of two."""
    columns = min(SEGMENT_BYTES // element_bytes, triton.next_power_of_2(width))
    return min(128, TILE_BYTES // (columns * element_bytes)), columns
