"""From fitted orbits to the tables of orbits and members, and back."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.constants import SPEED_OF_LIGHT
from tasks.engines.builtin.astrodynamics.elements import NAMES, elements_from_states, keplerian_from_states
from tasks.engines.builtin.astrodynamics.photometry import absolute_magnitude
from tasks.engines.builtin.fitting.determination import DeterminedOrbits
from tasks.engines.builtin.fitting.fitted_orbits import FittedOrbits
from tasks.engines.builtin.fitting.members import Members, members_from_owners
from tasks.engines.builtin.survey import PreparedSurvey
from tasks.engines.builtin.version import SOFTWARE

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Columns = dict[str, object]

AXES = ("x", "y", "z", "vx", "vy", "vz")
AMBIGUOUS_CHI2 = 11.8
"""Another minimum whose chi^2 is larger by less than this is not excluded: 3 sigmas of two parameters, the distance and
its rate, which are what tells the two apart."""

ARCSEC_PER_RAD = 180.0 * 3600.0 / np.pi
_ROWS, _COLUMNS = np.tril_indices(6)


def first_orbits_table(
    survey: PreparedSurvey,
    members: Members,
    fitted: FittedOrbits,
    names: Mapping[str, Sequence[str]],
    schema: pa.Schema,
) -> pa.Table:
    """Build rows of `tables.IOD_ORBITS`; `names` has the columns of text: orbit_id, cluster_id, force_model."""
    columns: Columns = {**_state_columns(fitted), **_fit_columns(survey, members, fitted), **_text_columns(names)}
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def determined_orbits_table(
    survey: PreparedSurvey,
    members: Members,
    orbits: DeterminedOrbits,
    names: Mapping[str, Sequence[str]],
    schema: pa.Schema,
    extra: Columns | None = None,
) -> pa.Table:
    """Build rows of `tables.OD_ORBITS` or `RECOVERED_ORBITS`; `extra` has the columns that only one of them has."""
    fitted = orbits.fitted
    columns: Columns = {
        **_state_columns(fitted),
        **_fit_columns(survey, members, fitted),
        **_text_columns(names),
        **_covariance_columns(fitted),
        **_element_columns(fitted),
        **_magnitude_columns(survey, members, fitted),
        **_minimum_columns(orbits),
        **(extra or {}),
    }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def members_table(
    survey: PreparedSurvey,
    members: Members,
    fitted: FittedOrbits,
    orbit_ids: Sequence[str],
    schema: pa.Schema,
    extra: Columns | None = None,
) -> pa.Table:
    """Build rows of the tables of members; `extra` has columns that only one of them has (`gauss_sol` is 0 without)."""
    index = members.obs_index
    owner = members.owner
    columns: Columns = {
        "orbit_id": pa.array(orbit_ids, pa.string()).take(pa.array(owner)),
        "obs_id": survey.obs_ids.take(pa.array(index)).cast(pa.string()),
        "residual_ra_arcsec": fitted.residuals[:, 0] * survey.sigma_ra_rad[index] * ARCSEC_PER_RAD,
        "residual_dec_arcsec": fitted.residuals[:, 1] * survey.sigma_dec_rad[index] * ARCSEC_PER_RAD,
        "chi2": (fitted.residuals**2).sum(axis=1),
        "outlier": (~fitted.used).astype(np.int8),
        "orbit_index": owner.astype(np.int32),
        "obs_index": index,
        "gauss_sol": np.zeros(len(index), np.int8),
        **(extra or {}),
    }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def states_from_table(orbits: pa.Table) -> tuple[FloatArray, FloatArray]:
    """Read states (c, 6) and epochs (c,) from a table of orbits."""
    return np.column_stack([_floats(orbits[name]) for name in AXES]), _floats(orbits["epoch"])


def members_from_table(table: pa.Table, owner_column: str, count: int) -> Members:
    """Read the members of `count` orbits or clusters; the owner's row is in `owner_column`, ascending."""
    owner = table[owner_column].to_numpy().astype(np.int64)
    return members_from_owners(owner, table["obs_index"].to_numpy(), count)


def used_from_table(table: pa.Table) -> BoolArray:
    """Read which members are in use."""
    used: BoolArray = table["outlier"].to_numpy() == 0
    return used


def reduced_chi2(members: Members, fitted: FittedOrbits) -> FloatArray:
    """Return chi^2 over 2 n - 6 for the n detections in use, shape (c,); inf with 3 or fewer."""
    freedom = 2.0 * _count_used(members, fitted) - 6.0
    return np.where(freedom > 0.0, fitted.chi2 / np.maximum(freedom, 1.0), np.inf)


