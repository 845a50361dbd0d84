"""How complete and pure a survey's objects are, where the observations say which object each detection is of."""

import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.settings import ClusterAndLinkSettings
from tasks.engines.tables import OBJECT_ID, RECOVERED_ORBIT_MEMBERS
from tasks.results.completeness import OBJECTS_FILE, completeness_of
from tasks.results.job_detections import ASKED, TRUTH, JobDetections
from tasks.surveys.objects import SurveyObjects

Figures = dict[str, float | None]


def truth_of_window(window: pa.Table, objects: SurveyObjects, settings: ClusterAndLinkSettings) -> Figures:
    """Return completeness and purity after a night; empty where the truth is not known.

    Complete: of the objects that could be found in the window those that a pure orbit of the survey is of, whenever it
    was found. Pure: of the certain objects those whose detections in use are all of one.
    """
    if OBJECT_ID.name not in window.column_names:
        return {}
    certain = objects.confirmed()
    pure = _pure(certain)
    columns = [window[name] if name in window.column_names else pa.nulls(len(window)) for name in TRUTH.names]
    truth = pa.table(columns, names=TRUTH.names).cast(TRUTH)
    truth = truth.filter(pc.is_valid(truth[OBJECT_ID.name]))
    nothing = ASKED.empty_table()
    detections = JobDetections(nothing, len(window), {}, nothing, 1, truth)
    judged = completeness_of(detections, RECOVERED_ORBIT_MEMBERS.empty_table(), settings=settings)
    if not judged.tables:
        return {}
    table = judged.tables[OBJECTS_FILE]
    findable = set(table.filter(table["findable"])["object_id"].to_pylist())
    found = findable & set(pure)
    return {
        "findable_objects": len(findable),
        "recovered_objects": len(found),
        "completeness": len(found) / len(findable) if findable else None,
        "purity": len(pure) / len(certain.ids) if certain.ids else None,
    }


def _pure(objects: SurveyObjects) -> list[str]:
    """Return the truth of each object whose detections in use are all of one."""
    used = objects.members.filter(pc.equal(objects.members["outlier"], 0))
    names: list[set[str | None]] = [set() for _ in objects.ids]
    for row, name in zip(used["orbit_index"].to_pylist(), used[OBJECT_ID.name].to_pylist(), strict=True):
        names[row].add(name)
    return [name for each in names if len(each) == 1 and (name := next(iter(each))) is not None]
