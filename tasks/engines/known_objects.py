"""Which recovered objects are known: for each the orbit of a catalogue that passes nearest to its detections.

A sieve of three meshes, since a catalogue may have a million orbits: two bodies and a wide radius; the full force model
once for what is left, and a narrow radius; the full force model at the times of the detections.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tasks.engines.builtin.astrodynamics.constants import SPEED_OF_LIGHT
from tasks.engines.builtin.astrodynamics.frames import sky_basis
from tasks.engines.builtin.astrodynamics.n_body import propagate
from tasks.engines.builtin.astrodynamics.observers import observer_states, positions_of_table
from tasks.engines.builtin.astrodynamics.two_body import positions_of_many

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SAMPLE = 8
"""Detections of an object that are compared, spread evenly over its arc."""

WINDOW_DAYS = 60.0
"""Objects whose arcs have middles in one such window share the catalogue's states."""

SLOT_DAYS = 0.25
"""Objects whose middles lie in one such slot are compared with one prediction of the catalogue."""

WIDE_DEG, WIDE_DEG_PER_YEAR = 1.0, 1.5
"""Two bodies lead this far astray: near the epoch (with the motion in a slot), and for each year from it."""

NARROW_DEG = 0.5
"""The same with the full force model: the motion in a slot, two bodies within the window, and a catalogue's error."""

CLOSE_DEG = 0.5
"""Both radii grow by this times (1 au / distance from the observer - 1) for orbits that are nearer than 1 au: they move
fast, degrees in a slot at 0.05 au, and a small error of their place is a large angle."""

ARCSEC_PER_RAD = 180.0 * 3600.0 / np.pi


@dataclass(frozen=True)
class _Sample:
    """Detections to compare, in the order of their objects."""

    owner: IntArray
    mjd_tdb: FloatArray
    #: shape (n, 3): heliocentric ecliptic J2000, au; and unit vectors toward the detections.
    observer: FloatArray
    toward: FloatArray


def nearest_known(members: pa.Table, catalogue: pa.Table) -> dict[int, tuple[str, float]]:
    """Return for each object the nearest orbit of the catalogue and the RMS distance from its detections, arcsec.

    Parameters
    ----------
    members
        `orbit_index`, `mjd_utc`, `RA_deg`, `Dec_deg`, `observatory_code` of detections in use, without nulls;
        and those of `tables.OBSERVER_POSITION`, if any observer moves.
    catalogue
        Rows of `tables.TEST_ORBITS`, at any epochs.

    Returns
    -------
    nearest
        By `orbit_index`. An object without any orbit near enough (`NARROW_DEG`) is not in it.
    """
    if len(members) == 0 or len(catalogue) == 0:
        return {}
    sample = _sampled(members)
    states = np.column_stack([catalogue[name].to_numpy() for name in ("x", "y", "z", "vx", "vy", "vz")])
    epochs = catalogue["epoch"].to_numpy()
    objects, first, size = np.unique(sample.owner, return_index=True, return_counts=True)
    middle = first + size // 2
    window = np.floor(sample.mjd_tdb[middle] / WINDOW_DAYS)
    nearest: dict[int, tuple[str, float]] = {}
    for each in np.unique(window):
        own = np.flatnonzero(window == each)
        when = float(sample.mjd_tdb[middle[own]].mean())
        kept = np.flatnonzero(_near(states, epochs, sample, middle[own]))
        moved = _moved(states[kept], epochs[kept], when)
        for row, candidates in _candidates(moved, when, sample, middle[own]).items():
            number = own[row]
            rows = np.arange(first[number], first[number] + size[number])
            distances = _rms_arcsec(moved[candidates], when, sample, rows)
            if np.isfinite(distances).any():
                best = int(np.nanargmin(distances))
                name = catalogue["orbit_id"][int(kept[candidates[best]])].as_py()
                nearest[int(objects[number])] = (name, float(distances[best]))
    return nearest


def _sampled(members: pa.Table) -> _Sample:
    owner, mjd_utc = members["orbit_index"].to_numpy().astype(np.int64), members["mjd_utc"].to_numpy()
    order = np.lexsort((mjd_utc, owner))
    count = np.bincount(owner)
    place = np.arange(len(order)) - (np.cumsum(count) - count)[owner[order]]
    # Every nth, first and last included.
    share = np.minimum(SAMPLE, count[owner[order]])
    step = np.maximum(count[owner[order]] - 1, 1) / np.maximum(share - 1, 1)
    chosen = order[np.floor(place / step + 1e-9) != np.floor((place - 1) / step + 1e-9)]
    picked = members.take(pa.array(chosen))
    ra, dec = picked["RA_deg"].to_numpy(), picked["Dec_deg"].to_numpy()
    toward, east, north = (np.empty((len(chosen), 3)) for _ in range(3))
    sky_basis(ra, dec, toward, east, north)
    codes = picked["observatory_code"].combine_chunks().dictionary_encode()
    pairs = np.column_stack([codes.indices.to_numpy(), picked["mjd_utc"].to_numpy()])
    distinct, rows = np.unique(pairs, axis=0, return_inverse=True)
    positions = positions_of_table(picked)
    if positions is not None:
        _, first = np.unique(rows, return_index=True)
        positions = positions[first]
    names = codes.dictionary.take(pa.array(distinct[:, 0].astype(np.int64)))
    observers = observer_states(names, distinct[:, 1], positions)
    return _Sample(owner[chosen], observers.mjd_tdb[rows], observers.position[rows], toward)