def nights_and_arcs(
    survey: PreparedSurvey, members: Members, used: BoolArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return for each orbit its number of nights, and its first and last time, MJD UTC, of the detections in use.

    Each observatory's nights are its own. An orbit without any detection has no night, and nan for its times.
    """
    nights = _distinct(survey.exposure_night, survey, members, used)
    owner = members.owner[used]
    times = survey.exposure_mjd_utc[survey.exposure[members.obs_index[used]]]
    low, high = np.full(len(members), np.inf), np.full(len(members), -np.inf)
    np.minimum.at(low, owner, times)
    np.maximum.at(high, owner, times)
    seen = nights > 0
    return nights, np.where(seen, low, np.nan), np.where(seen, high, np.nan)


def sky_nights(survey: PreparedSurvey, members: Members, used: BoolArray) -> IntArray:
    """Return for each orbit the number of nights of the sky with a detection in use, shape (c,)."""
    return _distinct(survey.exposure_sky_night, survey, members, used)


def _distinct(
    night_of_exposure: NDArray[np.int32], survey: PreparedSurvey, members: Members, used: BoolArray
) -> IntArray:
    night = night_of_exposure[survey.exposure[members.obs_index[used]]].astype(np.int64)
    many = night.max(initial=0) + 1
    pairs = np.unique(members.owner[used] * many + night)
    return np.bincount(pairs // many, minlength=len(members))


def _count_used(members: Members, fitted: FittedOrbits) -> IntArray:
    return np.bincount(members.owner[fitted.used], minlength=len(members))


def _state_columns(fitted: FittedOrbits) -> Columns:
    return {"epoch": fitted.epoch, **dict(zip(AXES, fitted.state.T, strict=True))}


def _fit_columns(survey: PreparedSurvey, members: Members, fitted: FittedOrbits) -> Columns:
    nights, low, high = nights_and_arcs(survey, members, fitted.used)
    return {
        "arc_length": high - low,
        "first_mjd_utc": low,
        "last_mjd_utc": high,
        "num_obs": _count_used(members, fitted).astype(np.int32),
        "num_nights": nights.astype(np.int32),
        "num_sky_nights": sky_nights(survey, members, fitted.used).astype(np.int32),
        "num_params": np.full(len(members), 6, np.int32),
        "num_iterations": fitted.iterations.astype(np.int32),
        "chi2": fitted.chi2,
        "rchi2": reduced_chi2(members, fitted),
    }


def _text_columns(names: Mapping[str, Sequence[str]]) -> Columns:
    count = len(names["orbit_id"])
    return {**{name: pa.array(values, pa.string()) for name, values in names.items()}, "software": [SOFTWARE] * count}


def _covariance_columns(fitted: FittedOrbits) -> Columns:
    variances = np.einsum("cii->ci", fitted.covariance)
    known = np.isfinite(fitted.covariance).all(axis=(1, 2))
    triangle = fitted.covariance[:, _ROWS, _COLUMNS]
    return {
        "covariance": pa.FixedSizeListArray.from_arrays(pa.array(triangle.ravel()), 21, mask=pa.array(~known)),
        "r": np.linalg.norm(fitted.state[:, :3], axis=1),
        "r_sigma": _or_null(np.sqrt(variances[:, :3].sum(axis=1))),
        "v": np.linalg.norm(fitted.state[:, 3:], axis=1),
        "v_sigma": _or_null(np.sqrt(variances[:, 3:].sum(axis=1))),
    }


def _element_columns(fitted: FittedOrbits) -> Columns:
    elements = elements_from_states(fitted.state, fitted.covariance)
    columns: Columns = {"q": elements.perihelion}
    for column, name in enumerate(NAMES):
        columns[name] = elements.values[:, column]
        columns[f"{name}_sigma"] = _or_null(elements.sigmas[:, column])
    return columns


def _minimum_columns(orbits: DeterminedOrbits) -> Columns:
    chi2, elements = orbits.rivals[:, 6], np.full((len(orbits.rivals), 6), np.nan)
    there = np.isfinite(chi2)
    elements[there] = keplerian_from_states(orbits.rivals[there, :6])
    rival = {"rival_chi2": chi2, **{f"rival_{name}": elements[:, k] for k, name in enumerate(("a", "e", "i"))}}
    return {
        "on_limit": ~orbits.fitted.converged,
        "ambiguous": there & ~(chi2 > orbits.fitted.chi2 + AMBIGUOUS_CHI2),
        **{name: _or_null(values) for name, values in rival.items()},
    }


def _magnitude_columns(survey: PreparedSurvey, members: Members, fitted: FittedOrbits) -> Columns:
    """H is the median over the detections in use that have a magnitude."""
    mag = survey.mag[members.obs_index]
    measured = fitted.used & np.isfinite(mag)
    index, owner = members.obs_index[measured], members.owner[measured]
    to_object = survey.line_of_sight[index] * (fitted.light_time[measured] * SPEED_OF_LIGHT)[:, None]
    from_sun = survey.observer_position[survey.exposure[index]] + to_object
    r, delta = np.linalg.norm(from_sun, axis=1), np.linalg.norm(to_object, axis=1)
    cosine = np.einsum("ij,ij->i", from_sun, to_object) / (r * delta)
    absolute = absolute_magnitude(mag[measured], r, delta, np.arccos(np.clip(cosine, -1.0, 1.0)))
    count = np.bincount(owner, minlength=len(members))
    return {"H": _or_null(_medians(absolute, owner, count)), "num_mag": count.astype(np.int32)}


def _medians(values: FloatArray, owner: IntArray, count: IntArray) -> FloatArray:
    """Return the median of each owner's values, nan where it has none; `owner` ascends."""
    ordered = np.append(values[np.lexsort((values, owner))], np.nan)
    first = np.cumsum(count) - count
    low = np.where(count > 0, first + (count - 1) // 2, len(values))
    high = np.where(count > 0, first + count // 2, len(values))
    medians: FloatArray = 0.5 * (ordered[low] + ordered[high])
    return medians


def _or_null(values: FloatArray) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))


def _floats(column: pa.ChunkedArray) -> FloatArray:
    values: FloatArray = column.to_numpy()
    return values
