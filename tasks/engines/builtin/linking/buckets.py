"""Projected detections in time slots and cells, so that a place at a time is looked up in a few memory accesses.

A slot is a part of one night; each slot has a grid of its own, sized to its density, so that memory stays a few words
per detection however the survey is spread. A coarser grid remembers where the slot observed at all.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.kernels import kernel
from tasks.engines.builtin.linking.lookup import COARSE, Records, cells_between, row_of_cells

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]
WideIndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

FEWEST_NEIGHBOURS, MOST_DOUBLINGS = 4, 4
"""Fewer neighbours than this say little of how many there are by chance: a larger square is asked, 16 sides wide at
most. What is farther from a detection has no say in how its track is sought."""

SHORTEST_SLOT_DAYS = 0.02
LONGEST_SLOT_DAYS = 0.7
"""A night is never longer."""


DETECTION = np.dtype(
    [
        #: Plane coordinates, deg; time, days from the survey's middle.
        ("x", np.float64),
        ("y", np.float64),
        ("t", np.float64),
        #: Variance of a coordinate from the observation's own uncertainty, deg^2.
        ("variance", np.float64),
        #: Row in the projected table.
        ("row", np.int32),
        #: Number of its distinct time: a track has one detection at a time.
        ("time_number", np.int32),
        ("slot", np.int32),
        #: Number of its observatory's night, and of the night of the sky.
        ("night", np.int32),
        ("sky_night", np.int32),
    ]
)

SLOT = np.dtype(
    [
        #: Middle of the slot, and half its length, days.
        ("time", np.float64),
        ("half", np.float64),
        #: Lower corner of its grid, deg; cells per deg, and their number along x and y.
        ("grid_x", np.float64),
        ("grid_y", np.float64),
        ("cells_per_deg", np.float64),
        ("columns", np.int32),
        ("rows", np.int32),
        #: Its first entry in `cell_start`; its first entry in `observed`, and the number of coarse cells along x.
        ("first_cell", np.int32),
        ("first_coarse", np.int32),
        ("coarse_columns", np.int32),
        ("night", np.int32),
    ]
)


class Buckets(NamedTuple):
    """m detections in k slots. Records, so that what belongs together is read together."""

    #: shape (m,) of DETECTION, sorted by slot, then cell.
    detections: Records
    #: shape (k,) of SLOT, ascending in time.
    slots: Records
    #: Detections of cell c are those from cell_start[c] to cell_start[c + 1].
    cell_start: IndexArray
    #: 1 where a coarse cell has a detection.
    observed: NDArray[np.uint8]


class _Grids(NamedTuple):
    x: FloatArray
    y: FloatArray
    cells_per_deg: FloatArray
    columns: IndexArray
    rows: IndexArray


def make_buckets(
    x: FloatArray,
    y: FloatArray,
    exposure: IndexArray,
    variance: FloatArray,
    *,
    exposure_time: FloatArray,
    exposure_night: IndexArray,
    exposure_sky_night: IndexArray,
    speed: float,
) -> Buckets:
    """Sort m > 0 detections into slots and cells.

    Parameters
    ----------
    x, y, exposure, variance : shape (m,)
        Places, deg; rows in the arrays of exposures; variances of a coordinate, deg^2.
    exposure_time, exposure_night, exposure_sky_night : shape (e,)
        Days; numbers of the observatories' nights, and of the sky's.
    speed
        Fastest track, deg / d: a slot is so short that a track stays among its neighbours.
    """
    used, exposure = _renumbered(exposure)
    time, night = exposure_time[used], exposure_night[used]
    _, time_number = np.unique(time, return_inverse=True)
    slot_of_exposure = _slots(time, night, _slot_days(x, y, night, speed))
    slot = slot_of_exposure[exposure]
    k = int(slot_of_exposure.max()) + 1
    grids = _grids(x, y, slot, k)
    column = ((x - grids.x[slot]) * grids.cells_per_deg[slot]).astype(np.int64)
    row = ((y - grids.y[slot]) * grids.cells_per_deg[slot]).astype(np.int64)
    # One more entry for each slot: the end of its last cell.
    first_cell = np.concatenate([[0], np.cumsum(grids.columns.astype(np.int64) * grids.rows + 1)])
    cell = first_cell[slot] + row * grids.columns[slot] + column
    order = np.argsort(cell, kind="stable")
    per_cell = np.bincount(cell, minlength=first_cell[-1])
    observed, first_coarse, coarse_columns = _observed(grids, slot, row, column)
    low, high = _extremes(time, slot_of_exposure, k)
    _, night_number = _renumbered(night)
    sky_night = exposure_sky_night[used]
    night_of_slot = np.zeros(k, dtype=np.int32)
    night_of_slot[slot_of_exposure] = night_number
    detections = _records(
        DETECTION,
        {
            "x": x[order],
            "y": y[order],
            "t": time[exposure[order]],
            "variance": variance[order],
            "row": order,
            "time_number": time_number[exposure[order]],
            "slot": slot[order],
            "night": night_number[exposure[order]],
            "sky_night": sky_night[exposure[order]],
        },
    )
    slots = _records(
        SLOT,
        {
            "time": 0.5 * (low + high),
            "half": 0.5 * (high - low),
            **{f"grid_{name}" if name in "xy" else name: values for name, values in grids._asdict().items()},
            "first_cell": first_cell[:-1],
            "first_coarse": first_coarse,
            "coarse_columns": coarse_columns,
            "night": night_of_slot,
        },
    )
    return Buckets(detections, slots, (np.cumsum(per_cell) - per_cell).astype(np.int32), observed)


def density_about_each(buckets: Buckets, side: float) -> FloatArray:
    """Return the neighbours per square degree of each detection in its slot, shape (m,); at least one is counted.

    They are counted in a square about it of that side, deg: what the fastest track crosses. (In the cell of a known
    orbit there may be nothing but one object, and how near its detections are to each other says nothing of chance.)
    Where there are too few, in a square of twice the side, and so on.
    """
    density = np.empty(len(buckets.detections))
    _count_neighbours(buckets.detections, buckets.slots, buckets.cell_start, side, density)
    return density


@kernel
def _count_neighbours(
    detections: Records, slots: Records, cell_start: IndexArray, smallest_side: float, density: FloatArray
) -> None:
    for i in range(len(detections)):
        point = detections[i]
        side = 0.5 * smallest_side
        found = 0
        for _ in range(MOST_DOUBLINGS + 1):
            side *= 2.0
            half = 0.5 * side
            found = -1
            left, right, bottom, top = cells_between(slots, point.slot, point.x, point.y, half, half)
            for row in range(bottom, top + 1):
                start, end = row_of_cells(slots, cell_start, point.slot, row, left, right)
                for k in range(start, end):
                    found += abs(detections[k].x - point.x) <= half and abs(detections[k].y - point.y) <= half
            if found >= FEWEST_NEIGHBOURS:
                break
        density[i] = max(found, 1) / (side * side)


def are_revisited(buckets: Buckets, side: float, days: float) -> BoolArray:
    """Return for which detections the sky about them was observed at two times of the night, so many days apart.

    The sky about a detection is a square of that side, deg, of a fixed grid; shape (m,).
    """
    detections = buckets.detections
    night = detections["night"].astype(np.int64)
    column, row = (np.floor(detections[axis] / side).astype(np.int64) for axis in ("x", "y"))
    column, row = column - column.min(), row - row.min()
    _, cell = np.unique((night * (row.max() + 1) + row) * (column.max() + 1) + column, return_inverse=True)
    earliest, latest = _extremes(detections["t"], cell, int(cell.max()) + 1)
    revisited: BoolArray = (latest - earliest)[cell] >= days
    return revisited


def _records(dtype: np.dtype[np.void], columns: Mapping[str, NDArray[Any]]) -> NDArray[np.void]:
    records = np.empty(len(next(iter(columns.values()))), dtype=dtype)
    for name, values in columns.items():
        records[name] = values
    return records


def _renumbered(numbers: IndexArray) -> tuple[WideIndexArray, IndexArray]:
    """Return the numbers in use, ascending, and each number's place among them."""
    in_use = np.zeros(int(numbers.max()) + 1, dtype=bool)
    in_use[numbers] = True
    place = (np.cumsum(in_use) - 1).astype(np.int32)
    return np.flatnonzero(in_use), place[numbers]


