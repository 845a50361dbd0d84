"""The engine's settings: flat keys `stage.name`, as config.csv has them, each with type, unit, default and range.

Unknown keys and wrong values are refused with a message that names the key, what was found and what is expected.
Who builds the dataclasses in code may go beyond the ranges: they are what a person's file may say.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from tasks.engines.allowed_values import ANY, KEY, Allowed, at_least, expected_of, more_than, one_of
from tasks.engines.errors import EngineInputError
from tasks.engines.upstream_settings import (
    PREFIX,
    ThorSettings,
    items_from_thor_settings,
    require_effect,
    thor_settings_from_items,
)

ENGINES = ("builtin", "thor")
"""What `engine` may name."""

ALGORITHMS = ("pairs", "velocity-grid")
"""What `cluster_and_link.algorithm` may name."""

FORCE_MODELS = ("n-body", "assist", "2-body")
"""What `orbit_determination.force_model` may name."""


@dataclass(frozen=True)
class RangeAndShiftSettings:
    """Which detections belong to the test orbit's cell."""

    #: Great-circle radius of the cell about the test orbit's place, deg.
    cell_radius_deg: float = field(default=10.0, metadata=more_than(0, up_to=90))
    #: Mahalanobis distance of the cell's edge on the sky, used instead where the test orbit has a covariance.
    cell_mahalanobis: float = field(default=5.0, metadata=more_than(0))
    #: Exposures in one block of the dask map.
    exposures_per_block: int = field(default=256, metadata=at_least(1))


@dataclass(frozen=True)
class ClusterAndLinkSettings:
    """What counts as a track."""

    #: Fewest detections of a cluster.
    min_observations: int = field(default=6, metadata=at_least(3))
    #: Fewest nights of the sky with a detection: a night at several observatories is one.
    min_nights: int = field(default=3, metadata=at_least(1))
    #: Shortest time from first to last detection, days.
    min_arc_days: float = field(default=1.0, metadata=at_least(0))
    #: Nights on which a place of the sky shows a detection, within the noise, when it is taken for a source that stands
    #: still and left out; 0: all are kept.
    stationary_nights: int = field(default=3, metadata=at_least(0))
    #: How tracks are found: pairs (pair-seeded track following) or velocity-grid (THOR's own, for comparison).
    algorithm: str = field(default="pairs", metadata=one_of(*ALGORITHMS))
    #: pairs: by what share of the circular speed objects of the cell differ from the test orbit's velocity; where
    #: the test orbit has a covariance, that says it instead, as it says the distance spread.
    speed_spread: float = field(default=0.75, metadata=more_than(0))
    #: pairs: by what share of its distance from the observer they differ from the test orbit's.
    distance_spread: float = field(default=0.4, metadata=more_than(0))
    #: pairs: fastest track in the plane, deg / d; 0: from the test orbit and the two spreads.
    max_speed_deg_per_day: float = field(default=0.0, metadata=at_least(0))
    #: pairs: longest gap between the nights of the two detections that start a track, days.
    max_gap_days: float = field(default=5.0, metadata=more_than(0))
    #: pairs: observed nights after a detection's own on which its partner is sought.
    seed_nights: int = field(default=2, metadata=at_least(1))
    #: pairs: observed slots (parts of a night) in a row without a detection after which a track ends.
    max_misses: int = field(default=5, metadata=at_least(1))
    #: pairs: half-width of a window, in standard deviations of the predicted place.
    window_sigmas: float = field(default=3.5, metadata=more_than(0))
    #: velocity-grid: largest velocity along each axis, deg / d.
    grid_speed_deg_per_day: float = field(default=0.1, metadata=more_than(0))
    #: velocity-grid: velocities along each axis.
    grid_bins: int = field(default=300, metadata=at_least(1))
    #: velocity-grid: DBSCAN's radius, deg.
    grid_radius_deg: float = field(default=0.005, metadata=more_than(0))


