"""Orbits whose detections allow other orbits as well: nearer ones and farther ones, as good or better.

Beside a planet, where tides are strong, and towards the Sun (`two_orbits`) chi^2 over the distance has several minima,
and a fit finds the one next to its start. So each such orbit is fitted again from other distances. Taken is the fit
with the least chi^2 plus `rarity` of its orbit: where chance alone could make the difference, the kind of orbit that is
common is meant. Its covariance is the second moment about it of all of them, each weighted by exp(-chi^2 / 2) and the
volume of its own covariance (Laplace's approximation): what the detections allow. The best of the others is the rival.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.elements import keplerian_from_states
from tasks.engines.builtin.fitting.astrometry import OBSERVER, TIME, TOWARD
from tasks.engines.builtin.fitting.determination import (
    DeterminedOrbits,
    FitStart,
    determine_orbits,
    with_honest_covariances,
)
from tasks.engines.builtin.fitting.fitted_orbits import with_replaced
from tasks.engines.builtin.fitting.members import members_of
from tasks.engines.builtin.fitting.two_orbits import allow_two_orbits
from tasks.engines.settings import OrbitDeterminationSettings

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

OTHER_DISTANCES = (0.4, 0.7, 0.85, 0.93, 1.07, 1.15, 1.4, 2.0, 3.0)
"""Multiples of the distance from the observer from which other fits start. Towards the Sun the two orbits of an arc are
as far apart as 1.2 and 2.8 au from the Sun; beside a planet they are next to each other."""

INNER_PERIHELION_AU, NEAR_EARTH_AU, BEYOND_JUPITER_AU = 0.3, 1.3, 5.5
"""Borders of the kinds below: a perihelion inside Mercury's, that of the near-Earth objects, and an axis beyond the
Trojans'."""

_PARTS = (
    ("main belt, Hungarias, Mars crossers, Hildas, Trojans", 1_400_000),
    ("beyond Jupiter", 7_000),
    ("near the Earth", 35_000),
    ("near the Earth, with a < 1 au or q < 0.3 au", 3_500),
    ("unbound", 400),
)
"""Kinds of orbits, and about how many objects of each are known: orders of magnitude are all that the choice needs."""

SAME_MINIMUM_SIGMAS = 0.5
"""Fits closer than this, in sigmas of either, are one."""


def with_other_minima(
    rows: FloatArray,
    first: IntArray,
    determined: DeterminedOrbits,
    settings: OrbitDeterminationSettings,
    *,
    min_observations: int,
) -> DeterminedOrbits:
    """Return the orbits with honest covariances, with their other minima taken into account where there may be any.

    Parameters are those of `determination.determine_orbits`.
    """
    honest = with_honest_covariances(rows, first, determined)
    doubtful = np.flatnonzero((honest.shifts.slopes.row >= 0) | allow_two_orbits(rows, first))
    if len(doubtful) == 0:
        return honest
    members, own_first = members_of(first, doubtful)
    fits = [honest.only(doubtful, members)]
    for factor in OTHER_DISTANCES:
        start = FitStart(
            states=_at_other_distance(rows[members], own_first, fits[0], factor),
            epochs=fits[0].fitted.epoch,
            used=fits[0].fitted.used,
            low=fits[0].shifts.low,
            high=fits[0].shifts.high,
            # Most starts come back to the same minimum: shifts are computed anew only for those that do not. Beside a
            # planet the shifts themselves would lead them back.
            shifts=None if (fits[0].shifts.slopes.row >= 0).any() else fits[0].shifts,
        )
        # Nothing is rejected or taken back: chi^2 of other detections could not be compared.
        plain = replace(settings, max_outlier_fraction=0.0, outlier_chi2=0.0)
        again = determine_orbits(rows[members], own_first, start, plain, min_observations=min_observations)
        fits.append(with_honest_covariances(rows[members], own_first, again))
    return _best_with_moments(honest, fits, doubtful, members, own_first)


