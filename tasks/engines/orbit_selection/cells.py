"""Cells of the phase space that objects fill, and for each the state that stands for it: a candidate test orbit.

After Moeyens et al. 2021, AJ 162, 143 (their choice of test orbits): patches of the sky, in them bins of heliocentric
distance and of velocity, and of each bin an orbit with its median distance and velocity. Here the bins are as large
as what the engine reaches, and are tried at twice and at half that size, too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import MU_SUN
from tasks.engines.orbit_selection.detectability import DISTANCE_FACTOR, Candidate
from tasks.engines.orbit_selection.footprint import tile_numbers
from tasks.engines.orbit_selection.objects_in_field import Window
from tasks.engines.settings import EngineSettings

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

SCALES = (2.0, 1.0, 0.5)
"""Sizes of the cells, in the engine's reach."""

SMALLEST_TILE_DEG = 0.2
"""Side of the smallest sky cell, deg."""

CIRCULAR = np.array([0.0, 1.0, 0.0])
"""Velocity in the middle of the first bin: outward, east, north, in circular speeds."""


@dataclass(frozen=True)
class _Local:
    """Objects as seen from the Sun and from the observer in mid-window."""

    observer: FloatArray
    #: shape (m, 3), (m,), (m,): unit vector from the observer; distance from observer and Sun, au.
    toward: FloatArray
    rho: FloatArray
    r: FloatArray
    #: shape (m, 3): velocity outward, east and north about the Sun, in circular speeds.
    velocity: FloatArray


def candidates_of_window(window: Window, weight: FloatArray, settings: EngineSettings, *, most: int) -> list[Candidate]:
    """Return candidates from the fullest cells, fullest first.

    Parameters
    ----------
    weight : shape (m,)
        Of each object; objects of weight 0 fill no cell.
    most
        Candidates to return at most.
    """
    rows = np.flatnonzero(weight > 0.0)
    if not rows.size:
        return []
    local = _local(window, rows)
    found: dict[bytes, tuple[float, Candidate]] = {}
    for scale in SCALES:
        _, cell = np.unique(_keys(local, settings, scale), axis=0, return_inverse=True)
        cell = cell.ravel()
        order = np.argsort(cell, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(cell[order])) + 1):
            state = _representative(local, members)
            if np.isfinite(state).all():
                candidate = Candidate(state, window.epoch_mjd_tdb)
                found[state.tobytes()] = (float(weight[rows[members]].sum()), candidate)
    fullest = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    return [candidate for _, (_, candidate) in fullest[:most]]


def _local(window: Window, rows: IndexArray) -> _Local:
    footprint = window.footprint
    middle = int(np.argmin(np.abs(footprint.mjd_tdb - window.epoch_mjd_tdb)))
    observer = footprint.observer_position[middle]
    position, velocity = window.states[rows, :3], window.states[rows, 3:]
    offset = position - observer
    rho, r = np.linalg.norm(offset, axis=1), np.linalg.norm(position, axis=1)
    along = np.einsum("mki,mi->mk", _outward_east_north(position), velocity)
    return _Local(observer, offset / rho[:, None], rho, r, along / np.sqrt(MU_SUN / r)[:, None])


def _keys(local: _Local, settings: EngineSettings, scale: float) -> IndexArray:
    """Return the cell of each object as integers, shape (m, 5): sky, shell of distance, three of velocity."""
    linking = settings.cluster_and_link
    tile = max(SMALLEST_TILE_DEG, scale * settings.range_and_shift.cell_radius_deg)
    # A shell of distance from the Sun, seen in one direction, is one of distance from the observer: what the engine
    # bounds. So shells grow with it, and are thin where an object is near.
    shell = np.floor(np.log(local.rho) / (scale * np.log(DISTANCE_FACTOR)))
    velocity = np.rint((local.velocity - CIRCULAR) / (scale * linking.speed_spread))
    return np.column_stack([tile_numbers(local.toward, tile), shell, velocity]).astype(np.int64)


def _representative(local: _Local, members: IndexArray) -> FloatArray:
    """Return the state (6,) in the middle of the members: median distance from the Sun and velocity about it."""
    toward = np.median(local.toward[members], axis=0)
    toward /= np.linalg.norm(toward)
    r, rho = np.median(local.r[members]), np.median(local.rho[members])
    position = local.observer + _range(local.observer, toward, float(r), float(rho)) * toward
    velocity = np.median(local.velocity[members], axis=0) @ _outward_east_north(position[None])[0]
    return np.concatenate([position, velocity * np.sqrt(MU_SUN / np.linalg.norm(position))])


def _range(observer: FloatArray, toward: FloatArray, r: float, near_rho: float) -> float:
    """Return the distance from the observer at which a line of sight is r from the Sun: the root next to `near_rho`.

    A line that does not come as near to the Sun has none: then `near_rho` itself.
    """
    along = float(observer @ toward)
    radicand = along**2 + r**2 - float(observer @ observer)
    if radicand < 0.0:
        return near_rho
    roots = [root for root in (-along + np.sqrt(radicand), -along - np.sqrt(radicand)) if root > 0.0]
    return min(roots, key=lambda root: abs(root - near_rho), default=near_rho)


def _outward_east_north(position: FloatArray) -> FloatArray:
    """Return unit vectors away from the Sun, along growing ecliptic longitude and latitude, shape (m, 3, 3)."""
    outward = position / np.linalg.norm(position, axis=1, keepdims=True)
    east = np.stack([-outward[:, 1], outward[:, 0], np.zeros(len(outward))], axis=1)
    length = np.linalg.norm(east, axis=1, keepdims=True)
    east = np.where(length > 0.0, east / np.where(length > 0.0, length, 1.0), [0.0, 1.0, 0.0])
    return np.stack([outward, east, np.cross(outward, east)], axis=1)