@dataclass(frozen=True)
class InitialOrbitDeterminationSettings:
    """First orbits with two bodies: a sieve, so wide that what the other bodies do passes it."""

    #: Reduced chi^2 above which a cluster has no first orbit, and detections are rejected to get below it.
    max_reduced_chi2: float = field(default=30.0, metadata=more_than(0))
    #: Largest fraction of a cluster's detections that may be rejected.
    max_outlier_fraction: float = field(default=0.25, metadata=at_least(0, below=1))
    #: Steps of one fit.
    max_iterations: int = field(default=40, metadata=at_least(1))
    #: Clusters that no start at the test orbit's distance fits: try other distances, and Gauss's method.
    fallback: bool = True


@dataclass(frozen=True)
class OrbitDeterminationSettings:
    """Orbits with the full force model: the gate between real and false clusters."""

    #: Force model: n-body (planets, Moon, Pluto, relativity), assist (the extra nbody), or 2-body.
    force_model: str = field(default="n-body", metadata=one_of(*FORCE_MODELS))
    #: Reduced chi^2 above which an orbit is dropped,
    max_reduced_chi2: float = field(default=3.0, metadata=more_than(0))
    #: unless chance gives a true orbit a chi^2 as large more often than this: it matters for few detections.
    min_probability: float = field(default=1e-4, metadata=at_least(0, below=1))
    #: chi^2 (2 degrees of freedom) of a detection, against the orbit without it, above which it is an outlier.
    outlier_chi2: float = field(default=25.0, metadata=more_than(0))
    #: Largest fraction of an orbit's detections that may be rejected.
    max_outlier_fraction: float = field(default=0.25, metadata=at_least(0, below=1))
    #: Steps of one fit.
    max_iterations: int = field(default=40, metadata=at_least(1))
    #: Times at which n-body minus 2-body positions are computed; between them they are interpolated.
    n_body_times: int = field(default=10, metadata=at_least(4))
    #: Times that an orbit's n-body positions may be computed anew, as the fit moves it: the budget of an orbit.
    max_n_body_passes: int = field(default=4, metadata=at_least(1))
    #: Orbits of one epoch: arcs with middles this close together share it, days.
    epoch_window_days: float = field(default=60.0, metadata=more_than(0))


@dataclass(frozen=True)
class MergeAndExtendSettings:
    """One orbit per object, with all its detections."""

    #: Distance from the prediction within which a detection is attributed, arcsec.
    radius_arcsec: float = field(default=1.0, metadata=more_than(0))
    #: The same in sigmas of the detection, where that is more.
    radius_sigmas: float = field(default=4.5, metadata=more_than(0))
    #: An orbit is sought beyond its arc up to this multiple of the arc in each round.
    extension: float = field(default=1.0, metadata=at_least(0))
    #: Rounds of attribution and fit; it ends sooner when nothing changes.
    max_rounds: int = field(default=10, metadata=at_least(0))
    #: Smallest fraction of its detections that an orbit must keep in the exclusive assignment.
    min_kept_fraction: float = field(default=0.6, metadata=more_than(0, up_to=1))


@dataclass(frozen=True)
class ClaimSettings:
    """Which observations a task takes from the tasks after it. The queue does it, around whichever engine."""

    #: Leave out what earlier tasks of the job linked with confidence.
    observations: bool = False
    #: Confidence: fewest detections and nights of an orbit, shortest arc (days), and largest reduced chi^2.
    min_observations: int = field(default=8, metadata=at_least(1))
    min_nights: int = field(default=4, metadata=at_least(1))
    min_arc_days: float = field(default=3.0, metadata=at_least(0))
    max_reduced_chi2: float = field(default=2.0, metadata=more_than(0))