def _near(states: FloatArray, epochs: FloatArray, sample: _Sample, middle: IntArray) -> BoolArray:
    """Return which orbits come, by two bodies, near any of the objects at its middle detection."""
    near = np.zeros(len(states), bool)
    for slot in _slots(sample, middle):
        when, observer = sample.mjd_tdb[slot].mean(), sample.observer[slot].mean(axis=0)
        toward = np.empty((len(states), 3))
        for epoch in np.unique(epochs):
            rows = epochs == epoch
            toward[rows] = positions_of_many(states[rows], np.array([when - epoch]))[:, 0] - observer
        distance = np.linalg.norm(toward, axis=1)
        chord, _ = cKDTree(sample.toward[slot]).query(np.nan_to_num(toward / distance[:, None]))
        astray = WIDE_DEG_PER_YEAR * np.abs(when - epochs) / 365.25
        near |= chord <= _chord(WIDE_DEG + astray * np.maximum(1.0 / distance, 1.0), distance)
    return near


def _moved(states: FloatArray, epochs: FloatArray, when: float) -> FloatArray:
    """Return the states at one time, by the full force model; nan for those that it cannot take there."""
    moved = np.empty_like(states)
    for epoch in np.unique(epochs):
        rows = epochs == epoch
        moved[rows] = propagate(states[rows], float(epoch), np.array([when]))[:, 0]
    return moved


def _candidates(moved: FloatArray, when: float, sample: _Sample, middle: IntArray) -> dict[int, IntArray]:
    """Return for each object, by its place in `middle`, the rows of `moved` that are near its middle detection."""
    orbits_of_object: dict[int, list[int]] = defaultdict(list)
    usable = np.flatnonzero(np.isfinite(moved).all(axis=1))
    if len(usable) == 0:
        return {}
    place = {row: number for number, row in enumerate(middle.tolist())}
    for slot in _slots(sample, middle):
        toward = positions_of_many(moved[usable], np.array([sample.mjd_tdb[slot].mean() - when]))[:, 0]
        toward = toward - sample.observer[slot].mean(axis=0)
        distance = np.linalg.norm(toward, axis=1)
        toward, radius = toward / distance[:, None], _chord(NARROW_DEG, distance)
        tree = cKDTree(sample.toward[slot])
        near = np.flatnonzero(tree.query(toward)[0] <= radius)
        for orbit, rows in zip(usable[near].tolist(), tree.query_ball_point(toward[near], radius[near]), strict=True):
            for row in rows:
                orbits_of_object[place[int(slot[row])]].append(orbit)
    return {number: np.array(orbits) for number, orbits in orbits_of_object.items()}


def _chord(radius_deg: FloatArray | float, distance: FloatArray) -> FloatArray:
    """Return the chord of a radius about each orbit's place, larger where it is near; `distance` in au."""
    widened = radius_deg + CLOSE_DEG * np.maximum(1.0 / distance - 1.0, 0.0)
    chord: FloatArray = 2.0 * np.sin(np.radians(np.minimum(widened, 180.0)) / 2.0)
    return chord


def _slots(sample: _Sample, middle: IntArray) -> list[IntArray]:
    """Return the middle detections by slot of time."""
    number = np.floor(sample.mjd_tdb[middle] / SLOT_DAYS)
    return [middle[number == each] for each in np.unique(number)]


def _rms_arcsec(moved: FloatArray, when: float, sample: _Sample, rows: IntArray) -> FloatArray:
    """Return the RMS distance of each orbit's predictions from these detections, light time included, arcsec."""
    states = propagate(moved, when, sample.mjd_tdb[rows])
    path = states[..., :3] - sample.observer[rows]
    delay = np.linalg.norm(path, axis=2, keepdims=True) / SPEED_OF_LIGHT
    path = path - states[..., 3:] * delay
    toward = path / np.linalg.norm(path, axis=2, keepdims=True)
    chord = np.linalg.norm(toward - sample.toward[rows], axis=2)
    angle = 2.0 * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0)) * ARCSEC_PER_RAD
    rms: FloatArray = np.sqrt((angle**2).mean(axis=1))
    return rms
