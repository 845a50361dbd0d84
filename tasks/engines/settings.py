"""The engine's settings: flat keys `stage.name`, as config.csv has them, each with type, unit, range and default.

Unknown keys and wrong values are refused with a message that names the key, what was found and what is expected.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from tasks.engines.errors import EngineInputError


@dataclass(frozen=True)
class RangeAndShiftSettings:
    """Which detections belong to the test orbit's cell."""

    #: Great-circle radius of the cell about the test orbit's place, deg, (0, 90].
    cell_radius_deg: float = 10.0
    #: Mahalanobis distance of the cell's edge on the sky, used instead where the test orbit has a covariance, > 0.
    cell_mahalanobis: float = 5.0
    #: Exposures in one block of the dask map, >= 1.
    exposures_per_block: int = 256


@dataclass(frozen=True)
class ClusterAndLinkSettings:
    """What counts as a track."""

    #: Fewest detections of a cluster.
    min_observations: int = 6
    #: Fewest nights with a detection.
    min_nights: int = 3
    #: Shortest time from first to last detection, days.
    min_arc_days: float = 1.0
    #: Nights on which a place of the sky shows a detection, within the noise, when it is taken for a source that stands
    #: still and left out; 0: all are kept.
    stationary_nights: int = 3
    #: How tracks are found: pairs (pair-seeded track following) or velocity-grid (THOR's own, for comparison).
    algorithm: str = "pairs"
    #: pairs: by what share of the circular speed objects of the cell differ from the test orbit's velocity, > 0; where
    #: the test orbit has a covariance, that says it instead, as it says the distance spread.
    speed_spread: float = 0.75
    #: pairs: by what share of its distance from the observer they differ from the test orbit's, > 0.
    distance_spread: float = 0.4
    #: pairs: fastest track in the plane, deg / d; 0: from the test orbit and the two spreads.
    max_speed_deg_per_day: float = 0.0
    #: pairs: longest gap between the nights of the two detections that start a track, days, > 0.
    max_gap_days: float = 5.0
    #: pairs: observed nights after a detection's own on which its partner is sought, >= 1.
    seed_nights: int = 2
    #: pairs: observed slots (parts of a night) in a row without a detection after which a track ends, >= 1.
    max_misses: int = 5
    #: pairs: half-width of a window, in standard deviations of the predicted place, > 0.
    window_sigmas: float = 3.5
    #: velocity-grid: largest velocity along each axis, deg / d, > 0.
    grid_speed_deg_per_day: float = 0.1
    #: velocity-grid: velocities along each axis, >= 1.
    grid_bins: int = 300
    #: velocity-grid: DBSCAN's radius, deg, > 0.
    grid_radius_deg: float = 0.005


@dataclass(frozen=True)
class InitialOrbitDeterminationSettings:
    """First orbits with two bodies: a sieve, so wide that what the other bodies do passes it."""

    #: Reduced chi^2 above which a cluster has no first orbit, and detections are rejected to get below it, > 0.
    max_reduced_chi2: float = 30.0
    #: Largest fraction of a cluster's detections that may be rejected, [0, 1).
    max_outlier_fraction: float = 0.25
    #: Steps of one fit, >= 1.
    max_iterations: int = 40
    #: Clusters that no start at the test orbit's distance fits: try other distances, and Gauss's method.
    fallback: bool = True


@dataclass(frozen=True)
class OrbitDeterminationSettings:
    """Orbits with the full force model: the gate between real and false clusters."""

    #: Force model: n-body (planets, Moon, Pluto, relativity), assist (the extra nbody), or 2-body.
    force_model: str = "n-body"
    #: Reduced chi^2 above which an orbit is dropped, > 0,
    max_reduced_chi2: float = 3.0
    #: unless chance gives a true orbit a chi^2 as large more often than this, [0, 1): it matters for few detections.
    min_probability: float = 1e-4
    #: chi^2 (2 degrees of freedom) of a detection, against the orbit without it, above which it is an outlier.
    outlier_chi2: float = 25.0
    #: Largest fraction of an orbit's detections that may be rejected, [0, 1).
    max_outlier_fraction: float = 0.25
    #: Steps of one fit, >= 1.
    max_iterations: int = 40
    #: Times at which n-body minus 2-body positions are computed; between them they are interpolated, >= 4.
    n_body_times: int = 10
    #: Times that an orbit's n-body positions may be computed anew, as the fit moves it: the budget of an orbit.
    max_n_body_passes: int = 4
    #: Orbits of one epoch: arcs with middles this close together share it, days, > 0.
    epoch_window_days: float = 60.0


