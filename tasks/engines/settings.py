"""The engine's settings: flat keys `stage.name`, as config.csv has them, each one field with unit, default and range.

`setting_fields` reads them from text: unknown keys and wrong values are refused with a message that names the key, what
was found and what is expected. Who builds the dataclasses in code may go beyond the ranges: they are what a person's
file may say.
"""

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Literal, get_args

from pydantic import Field

from tasks.engines.setting_fields import NO_KEY, Flag, settings_group, settings_of, value_of, with_items
from tasks.engines.upstream_settings import (
    PREFIX,
    ThorSettings,
    items_from_thor_settings,
    require_effect,
    thor_settings_from_items,
)

EngineName = Literal["builtin", "thor"]
Algorithm = Literal["pairs", "velocity-grid"]
ForceModel = Literal["n-body", "assist", "2-body"]

ENGINES: tuple[EngineName, ...] = get_args(EngineName)


@settings_group
class RangeAndShiftSettings:
    """Which detections belong to the test orbit's cell."""

    cell_radius_deg: Annotated[float, Field(gt=0, le=90)] = 10.0
    """Great-circle radius of the cell about the test orbit's position, deg."""
    cell_mahalanobis: Annotated[float, Field(gt=0)] = 5.0
    """Mahalanobis distance of the cell's edge on the sky: replaces the radius where the test orbit has a covariance."""
    exposures_per_block: Annotated[int, Field(ge=1)] = 256
    """Exposures in one block of the dask map."""


@settings_group
class ClusterAndLinkSettings:
    """What counts as a track."""

    min_observations: Annotated[int, Field(ge=3)] = 6
    """Fewest detections of a cluster."""
    min_nights: Annotated[int, Field(ge=1)] = 3
    """Fewest nights of the sky with a detection: a night at several observatories is one."""
    min_arc_days: Annotated[float, Field(ge=0)] = 1.0
    """Shortest time from first to last detection, days."""
    stationary_nights: Annotated[int, Field(ge=0)] = 3
    """A position of the sky with a detection, within the noise, on this many nights is taken for a stationary source
    and left out; 0: all are kept."""
    algorithm: Algorithm = "pairs"
    """How tracks are found: pairs (pair-seeded track following) or velocity-grid (THOR's own, for comparison)."""
    speed_spread: Annotated[float, Field(gt=0)] = 0.75
    """pairs: how much the velocities of objects in the cell may differ from the test orbit's, as a share of the
    circular speed. A covariance of the test orbit replaces this and the distance spread."""
    distance_spread: Annotated[float, Field(gt=0)] = 0.4
    """pairs: how much their distances from the observer may differ from the test orbit's, as a share of it."""
    max_speed_deg_per_day: Annotated[float, Field(ge=0)] = 0.0
    """pairs: fastest track in the plane, deg / d; 0: derived from the test orbit and the two spreads."""
    max_gap_days: Annotated[float, Field(gt=0)] = 14.0
    """pairs: longest gap between the nights of the two detections that start a track, days."""
    seed_nights: Annotated[int, Field(ge=1)] = 2
    """pairs: number of observed nights after a detection's own in which its partner is sought. Later nights, up to the
    gap, are searched too while chance gives fewer than two detections where the partner may be."""
    max_misses: Annotated[int, Field(ge=1)] = 20
    """pairs: a track ends after this many observed slots (parts of a night) in a row without a detection. Slots of
    cameras that are not deep enough count too."""
    window_sigmas: Annotated[float, Field(gt=0)] = 3.5
    """pairs: half-width of a window, in standard deviations of the predicted position."""
    grid_speed_deg_per_day: Annotated[float, Field(gt=0)] = 0.1
    """velocity-grid: largest velocity along each axis, deg / d."""
    grid_bins: Annotated[int, Field(ge=1)] = 300
    """velocity-grid: velocities along each axis."""
    grid_radius_deg: Annotated[float, Field(gt=0)] = 0.005
    """velocity-grid: DBSCAN's radius, deg."""


@settings_group
class InitialOrbitDeterminationSettings:
    """First orbits with two bodies: a sieve, so wide that what the other bodies do passes it."""

    max_reduced_chi2: Annotated[float, Field(gt=0)] = 30.0
    """Largest reduced chi^2 of a first orbit; detections are rejected to get below it."""
    max_outlier_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Largest fraction of a cluster's detections that may be rejected."""
    max_iterations: Annotated[int, Field(ge=1)] = 40
    """Steps of one fit."""
    fallback: Flag = True
    """For clusters that no start at the test orbit's distance fits: try other distances, and Gauss's method."""


