"""What a person gets each morning: tables of what is new, has grown or fell away, and a page over all nights."""

from collections.abc import Sequence
from datetime import date, timedelta
from html import escape

import pyarrow as pa
import pyarrow.compute as pc

from tasks.records.survey import NightRecord
from tasks.results.merge_results import MergedResults
from tasks.surveys.objects import SurveyObjects

FILES = {
    "recovered_orbits.csv": "every object of the survey after this night, candidates too",
    "recovered_orbit_members.csv": "their detections, with residuals",
    "new_objects.csv": "objects that are certain since this night",
    "grown_objects.csv": "objects that got detections of this night or late ones, with the orbits fitted anew",
    "candidates.csv": "orbits whose quality flags leave them uncertain: their detections are linked again",
    "fell_away.csv": "candidates of the night before that this night did not find again, with their last orbits",
}
"""Files of a night, with what each is; docs/surveys.md has them."""

COLUMNS = ("night", "observations", "known", "linked", "new", "grown", "candidates", "fell away", "objects", "job")

CSS = "body{font:15px sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:right}th{border-bottom:1px solid #888}"


def tables_of_morning(complete: MergedResults, before: SurveyObjects, record: NightRecord) -> dict[str, pa.Table]:
    """Return the tables of `FILES`.

    Parameters
    ----------
    complete
        The objects after the night, as people get them (`SurveyObjects.completed`).
    before
        The objects before it.
    """
    index = [name for name in complete.members.column_names if name.endswith("_index")]
    fell_away = before.where([name in set(record.fell_away) for name in before.ids])
    return {
        "recovered_orbits.csv": complete.orbits,
        "recovered_orbit_members.csv": complete.members.drop_columns(index),
        "new_objects.csv": _of(complete.orbits, record.new),
        "grown_objects.csv": _of(complete.orbits, record.grown),
        "candidates.csv": _of(complete.orbits, record.candidates),
        "fell_away.csv": fell_away.completed().orbits,
    }


def survey_page(survey_id: str, records: Sequence[NightRecord]) -> bytes:
    """Return the page over all nights, the last one first, UTF-8."""
    head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row_of_night(record)) + "</tr>"
        for record in reversed(records)
    )
    title = escape(f"Survey {survey_id}")
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{CSS}</style></head>\n"
        f"<body><h1>{title}</h1>\n<table><tr>{head}</tr>\n{rows}\n</table></body></html>\n"
    )
    return page.encode()


def row_of_night(record: NightRecord) -> tuple[object, ...]:
    """Return the cells of a night, in the order of `COLUMNS`."""
    counts = (len(each) for each in (record.new, record.grown, record.candidates, record.fell_away))
    return (
        date_of_night(record.night),
        record.n_observations,
        record.n_known,
        record.n_linked,
        *counts,
        record.n_objects,
        record.job_id or "-",
    )


def date_of_night(night: int) -> str:
    """Return the local date on which a night began, of its MJD."""
    return str(date(1858, 11, 17) + timedelta(days=night))


def _of(orbits: pa.Table, names: Sequence[str]) -> pa.Table:
    return orbits.filter(pc.is_in(orbits["object_id"], pa.array(names, pa.string())))
