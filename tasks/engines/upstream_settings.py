"""Upstream's own settings, keys `thor.<field>`: every field of its `Config` by name, type, default and range.

They are the fields at the commit that the adapter was written for; an interpreter with others is refused. None of them
is in a config that does not name it: what ours do not say keeps upstream's default.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import Field as Limits

from tasks.engines.errors import EngineInputError
from tasks.engines.setting_fields import Flag, Setting

PREFIX = "thor."

NONE = "none"
"""How a config says None, where upstream allows it."""

ThorValue = int | float | str | bool | None
ThorSettings = tuple[tuple[str, ThorValue], ...]
"""Fields with their values, sorted by name: what a config names, and no more."""


@dataclass(frozen=True)
class Field:
    """One field of upstream's `Config`."""

    #: Its type, with its range or choices.
    kind: Any
    default: ThorValue
    may_be_none: bool = False
    #: Why a config may not set it; None: it may.
    refused: str | None = None


_STAGES = "every stage is run, since its tables are outputs"
_SPLIT = "upstream splits a test orbit only where it runs many; here each test orbit is a task: choose more of them"

Count = Annotated[int, Limits(ge=1)]
AtLeastThree = Annotated[int, Limits(ge=3)]
Bytes = Annotated[int, Limits(ge=0)]
Positive = Annotated[float, Limits(gt=0)]
NotNegative = Annotated[float, Limits(ge=0)]
Angle = Annotated[float, Limits(gt=0, le=180)]
Percent = Annotated[float, Limits(ge=0, lt=100)]

FIELDS: Mapping[str, Field] = {
    "max_processes": Field(Count, None, may_be_none=True),
    "ray_memory_bytes": Field(Bytes, 0),
    # Nothing that is read from a bucket names a module to import.
    "propagator_namespace": Field(Literal["adam_assist.ASSISTPropagator"], "adam_assist.ASSISTPropagator"),
    "filter_cell_radius": Field(Angle, None, may_be_none=True),
    "filter_mahalanobis_distance": Field(Positive, 5.0, may_be_none=True),
    "filter_chunk_size": Field(Count, 100000),
    "cluster_vx_min": Field(float, -0.1),
    "cluster_vx_max": Field(float, 0.1),
    "cluster_vy_min": Field(float, -0.1),
    "cluster_vy_max": Field(float, 0.1),
    "cluster_vx_bins": Field(Count, 300),
    "cluster_vy_bins": Field(Count, 300),
    "cluster_radius": Field(Positive, 0.005),
    "cluster_mahalanobis_distance": Field(Positive, 3.0),
    "cluster_velocity_bin_separation": Field(Positive, 2.0),
    "cluster_whiten": Field(Flag, False),
    "cluster_min_obs": Field(AtLeastThree, 6),
    "cluster_min_arc_length": Field(NotNegative, 1.0),
    "cluster_min_nights": Field(Count, 3),
    "cluster_rchi2_threshold": Field(Positive, 1e4),
    "cluster_algorithm": Field(Literal["hotspot_2d", "dbscan"], "dbscan"),
    "cluster_chunk_size": Field(Count, 1000),
    "split_threshold": Field(int, None, may_be_none=True, refused=_SPLIT),
    "split_max_depth": Field(int, 2, refused=_SPLIT),
    "split_method": Field(str, "eigenvalue", refused=_SPLIT),
    "stop_after_stage": Field(str, None, may_be_none=True, refused=_STAGES),
    "iod_min_obs": Field(AtLeastThree, 6),
    "iod_min_arc_length": Field(NotNegative, 1.0),
    "iod_contamination_percentage": Field(Percent, 20.0),
    "iod_rchi2_threshold": Field(Positive, 1e3),
    "iod_observation_selection_method": Field(Literal["combinations", "first+middle+last"], "combinations"),
    "iod_chunk_size": Field(Count, 10),
    "od_min_obs": Field(AtLeastThree, 6),
    "od_min_arc_length": Field(NotNegative, 1.0),
    "od_contamination_percentage": Field(Percent, 20.0),
    "od_rchi2_threshold": Field(Positive, 1e2),
    "od_delta": Field(Positive, 1e-6),
    "od_max_iter": Field(Count, 10),
    "od_chunk_size": Field(Count, 10),
    "arc_extension_min_obs": Field(AtLeastThree, 6),
    "arc_extension_min_arc_length": Field(NotNegative, 1.0),
    "arc_extension_contamination_percentage": Field(Percent, 0.0),
    "arc_extension_rchi2_threshold": Field(Positive, 10.0),
    "arc_extension_radius": Field(Positive, 1 / 3600),
    "arc_extension_chunk_size": Field(Count, 100),
}
"""Every field of upstream's `Config`, in its order. Angles in degrees, velocities in degrees a day, arcs in days."""

SETTINGS: Mapping[str, Setting] = {
    f"{PREFIX}{name}": Setting(
        f"{PREFIX}{name}",
        field.kind,
        NONE if field.default is None else field.default,
        field.refused or "Upstream's own, with engine thor (docs/upstream.md).",
    )
    for name, field in FIELDS.items()
}
"""The same as keys of config.csv, with upstream's defaults."""

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
        return cast("ThorValue", SETTINGS[key].parsed(text))
    except EngineInputError as error:
        if field.may_be_none:
            raise EngineInputError(f"{str(error).removesuffix('.')}, or {NONE}.") from None
        raise