@settings_group
class OrbitDeterminationSettings:
    """Orbits with the full force model: the gate between real and false clusters."""

    force_model: ForceModel = "n-body"
    """Force model: n-body (planets, Moon, Pluto, relativity), assist (the extra nbody), or 2-body."""
    max_reduced_chi2: Annotated[float, Field(gt=0)] = 3.0
    """Reduced chi^2 above which an orbit is dropped, unless `min_probability` keeps it."""
    min_probability: Annotated[float, Field(ge=0, lt=1)] = 1e-4
    """An orbit is kept all the same when a true one would have a chi^2 as large, by chance, more often than this: it
    matters for few detections."""
    outlier_chi2: Annotated[float, Field(gt=0)] = 25.0
    """chi^2 (2 degrees of freedom) of a detection, against the orbit without it, above which it is an outlier."""
    max_outlier_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Largest fraction of an orbit's detections that may be rejected."""
    max_iterations: Annotated[int, Field(ge=1)] = 40
    """Steps of one fit."""
    n_body_times: Annotated[int, Field(ge=4)] = 10
    """Times at which n-body minus 2-body positions are computed; between them they are interpolated."""
    max_n_body_passes: Annotated[int, Field(ge=1)] = 4
    """How often the n-body positions of one orbit may be computed anew as the fit moves it."""
    epoch_window_days: Annotated[float, Field(gt=0)] = 60.0
    """Arcs whose middles are this close together share one epoch, days."""


@settings_group
class MergeAndExtendSettings:
    """One orbit per object, with all its detections."""

    radius_arcsec: Annotated[float, Field(gt=0)] = 1.0
    """Distance from the prediction within which a detection is attributed, arcsec."""
    radius_sigmas: Annotated[float, Field(gt=0)] = 4.5
    """The same in sigmas of the detection; the larger of the two holds."""
    extension: Annotated[float, Field(ge=0)] = 1.0
    """How far beyond its arc an orbit is sought in each round, as a multiple of the arc."""
    max_rounds: Annotated[int, Field(ge=0)] = 10
    """Rounds of attribution and fit; it ends sooner when nothing changes."""
    min_kept_fraction: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Smallest fraction of its detections that an orbit must keep in the exclusive assignment."""


@settings_group
class ClaimSettings:
    """Which observations a task takes from the tasks after it. The queue does it, around whichever engine."""

    observations: Flag = False
    """Leave out what earlier tasks of the job linked with confidence."""
    min_observations: Annotated[int, Field(ge=1)] = 8
    """Linked with confidence: fewest detections of the orbit."""
    min_nights: Annotated[int, Field(ge=1)] = 4
    """Linked with confidence: fewest nights of the sky with a detection: a night at several observatories is one."""
    min_arc_days: Annotated[float, Field(ge=0)] = 3.0
    """Linked with confidence: shortest arc, days."""
    max_reduced_chi2: Annotated[float, Field(gt=0)] = 2.0
    """Linked with confidence: largest reduced chi^2."""


@settings_group
class EngineSettings:
    """All settings of an engine run. Defaults fit a main-belt search in a ground-based survey."""

    engine: EngineName = "builtin"
    """Which engine: builtin or thor."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of every pseudo-random choice."""
    default_sigma_deg: Annotated[float, Field(gt=0)] = 0.1 / 3600
    """1-sigma uncertainty of a coordinate, deg, where the observations give none."""
    range_and_shift: RangeAndShiftSettings = field(default_factory=RangeAndShiftSettings)
    cluster_and_link: ClusterAndLinkSettings = field(default_factory=ClusterAndLinkSettings)
    initial_orbit_determination: InitialOrbitDeterminationSettings = field(
        default_factory=InitialOrbitDeterminationSettings
    )
    orbit_determination: OrbitDeterminationSettings = field(default_factory=OrbitDeterminationSettings)
    merge_and_extend: MergeAndExtendSettings = field(default_factory=MergeAndExtendSettings)
    claims: ClaimSettings = field(default_factory=ClaimSettings)
    thor: ThorSettings = field(default=(), metadata=NO_KEY)
    """Fields of upstream's own Config, keys `thor.<field>` (`upstream_settings`): those that a config names."""


def settings_from_items(items: Mapping[str, str]) -> EngineSettings:
    """Parse flat keys and values, as read from config.csv.

    Raises
    ------
    EngineInputError
        For an unknown key, or a value that is not of the key's type or not in its range.
    """
    own = {key: text for key, text in items.items() if not key.startswith(PREFIX)}
    thor = {key.removeprefix(PREFIX): text for key, text in items.items() if key.startswith(PREFIX)}
    return replace(with_items(EngineSettings(), own), thor=thor_settings_from_items(thor))


def items_from_settings(settings: EngineSettings) -> dict[str, str]:
    """Return every key with its value as text: the inverse of `settings_from_items`."""
    own = {key: str(value_of(settings, key)) for key in settings_of(EngineSettings)}
    return {**own, **items_from_thor_settings(settings.thor)}


def require_settings_have_effect(settings: EngineSettings) -> None:
    """Refuse settings that the engine they name does not heed.

    Raises
    ------
    EngineInputError
        It names the key, and what to set instead.
    """
    default = EngineSettings()
    changed = tuple(key for key in settings_of(EngineSettings) if value_of(settings, key) != value_of(default, key))
    require_effect(changed, settings.thor, engine=settings.engine)
