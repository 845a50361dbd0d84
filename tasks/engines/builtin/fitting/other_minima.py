"""Orbits whose detections allow other orbits as well: nearer ones and farther ones, as good or better.

Beside a planet, where tides are strong, and towards the Sun (`two_orbits`) chi^2 over the distance has several minima,
and a fit finds the one next to its start. So each such orbit is fitted again from other distances. The best fit is
taken; its covariance is the second moment about it of all of them, each weighted by exp(-chi^2 / 2) and the volume of
its own covariance (Laplace's approximation).
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

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

OTHER_DISTANCES = (0.85, 0.93, 1.07, 1.15)
"""Multiples of the distance from the observer from which other fits start."""

SAME_MINIMUM_SIGMAS = 0.1
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
    # The first of equals: an orbit is not exchanged for itself.
    best = np.where(chi2.min(axis=0) < chi2[0] - 1e-3, chi2.argmin(axis=0), 0)
    fitted, shifts = honest.fitted, honest.shifts
    for number, fit in enumerate(fits[1:], start=1):
        better = np.flatnonzero(best == number)
        own = members_of(own_first, better)[0]
        fitted = with_replaced(fitted, fit.fitted.only(better, own), doubtful[better], members[own])
        shifts = shifts.with_replaced(doubtful[better], fit.shifts.of(better))
    covariance = fitted.covariance.copy()
    for k, orbit in enumerate(doubtful):
        states = np.array([fit.fitted.state[k] for fit in fits])
        covariances = np.array([fit.fitted.covariance[k] for fit in fits])
        covariance[orbit] = _second_moment(states, covariances, chi2[:, k], int(best[k]))
    return DeterminedOrbits(fitted.with_covariance(covariance), shifts)


def _second_moment(states: FloatArray, covariances: FloatArray, chi2: FloatArray, best: int) -> FloatArray:
    """Return the second moment about the best of the fits, shape (6, 6), each minimum counted once."""
    usable = np.isfinite(chi2) & np.isfinite(covariances).all(axis=(1, 2))
    if not usable[best]:
        return np.asarray(covariances[best])
    minima: list[int] = []
    for k in [best, *np.argsort(chi2, kind="stable")]:
        if usable[k] and not any(_is_same(states[k] - states[other], covariances[other]) for other in minima):
            minima.append(int(k))
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


def _at_other_distance(rows: FloatArray, first: IntArray, fit: DeterminedOrbits, factor: float) -> FloatArray:
    """Return the states moved along the line of sight, with the same motion on the sky, shape (s, 6)."""
    states = fit.fitted.state.copy()
    for k, (a, b) in enumerate(pairwise(first)):
        days = rows[a:b, TIME] - fit.fitted.epoch[k]
        slope, place = np.polyfit(days, rows[a:b, OBSERVER:TOWARD], 1)
        observer = np.concatenate([place, slope])
        states[k] = observer + factor * (states[k] - observer)
    return states
