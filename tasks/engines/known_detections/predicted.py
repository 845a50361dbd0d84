"""Orbits of a catalogue brought to the survey by the full force model, with what is known of their uncertainty."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN, SPEED_OF_LIGHT
from tasks.engines.builtin.astrodynamics.n_body import propagate
from tasks.engines.builtin.astrodynamics.two_body import propagate_two_body_partials
from tasks.engines.builtin.fitting.n_body_shifts import Shifts, n_body_shifts
from tasks.engines.known_detections.near import STATES, states_of
from tasks.engines.known_detections.tables import KNOWN_ORBITS
from tasks.engines.orbit_catalogue import covariances_from_table

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

RAD_PER_ARCSEC = np.pi / 180.0 / 3600.0
DAYS_PER_DECADE = 3652.5
SHIFT_TIMES = 10
"""Times at which the n-body shifts of a window of weeks are computed: as the fits have them."""


@dataclass(frozen=True)
class KnownOrbits:
    """c orbits at one epoch, within the survey."""

    #: Rows of `KNOWN_ORBITS`, the states being those at `epoch`.
    table: pa.Table
    epoch: float
    #: shape (c, 6), and n-body minus 2-body positions over the survey.
    states: FloatArray
    shifts: Shifts
    #: shape (c, 6, 6): of the states; zeros where nothing is known.
    covariances: FloatArray
    #: shape (c, 6): 1-sigma change of the state along the line on which the orbit is known worst.
    lines: FloatArray

    def __len__(self) -> int:
        """Return the number of orbits."""
        return len(self.states)


def known_orbits(near: pa.Table, first_mjd_tdb: float, last_mjd_tdb: float) -> KnownOrbits:
    """Bring orbits (rows of `KNOWN_ORBITS`, at any epochs) to the middle of a span of time.

    Those that the force model cannot take there are left out.
    """
    middle = 0.5 * (first_mjd_tdb + last_mjd_tdb)
    states, epochs = states_of(near), near["epoch"].to_numpy()
    moved = _moved(states, epochs, middle)
    usable = np.flatnonzero(np.isfinite(moved).all(axis=1))
    table, moved = near.take(pa.array(usable)), np.ascontiguousarray(moved[usable])
    covariances, lines = _uncertainties(table, states[usable], epochs[usable], moved, middle)
    for axis, name in enumerate(STATES):
        place = table.column_names.index(name)
        table = table.set_column(place, KNOWN_ORBITS.field(name), pa.array(moved[:, axis]))
    place = table.column_names.index("epoch")
    table = table.set_column(place, KNOWN_ORBITS.field("epoch"), pa.array(np.full(len(moved), middle)))
    # Light left earlier than it came.
    farthest = np.linalg.norm(moved[:, :3], axis=1) + 2.0
    count = len(moved)
    low = np.full(count, first_mjd_tdb) - farthest.max(initial=2.0) / SPEED_OF_LIGHT
    shifts = n_body_shifts(
        moved, np.full(count, middle), low, np.full(count, last_mjd_tdb + 1e-3), "n-body", SHIFT_TIMES
    )
    return KnownOrbits(table, middle, moved, shifts, covariances, lines)


def _moved(states: FloatArray, epochs: FloatArray, when: float) -> FloatArray:
    """Return the states at one time, by the full force model; nan for those that it cannot take there."""
    moved = np.empty_like(states)
    order = np.argsort(epochs, kind="stable")
    ends = np.flatnonzero(np.diff(epochs[order], append=np.inf)) + 1
    for rows in np.split(order, ends[:-1]) if len(order) else []:
        moved[rows] = propagate(states[rows], float(epochs[rows[0]]), np.array([when]))[:, 0]
    return moved


def _uncertainties(
    table: pa.Table, before: FloatArray, epochs: FloatArray, moved: FloatArray, middle: float
) -> tuple[FloatArray, FloatArray]:
    """Return covariances and lines at the middle, of a covariance at the epoch or else of a runoff."""
    lines = _runoff_lines(table, moved, middle)
    covariances = lines[:, :, None] * lines[:, None, :]
    given = np.flatnonzero(table["covariance"].combine_chunks().is_valid().to_numpy(zero_copy_only=False))
    if len(given):
        own = covariances_from_table(table.take(pa.array(given)))
        for row, covariance in zip(given.tolist(), own, strict=True):
            _, transition = propagate_two_body_partials(before[row], np.array([middle - epochs[row]]))
            covariances[row] = transition[0] @ covariance @ transition[0].T
        lines[given] = _principal_axes(covariances[given])
    return covariances, lines


def _runoff_lines(table: pa.Table, states: FloatArray, when: float) -> FloatArray:
    """Return by how much a state changes with 1 sigma of the longitude in the orbit, shape (c, 6); zeros: not known."""
    runoff = table["runoff"].to_numpy()
    last = table["last_observed"].to_numpy()
    decades = np.abs(when - np.where(np.isfinite(last), last, table["epoch"].to_numpy())) / DAYS_PER_DECADE
    angle = np.nan_to_num(runoff * decades) * RAD_PER_ARCSEC
    r, v = states[:, :3], states[:, 3:]
    distance = np.linalg.norm(r, axis=1)
    days = angle * distance / np.linalg.norm(v, axis=1)
    pull = -MU_SUN * r / distance[:, None] ** 3
    line: FloatArray = np.hstack([v, pull]) * days[:, None]
    return line


def _principal_axes(covariances: FloatArray) -> FloatArray:
    """Return the longest axis of each ellipsoid, 1 sigma, its axes being measured in sigmas of positions and speeds."""
    scale = np.ones((len(covariances), 6))
    for part in (slice(0, 3), slice(3, 6)):
        trace = np.einsum("cii->c", covariances[:, part, part])
        scale[:, part] = np.sqrt(np.where(trace > 0.0, trace, 1.0))[:, None]
    scaled = covariances / scale[:, :, None] / scale[:, None, :]
    values, vectors = np.linalg.eigh(0.5 * (scaled + scaled.transpose(0, 2, 1)))
    axes: FloatArray = vectors[:, :, -1] * np.sqrt(np.maximum(values[:, -1], 0.0))[:, None] * scale
    return axes
