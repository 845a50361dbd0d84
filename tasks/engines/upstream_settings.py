"""Upstream's own settings, keys `thor.<field>`: every field of its `Config` by name, type, default and range.

They are the fields at the commit that the adapter was written for; an interpreter with others is refused. None of them
is in a config that does not name it: what ours do not say keeps upstream's default.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.engines.allowed_values import ANY, KEY, Allowed, at_least, expected_of, more_than, one_of
from tasks.engines.errors import EngineInputError

PREFIX = "thor."

NONE = "none"
"""How a config says None, where upstream allows it."""

ThorValue = int | float | str | bool | None
ThorSettings = tuple[tuple[str, ThorValue], ...]
"""Fields with their values, sorted by name: what a config names, and no more."""


@dataclass(frozen=True)
class Field:
    """One field of upstream's `Config`."""

    kind: type
    default: ThorValue
    allowed: Allowed = ANY
    may_be_none: bool = False
    #: Why a config may not set it; None: it may.
    refused: str | None = None


_STAGES = "every stage is run, since its tables are outputs"
_SPLIT = "upstream splits a test orbit only where it runs many; here each test orbit is a task: choose more of them"
_ONCE = at_least(1)[KEY]
_POSITIVE = more_than(0)[KEY]
_PERCENT = at_least(0, below=100)[KEY]

FIELDS: Mapping[str, Field] = {
    "max_processes": Field(int, None, _ONCE, may_be_none=True),
    "ray_memory_bytes": Field(int, 0, at_least(0)[KEY]),
    # Nothing that is read from a bucket names a module to import.
    "propagator_namespace": Field(str, "adam_assist.ASSISTPropagator", one_of("adam_assist.ASSISTPropagator")[KEY]),
    "filter_cell_radius": Field(float, None, more_than(0, up_to=180)[KEY], may_be_none=True),
    "filter_mahalanobis_distance": Field(float, 5.0, _POSITIVE, may_be_none=True),
    "filter_chunk_size": Field(int, 100000, _ONCE),
    "cluster_vx_min": Field(float, -0.1),
    "cluster_vx_max": Field(float, 0.1),
    "cluster_vy_min": Field(float, -0.1),
    "cluster_vy_max": Field(float, 0.1),
    "cluster_vx_bins": Field(int, 300, _ONCE),
    "cluster_vy_bins": Field(int, 300, _ONCE),
    "cluster_radius": Field(float, 0.005, _POSITIVE),
    "cluster_mahalanobis_distance": Field(float, 3.0, _POSITIVE),
    "cluster_velocity_bin_separation": Field(float, 2.0, _POSITIVE),
    "cluster_whiten": Field(bool, False),
    "cluster_min_obs": Field(int, 6, at_least(3)[KEY]),
    "cluster_min_arc_length": Field(float, 1.0, at_least(0)[KEY]),
    "cluster_min_nights": Field(int, 3, _ONCE),
    "cluster_rchi2_threshold": Field(float, 1e4, _POSITIVE),
    "cluster_algorithm": Field(str, "dbscan", one_of("hotspot_2d", "dbscan")[KEY]),
    "cluster_chunk_size": Field(int, 1000, _ONCE),
    "split_threshold": Field(int, None, may_be_none=True, refused=_SPLIT),
    "split_max_depth": Field(int, 2, refused=_SPLIT),
    "split_method": Field(str, "eigenvalue", refused=_SPLIT),
    "stop_after_stage": Field(str, None, may_be_none=True, refused=_STAGES),
    "iod_min_obs": Field(int, 6, at_least(3)[KEY]),
    "iod_min_arc_length": Field(float, 1.0, at_least(0)[KEY]),
    "iod_contamination_percentage": Field(float, 20.0, _PERCENT),
    "iod_rchi2_threshold": Field(float, 1e3, _POSITIVE),
    "iod_observation_selection_method": Field(str, "combinations", one_of("combinations", "first+middle+last")[KEY]),
    "iod_chunk_size": Field(int, 10, _ONCE),
    "od_min_obs": Field(int, 6, at_least(3)[KEY]),
    "od_min_arc_length": Field(float, 1.0, at_least(0)[KEY]),
    "od_contamination_percentage": Field(float, 20.0, _PERCENT),
    "od_rchi2_threshold": Field(float, 1e2, _POSITIVE),
    "od_delta": Field(float, 1e-6, _POSITIVE),
    "od_max_iter": Field(int, 10, _ONCE),
    "od_chunk_size": Field(int, 10, _ONCE),
    "arc_extension_min_obs": Field(int, 6, at_least(3)[KEY]),
    "arc_extension_min_arc_length": Field(float, 1.0, at_least(0)[KEY]),
    "arc_extension_contamination_percentage": Field(float, 0.0, _PERCENT),
    "arc_extension_rchi2_threshold": Field(float, 10.0, _POSITIVE),
    "arc_extension_radius": Field(float, 1 / 3600, _POSITIVE),
    "arc_extension_chunk_size": Field(int, 100, _ONCE),
}
"""Every field of upstream's `Config`, in its order. Angles in degrees, velocities in degrees a day, arcs in days."""

MAX_PROCESSES = 1
"""What `max_processes` is here when a config does not say: a worker has one core, unlike upstream's default of all."""