@dataclass(frozen=True)
class EngineSettings:
    """All settings of an engine run. Defaults fit a main-belt search in a ground-based survey."""

    #: Which engine: builtin or thor.
    engine: str = field(default="builtin", metadata=one_of(*ENGINES))
    #: Seed of every pseudo-random choice.
    seed: int = field(default=0, metadata=at_least(0))
    #: 1-sigma uncertainty of a coordinate, deg, where the observations give none.
    default_sigma_deg: float = field(default=0.1 / 3600, metadata=more_than(0))
    range_and_shift: RangeAndShiftSettings = field(default_factory=RangeAndShiftSettings)
    cluster_and_link: ClusterAndLinkSettings = field(default_factory=ClusterAndLinkSettings)
    initial_orbit_determination: InitialOrbitDeterminationSettings = field(
        default_factory=InitialOrbitDeterminationSettings
    )
    orbit_determination: OrbitDeterminationSettings = field(default_factory=OrbitDeterminationSettings)
    merge_and_extend: MergeAndExtendSettings = field(default_factory=MergeAndExtendSettings)
    claims: ClaimSettings = field(default_factory=ClaimSettings)
    #: Fields of upstream's own Config, keys `thor.<field>` (`upstream_settings`): those that a config names.
    thor: ThorSettings = ()


def settings_from_items(items: Mapping[str, str]) -> EngineSettings:
    """Parse flat keys and values, as read from config.csv.

    Raises
    ------
    EngineInputError
        For an unknown key, or a value that is not of the key's type or not in its range.
    """
    changes: dict[str, dict[str, Any]] = {}
    thor = {key.removeprefix(PREFIX): text for key, text in items.items() if key.startswith(PREFIX)}
    for key, text in items.items():
        if key.startswith(PREFIX):
            continue
        group, _, name = key.rpartition(".")
        changes.setdefault(group, {})[name] = _parse(key, text)
    groups = {
        group: dataclasses.replace(getattr(EngineSettings(), group), **values)
        for group, values in changes.items()
        if group
    }
    settings = dataclasses.replace(EngineSettings(), **changes.get("", {}), **groups)
    return dataclasses.replace(settings, thor=thor_settings_from_items(thor))


def items_from_settings(settings: EngineSettings) -> dict[str, str]:
    """Return every key with its value as text: the inverse of `settings_from_items`."""
    own = {key: str(_value(settings, key)) for key in _types_of_keys()}
    return {**own, **items_from_thor_settings(settings.thor)}


def require_settings_have_effect(settings: EngineSettings) -> None:
    """Refuse settings that the engine they name does not heed.

    Raises
    ------
    EngineInputError
        It names the key, and what to set instead.
    """
    default = EngineSettings()
    changed = tuple(key for key in _types_of_keys() if _value(settings, key) != _value(default, key))
    require_effect(changed, settings.thor, engine=settings.engine)


def _parse(key: str, text: str) -> int | float | str | bool:
    types = _types_of_keys()
    if key not in types:
        raise EngineInputError(f"Unknown setting {key!r}: {_instead_of(key, list(types))}")
    allowed = _allowed(key)
    try:
        value = _typed(text.strip(), types[key])
    except (ValueError, KeyError):
        value = math.nan
    if (isinstance(value, float) and not math.isfinite(value)) or not allowed.contains(value):
        raise EngineInputError(f"Setting {key!r} is {text!r}: expected {expected_of(types[key], allowed)}.")
    return value


def _typed(text: str, kind: type) -> int | float | str | bool:
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    value: int | float | str = kind(text)
    return value


def _instead_of(key: str, known: list[str]) -> str:
    """Return what the writer of an unknown key may have meant: a stage left out, a slip of the pen."""
    name = key.rpartition(".")[2]
    same = [other for other in known if other.rpartition(".")[2] == name]
    close = same or difflib.get_close_matches(key, known, n=1)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return "expected a key of tasks/engines/settings.py, as cluster_and_link.min_observations."


def _allowed(key: str) -> Allowed:
    group, _, name = key.rpartition(".")
    owner = getattr(EngineSettings(), group) if group else EngineSettings()
    allowed: Allowed = next(field.metadata.get(KEY, ANY) for field in dataclasses.fields(owner) if field.name == name)
    return allowed


def _value(settings: EngineSettings, key: str) -> object:
    value: object = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _types_of_keys() -> dict[str, type]:
    types: dict[str, type] = {}
    for name, hint in get_type_hints(EngineSettings).items():
        if name == PREFIX.removesuffix("."):
            continue
        if dataclasses.is_dataclass(hint):
            types |= {f"{name}.{inner}": kind for inner, kind in get_type_hints(hint).items()}
        else:
            types[name] = hint
    return types