def _best_with_moments(
    honest: DeterminedOrbits, fits: list[DeterminedOrbits], doubtful: IntArray, members: IntArray, own_first: IntArray
) -> DeterminedOrbits:
    chi2 = np.array([np.where(fit.fitted.converged, fit.fitted.chi2, np.inf) for fit in fits])
    chi2[0] = fits[0].fitted.chi2
    cost = chi2 + np.array([rarity(fit.fitted.state) for fit in fits])
    # The first of equals: an orbit is not exchanged for itself.
    best = np.where(cost.min(axis=0) < cost[0] - 1e-3, cost.argmin(axis=0), 0)
    fitted, shifts = honest.fitted, honest.shifts
    for number, fit in enumerate(fits[1:], start=1):
        better = np.flatnonzero(best == number)
        own = members_of(own_first, better)[0]
        fitted = with_replaced(fitted, fit.fitted.only(better, own), doubtful[better], members[own])
        shifts = shifts.with_replaced(doubtful[better], fit.shifts.of(better))
    covariance = fitted.covariance.copy()
    rivals = honest.rivals.copy()
    for k, orbit in enumerate(doubtful):
        states = np.array([fit.fitted.state[k] for fit in fits])
        covariances = np.array([fit.fitted.covariance[k] for fit in fits])
        minima = _minima(states, covariances, cost[:, k], int(best[k]))
        covariance[orbit] = _second_moment(states, covariances, chi2[:, k], minima)
        for rival in minima[1:2]:
            rivals[orbit] = [*states[rival], chi2[rival, k]]
    return DeterminedOrbits(fitted.with_covariance(covariance), shifts, rivals)


def _minima(states: FloatArray, covariances: FloatArray, cost: FloatArray, best: int) -> list[int]:
    """Return the fits that are different minima, the best first, then by cost; only the best where it has none."""
    usable = np.isfinite(cost) & np.isfinite(covariances).all(axis=(1, 2))
    minima = [best]
    for k in np.argsort(cost, kind="stable") if usable[best] else []:
        if usable[k] and not any(_is_same(states[k] - states[other], covariances[other]) for other in minima):
            minima.append(int(k))
    return minima


def _second_moment(states: FloatArray, covariances: FloatArray, chi2: FloatArray, minima: list[int]) -> FloatArray:
    """Return the second moment about the first of the minima, shape (6, 6)."""
    best = minima[0]
    if len(minima) == 1:
        return np.asarray(covariances[best])
    scale = np.sqrt(np.einsum("ii->i", covariances[best]))
    volumes = np.linalg.slogdet(covariances[minima] / scale[:, None] / scale)[1]
    exponents = 0.5 * (volumes - chi2[minima])
    weights = np.exp(exponents - exponents.max())
    off = states[minima] - states[best]
    moment: FloatArray = np.einsum("k,kij->ij", weights, covariances[minima] + off[:, :, None] * off[:, None, :])
    moment /= weights.sum()
    return moment


def _is_same(off: FloatArray, covariance: FloatArray) -> bool:
    return bool((np.abs(off) < SAME_MINIMUM_SIGMAS * np.sqrt(np.einsum("ii->i", covariance))).all())


def rarity(states: FloatArray) -> FloatArray:
    """Return -2 ln of how many objects are known of an orbit's kind, over those of the commonest, shape (c,)."""
    elements = keplerian_from_states(states)
    a, e = elements[:, 0], elements[:, 1]
    q = a * (1.0 - e)
    kind = np.select(
        [e >= 1.0, (a < 1.0) | (q < INNER_PERIHELION_AU), q < NEAR_EARTH_AU, a > BEYOND_JUPITER_AU], [4, 3, 2, 1], 0
    )
    counts = np.array([count for _, count in _PARTS], dtype=np.float64)
    rarities: FloatArray = -2.0 * np.log(counts / counts.max())[kind]
    return rarities


def _at_other_distance(rows: FloatArray, first: IntArray, fit: DeterminedOrbits, factor: float) -> FloatArray:
    """Return the states moved along the line of sight, with the same motion on the sky, shape (s, 6)."""
    states = fit.fitted.state.copy()
    for k, (a, b) in enumerate(pairwise(first)):
        days = rows[a:b, TIME] - fit.fitted.epoch[k]
        slope, place = np.polyfit(days, rows[a:b, OBSERVER:TOWARD], 1)
        observer = np.concatenate([place, slope])
        states[k] = observer + factor * (states[k] - observer)
    return states