@dataclass(frozen=True)
class MergeAndExtendSettings:
    """One orbit per object, with all its detections."""

    #: Distance from the prediction within which a detection is attributed, arcsec, > 0.
    radius_arcsec: float = 1.0
    #: The same in sigmas of the detection, where that is more, > 0.
    radius_sigmas: float = 4.5
    #: An orbit is sought beyond its arc up to this multiple of the arc in each round, >= 0.
    extension: float = 1.0
    #: Rounds of attribution and fit, >= 0; it ends sooner when nothing changes.
    max_rounds: int = 10
    #: Smallest fraction of its detections that an orbit must keep in the exclusive assignment, (0, 1].
    min_kept_fraction: float = 0.6


@dataclass(frozen=True)
class ClaimSettings:
    """Which observations a task takes from the tasks after it. The queue does it, around whichever engine."""

    #: Leave out what earlier tasks of the job linked with confidence.
    observations: bool = False
    #: Confidence: fewest detections and nights of an orbit, shortest arc (days), and largest reduced chi^2.
    min_observations: int = 8
    min_nights: int = 4
    min_arc_days: float = 3.0
    max_reduced_chi2: float = 2.0


@dataclass(frozen=True)
class EngineSettings:
    """All settings of an engine run. Defaults fit a main-belt search in a ground-based survey."""

    #: Which engine: builtin or thor.
    engine: str = "builtin"
    #: Seed of every pseudo-random choice.
    seed: int = 0
    #: 1-sigma uncertainty of a coordinate, deg, where the observations give none, > 0.
    default_sigma_deg: float = 0.1 / 3600
    range_and_shift: RangeAndShiftSettings = field(default_factory=RangeAndShiftSettings)
    cluster_and_link: ClusterAndLinkSettings = field(default_factory=ClusterAndLinkSettings)
    initial_orbit_determination: InitialOrbitDeterminationSettings = field(
        default_factory=InitialOrbitDeterminationSettings
    )
    orbit_determination: OrbitDeterminationSettings = field(default_factory=OrbitDeterminationSettings)
    merge_and_extend: MergeAndExtendSettings = field(default_factory=MergeAndExtendSettings)
    claims: ClaimSettings = field(default_factory=ClaimSettings)


def settings_from_items(items: Mapping[str, str]) -> EngineSettings:
    """Parse flat keys and values, as read from config.csv.

    Raises
    ------
    EngineInputError
        For an unknown key, or a value that is not of the key's type.
    """
    changes: dict[str, dict[str, Any]] = {}
    for key, text in items.items():
        group, _, name = key.rpartition(".")
        changes.setdefault(group, {})[name] = _parse(key, text)
    groups = {
        group: dataclasses.replace(getattr(EngineSettings(), group), **values)
        for group, values in changes.items()
        if group
    }
    return dataclasses.replace(EngineSettings(), **changes.get("", {}), **groups)


def items_from_settings(settings: EngineSettings) -> dict[str, str]:
    """Return every key with its value as text: the inverse of `settings_from_items`."""
    return {key: str(_value(settings, key)) for key in _types_of_keys()}


def _parse(key: str, text: str) -> int | float | str | bool:
    types = _types_of_keys()
    if key not in types:
        raise EngineInputError(f"Unknown setting {key!r}: expected one of {', '.join(sorted(types))}.")
    expected = types[key]
    try:
        if expected is bool:
            return {"true": True, "false": False}[text.strip().lower()]
        value: int | float | str = expected(text.strip())
        return value
    except (ValueError, KeyError) as error:
        raise EngineInputError(f"Setting {key!r} is {text!r}: expected a value of type {expected.__name__}.") from error


def _value(settings: EngineSettings, key: str) -> object:
    value: object = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _types_of_keys() -> dict[str, type]:
    types: dict[str, type] = {}
    for name, hint in get_type_hints(EngineSettings).items():
        if dataclasses.is_dataclass(hint):
            types |= {f"{name}.{inner}": kind for inner, kind in get_type_hints(hint).items()}
        else:
            types[name] = hint
    return types