def _slot_days(x: FloatArray, y: FloatArray, night: IndexArray, speed: float) -> float:
    """Length in which the fastest track passes about as far as detections of a night are apart."""
    per_night = len(x) / len(np.unique(night))
    spacing = np.sqrt(max(float(np.ptp(x)) * float(np.ptp(y)), 1e-12) / per_night)
    return float(np.clip(spacing / speed, SHORTEST_SLOT_DAYS, LONGEST_SLOT_DAYS))


def _slots(time: FloatArray, night: IndexArray, slot_days: float) -> WideIndexArray:
    """Give each exposure its slot's number, ascending in time: nights, cut where they are longer than a slot."""
    nights, number = np.unique(night, return_inverse=True)
    start = np.full(len(nights), np.inf)
    np.minimum.at(start, number, time)
    part = ((time - start[number]) / slot_days).astype(np.int64)
    _, slot = np.unique(number * (int(part.max()) + 1) + part, return_inverse=True)
    # Slots of two observatories may overlap; they are put in order of their middles.
    low, high = _extremes(time, slot, int(slot.max()) + 1)
    rank: WideIndexArray = np.argsort(np.argsort(low + high, kind="stable"))
    return rank[slot]


def _extremes(values: FloatArray, group: WideIndexArray, k: int) -> tuple[FloatArray, FloatArray]:
    low, high = np.full(k, np.inf), np.full(k, -np.inf)
    np.minimum.at(low, group, values)
    np.maximum.at(high, group, values)
    return low, high


def _grids(x: FloatArray, y: FloatArray, slot: WideIndexArray, k: int) -> _Grids:
    """Lay a grid over each slot's detections, with twice as many cells as it has detections."""
    counts = np.bincount(slot, minlength=k)
    low_x, high_x = _extremes(x, slot, k)
    low_y, high_y = _extremes(y, slot, k)
    # A slot may be a point or a line: a side is at least a thousandth of a degree.
    width, height = np.maximum(high_x - low_x, 1e-3), np.maximum(high_y - low_y, 1e-3)
    cell = np.sqrt(width * height / (2.0 * counts))
    cell = np.maximum(cell, np.maximum(width, height) / (4.0 * counts))
    columns, rows = (width / cell).astype(np.int32) + 1, (height / cell).astype(np.int32) + 1
    return _Grids(low_x, low_y, 1.0 / cell, columns, rows)


def _observed(
    grids: _Grids, slot: WideIndexArray, row: WideIndexArray, column: WideIndexArray
) -> tuple[NDArray[np.uint8], IndexArray, IndexArray]:
    coarse_columns = (grids.columns - 1) // COARSE + 1
    coarse_rows = (grids.rows - 1) // COARSE + 1
    first = np.concatenate([[0], np.cumsum(coarse_columns.astype(np.int64) * coarse_rows)])
    observed = np.zeros(first[-1], dtype=np.uint8)
    observed[first[slot] + row // COARSE * coarse_columns[slot] + column // COARSE] = 1
    return observed, first[:-1].astype(np.int32), coarse_columns.astype(np.int32)
