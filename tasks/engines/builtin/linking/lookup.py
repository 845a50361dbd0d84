"""Finding detections near a place at a time, and whether the place was observed at all."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.kernels import kernel

IndexArray = NDArray[np.int32]

Records = Any
"""An array of `buckets.DETECTION` or `SLOT`: kernels read its fields as attributes, which numpy's types do not know."""

COARSE = 6
"""Fine cells along a side of a coarse one. A fine cell holds half a detection on average, so a coarse one that was
observed holds 18, and is empty by chance once in ten million."""


@kernel
def was_observed(slots: Records, observed: NDArray[np.uint8], slot: int, x: float, y: float) -> bool:
    """Return whether the slot has any detection in the coarse cell about the place, deg."""
    grid = slots[slot]
    a, b = (x - grid.grid_x) * grid.cells_per_deg, (y - grid.grid_y) * grid.cells_per_deg
    if not (0.0 <= a < grid.columns and 0.0 <= b < grid.rows):
        return False
    cell = grid.first_coarse + int(b) // COARSE * grid.coarse_columns + int(a) // COARSE
    return bool(observed[cell] == 1)


@kernel
def cells_between(
    slots: Records, slot: int, x: float, y: float, half_x: float, half_y: float
) -> tuple[int, int, int, int]:
    """Return first and last column, first and last row of the slot's cells that a box meets; empty: last < first."""
    grid = slots[slot]
    scale = grid.cells_per_deg
    left, right = (x - half_x - grid.grid_x) * scale, (x + half_x - grid.grid_x) * scale
    bottom, top = (y - half_y - grid.grid_y) * scale, (y + half_y - grid.grid_y) * scale
    # Written so that a box with nan misses as well.
    if not (left < grid.columns and right >= 0.0 and bottom < grid.rows and top >= 0.0):
        return 0, -1, 0, -1
    return (
        int(max(left, 0.0)),
        int(min(right, grid.columns - 1.0)),
        int(max(bottom, 0.0)),
        int(min(top, grid.rows - 1.0)),
    )


@kernel
def row_of_cells(
    slots: Records, cell_start: IndexArray, slot: int, row: int, first_column: int, last_column: int
) -> tuple[int, int]:
    """Return the range of detections in neighbouring cells of one row: they lie side by side in memory."""
    cell = slots[slot].first_cell + row * slots[slot].columns
    return cell_start[cell + first_column], cell_start[cell + last_column + 1]
