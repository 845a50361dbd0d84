"""What a person gets each morning: tables of what is new, has grown or fell away, and a page over all nights."""

from collections.abc import Sequence
from datetime import date, timedelta
from html import escape

import pyarrow as pa
import pyarrow.compute as pc

from tasks.inputs.csv_text import csv_from_table
from tasks.jobs.output_files import without_row_numbers
from tasks.records.survey import NightRecord
from tasks.results.completeness import share_text
from tasks.results.merge_results import MergedResults
from tasks.results.orbit_plots import pictures_of_orbits
from tasks.surveys.objects import SurveyObjects

FILES = {
    "new_objects.csv": "objects that are certain since this night",
    "grown_objects.csv": "objects that got detections of this night or late ones, with the orbits fitted anew",
    "candidates.csv": "orbits whose quality flags leave them uncertain: their detections are linked again",
    "fell_away.csv": "candidates of the night before that this night did not find again, with their last orbits",
}
"""Files of a night, with what each is; docs/surveys.md has them."""

WHOLE_FILES = {
    "recovered_orbits.csv": "every object of the survey after its last night, candidates too",
    "recovered_orbit_members.csv": "their detections, with residuals",
}
"""Files of the survey as a whole, written again when a night was added."""

COLUMNS = (
    "night",
    "observations",
    "known",
    "linked",
    "new",
    "grown",
    "candidates",
    "fell away",
    "objects",
    "complete",
    "pure",
    "job",
)

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
    fell_away = before.where([name in set(record.fell_away) for name in before.ids])
    return {
        "new_objects.csv": _of(complete.orbits, record.new),
        "grown_objects.csv": _of(complete.orbits, record.grown),
        "candidates.csv": _of(complete.orbits, record.candidates),
        "fell_away.csv": fell_away.completed().orbits,
    }


def whole_files(complete: MergedResults) -> dict[str, bytes]:
    """Return the files of `WHOLE_FILES`, and plots, for the objects after the last night."""
    orbits, members = complete.orbits, without_row_numbers(complete.members)
    bodies = dict(zip(WHOLE_FILES, (csv_from_table(orbits), csv_from_table(members)), strict=True))
    certain = orbits.filter(pc.invert(orbits["is_candidate"]))
    for each in pictures_of_orbits(certain):
        bodies |= {f"plots/{each.name}.png": each.png, f"plots/{each.name}.svg": each.svg}
    return bodies


def survey_page(survey_id: str, records: Sequence[NightRecord]) -> bytes:
    """Return the page over all nights, the last one first, UTF-8.

    It names the tables of the last night: it is another page when these are others.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row_of_night(record)) + "</tr>"
        for record in reversed(records)
    )
    title = escape(f"Survey {survey_id}")
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{CSS}</style></head>\n"
        f"<body><h1>{title}</h1>\n<table><tr>{head}</tr>\n{rows}\n</table>\n{_last(records)}</body></html>\n"
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
        share_text(record.truth["completeness"]) if record.truth else "-",
        share_text(record.truth["purity"]) if record.truth else "-",
        record.job_id or "-",
    )


def _last(records: Sequence[NightRecord]) -> str:
    if not records:
        return ""
    folder = f"nights/{records[-1].folder}"
    tables = [(f"{folder}/{name}", name, text) for name, text in FILES.items()]
    tables += [(name, name, text) for name, text in WHOLE_FILES.items()]
    items = "".join(f'<li><a href="{path}">{name}</a>: {escape(text)}</li>' for path, name, text in tables)
    plots = "".join(f'<img src="plots/{name}.png" alt="{name}">' for name in ("a_e", "a_i") if records[-1].n_objects)
    return f"<h2>After the last night</h2><ul>{items}</ul>{plots}"


def date_of_night(night: int) -> str:
    """Return the local date on which a night began, of its MJD."""
    return str(date(1858, 11, 17) + timedelta(days=night))


def _of(orbits: pa.Table, names: Sequence[str]) -> pa.Table:
    return orbits.filter(pc.is_in(orbits["object_id"], pa.array(names, pa.string())))