COUNTERPARTS: Mapping[str, tuple[str, ...]] = {
    "range_and_shift.cell_radius_deg": ("filter_cell_radius",),
    "range_and_shift.cell_mahalanobis": ("filter_mahalanobis_distance",),
    "cluster_and_link.min_observations": (
        "cluster_min_obs",
        "iod_min_obs",
        "od_min_obs",
        "arc_extension_min_obs",
    ),
    "cluster_and_link.min_nights": ("cluster_min_nights",),
    "cluster_and_link.min_arc_days": (
        "cluster_min_arc_length",
        "iod_min_arc_length",
        "od_min_arc_length",
        "arc_extension_min_arc_length",
    ),
    "cluster_and_link.grid_speed_deg_per_day": (
        "cluster_vx_min",
        "cluster_vx_max",
        "cluster_vy_min",
        "cluster_vy_max",
    ),
    "cluster_and_link.grid_bins": ("cluster_vx_bins", "cluster_vy_bins"),
    "cluster_and_link.grid_radius_deg": ("cluster_radius",),
    "merge_and_extend.radius_arcsec": ("arc_extension_radius",),
}
"""Our settings that mean the same to upstream, and which of its fields they set; a field's own key wins."""

SIMILAR: Mapping[str, str] = {
    "cluster_and_link.max_speed_deg_per_day": "cluster_vx_max",
    "initial_orbit_determination.max_reduced_chi2": "iod_rchi2_threshold",
    "initial_orbit_determination.max_outlier_fraction": "iod_contamination_percentage",
    "orbit_determination.max_reduced_chi2": "od_rchi2_threshold",
    "orbit_determination.max_outlier_fraction": "od_contamination_percentage",
    "orbit_determination.max_iterations": "od_max_iter",
}
"""Our settings that upstream has something like: what to set instead."""

HEEDED = ("engine", "seed", "default_sigma_deg", "range_and_shift.exposures_per_block", "cluster_and_link.algorithm")
"""Keys that may be set with engine thor: what is around the stages heeds them, or they change no result of any engine.
Claims (`claims.*`) are heeded, too."""


def thor_settings_from_items(items: Mapping[str, str]) -> ThorSettings:
    """Parse values of upstream's fields, by name without the prefix.

    Raises
    ------
    EngineInputError
        For a field that upstream has not got, one that can't be set here, or a value that it can't have.
    """
    return tuple(sorted((name, _parsed(name, text)) for name, text in items.items()))


def items_from_thor_settings(settings: ThorSettings) -> dict[str, str]:
    """Return the keys with their values as text: the inverse of `thor_settings_from_items`, with the prefix."""
    return {f"{PREFIX}{name}": NONE if value is None else str(value) for name, value in settings}


def require_effect(changed: tuple[str, ...], thor: ThorSettings, *, engine: str) -> None:
    """Refuse settings that would have no effect with the engine.

    Parameters
    ----------
    changed
        Keys of ours that have another value than their default.

    Raises
    ------
    EngineInputError
        It names the key, and what to set instead where there is something.
    """
    if engine != "thor":
        if thor:
            raise EngineInputError(
                f"Setting {PREFIX + thor[0][0]!r} has no effect with engine {engine!r}: it is upstream's. Set "
                "engine,thor, or leave it out."
            )
        return
    for key in changed:
        if key not in HEEDED and key not in COUNTERPARTS and not key.startswith("claims."):
            instead = f"set {PREFIX + SIMILAR[key]!r} instead" if key in SIMILAR else "leave it out"
            raise EngineInputError(
                f"Setting {key!r} has no effect with engine 'thor': it is the built-in engine's; {instead} "
                "(docs/upstream.md lists upstream's)."
            )


def differences_of_config(found: Mapping[str, object]) -> list[str]:
    """Return in words how the fields of an upstream's `Config` differ from those that the adapter was written for."""
    lacking = [f"it lacks {name}" for name in FIELDS if name not in found]
    added = [f"it has {name} besides" for name in found if name not in FIELDS]
    changed = [
        f"the default of {name} is {found[name]!r}, not {field.default!r}"
        for name, field in FIELDS.items()
        if name in found and found[name] != field.default
    ]
    return [*lacking, *added, *changed]


def _parsed(name: str, text: str) -> ThorValue:
    key = PREFIX + name
    if name not in FIELDS:
        close = difflib.get_close_matches(name, FIELDS, n=1)
        hint = f"did you mean {PREFIX + close[0]!r}?" if close else "expected a field of upstream's Config."
        raise EngineInputError(f"Unknown setting {key!r}: {hint}")
    field = FIELDS[name]
    if field.refused is not None:
        raise EngineInputError(f"Setting {key!r} can't be set: {field.refused}.")
    text = text.strip()
    if field.may_be_none and text.lower() == NONE:
        return None
    try:
        value: int | float | str | bool = _typed(text, field.kind)
    except (ValueError, KeyError):
        value = math.nan
    if (isinstance(value, float) and not math.isfinite(value)) or not field.allowed.contains(value):
        or_none = f", or {NONE}" if field.may_be_none else ""
        raise EngineInputError(
            f"Setting {key!r} is {text!r}: expected {expected_of(field.kind, field.allowed)}{or_none}."
        )
    return value


def _typed(text: str, kind: type) -> int | float | str | bool:
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    value: int | float | str = kind(text)
    return value
