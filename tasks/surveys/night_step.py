"""What one night changes: objects grow by attribution, what is left of the window is linked, what is found gets a name.

Both halves are functions of tables. Between them lies the night's job, an ordinary one.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.known_detections.tables import KNOWN_ORBITS
from tasks.engines.settings import EngineSettings
from tasks.engines.tables import RECOVERED_ORBIT_MEMBERS, RECOVERED_ORBITS
from tasks.inputs.known_observations import attributed
from tasks.results.job_detections import ASKED
from tasks.results.merge_results import MergedResults
from tasks.surveys.objects import (
    MEMBER_FIELDS,
    ORBIT_FIELDS,
    SurveyObjects,
    found_objects,
    joined,
    observations_of,
)


@dataclass(frozen=True)
class Window:
    """A night's window before its job."""

    #: Certain objects, grown by what was attributed to them.
    objects: SurveyObjects
    grown: tuple[str, ...]
    #: Observations of the window that are of none of them.
    left: pa.Table


def attributed_to_objects(before: SurveyObjects, window: pa.Table, night: int, settings: EngineSettings) -> Window:
    """Attribute a window's observations to the certain objects, and fit those anew that got some.

    What the fit of an object rejects stays with it as an outlier, and is linked again: it may be of another.
    """
    objects = before.confirmed()
    grown: tuple[str, ...] = ()
    free = window.filter(pc.invert(pc.is_in(window["obs_id"], objects.members["obs_id"].combine_chunks())))
    if len(objects.orbits) and len(free):
        found = attributed(free, [_as_catalogue(objects)], settings, name=f"night {night}").observations
        if len(found):
            objects, grown = _grown(objects, free, found, night, settings)
    return Window(objects, grown, _without(window, objects))


def with_found(before: SurveyObjects, window: Window, found: MergedResults | None, night: int) -> SurveyObjects:
    """Return the objects after the night; `found` None: nothing was linked."""
    if found is None or len(found.orbits) == 0:
        return joined([window.objects])
    return joined([window.objects, found_objects(found, window.left, before, night)])


def _without(window: pa.Table, objects: SurveyObjects) -> pa.Table:
    """Return the observations that are not in use by an object."""
    used = objects.members.filter(pc.equal(objects.members["outlier"], 0))["obs_id"].combine_chunks()
    return window.filter(pc.invert(pc.is_in(window["obs_id"], used)))


def _as_catalogue(objects: SurveyObjects) -> pa.Table:
    orbits = objects.orbits
    columns = {name: orbits[name] for name in orbits.column_names} | {"orbit_id": orbits["object_id"]}
    arrays = [columns.get(field.name, pa.nulls(len(orbits), field.type)) for field in KNOWN_ORBITS]
    table = pa.table(arrays, schema=KNOWN_ORBITS)
    return table.filter(pc.is_valid(table["covariance"]))


def _grown(
    objects: SurveyObjects, left: pa.Table, found: pa.Table, night: int, settings: EngineSettings
) -> tuple[SurveyObjects, tuple[str, ...]]:
    from tasks.engines.known_detections.refit import refitted  # noqa: PLC0415 (the engine's compiled kernels)

    grows = set(found["known_object"].to_pylist())
    growing = objects.where([name in grows for name in objects.ids])
    row_of = {name: row for row, name in enumerate(growing.ids)}
    new = left.take(found["obs_index"].combine_chunks())
    columns = [new[field.name] if field.name in new.column_names else pa.nulls(len(new), field.type) for field in ASKED]
    new = pa.table(columns, schema=ASKED)
    old = observations_of(growing.members)
    owner = np.concatenate(
        [
            growing.members["orbit_index"].to_numpy().astype(np.int64),
            np.array([row_of[name] for name in found["known_object"].to_pylist()], dtype=np.int64),
        ]
    )
    is_new = np.repeat([False, True], [len(old), len(new)])
    every = pa.concat_tables([old.cast(ASKED), new]).combine_chunks()
    order = np.argsort(owner, kind="stable")
    every, owner, is_new = every.take(pa.array(order)), owner[order], is_new[order]
    fits = refitted(growing.orbits.select(RECOVERED_ORBITS.names), every, owner, is_new, settings)
    again = _with_fits(growing, every, fits.orbits, fits.members, night).where(fits.is_orbit.tolist())
    names = set(again.ids)
    return joined([objects.where([name not in names for name in objects.ids]), again]), tuple(sorted(names))


def _with_fits(
    growing: SurveyObjects, observations: pa.Table, orbits: pa.Table, members: pa.Table, night: int
) -> SurveyObjects:
    """Return the objects with their new orbits and members; name and first night stay."""
    own = {field.name: growing.orbits[field.name] for field in ORBIT_FIELDS if field.name not in orbits.column_names}
    own["last_night"] = pa.array([night] * len(orbits), pa.int64())
    own |= {name: orbits[name] for name in orbits.column_names}
    rows = members["obs_index"].combine_chunks()
    matter = {name: observations[name].take(rows) for name in observations.column_names}
    matter |= {name: members[name] for name in RECOVERED_ORBIT_MEMBERS.names}
    return SurveyObjects(
        pa.table([own[field.name] for field in ORBIT_FIELDS], schema=ORBIT_FIELDS),
        pa.table([matter[field.name] for field in MEMBER_FIELDS], schema=MEMBER_FIELDS),
    )
