"""What people see of a job's results beside its run in Prefect: a table of its tasks, and a page with its orbits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.prefect_api import instrument
from tasks.records.status import Status
from tasks.results.completeness import share_text
from tasks.results.job_results import JobResults
from tasks.results.plots import Picture
from tasks.results.report import seconds_of
from tasks.wording import counted

SHOWN_PICTURE_BYTES = 120_000
"""So much of the pictures is put on the page, which should stay below 200 kB; base64 makes them a third larger."""
FIRST_PICTURES = ("a_e", "a_i", "completeness", "residuals", "fits", "sky")
"""Which of them, as long as they fit; the report has all."""
SHOWN_FAILURES = 50
"""Most failed tasks on the page; the table of tasks has them all."""
SHOWN_ORBITS = 50
"""Most recovered orbits on the page; recovered_orbits.csv has them all."""

ORBIT_COLUMNS: Mapping[str, tuple[str, str]] = {
    "orbit": ("orbit_id", ""),
    "class": ("orbit_class", ""),
    "a [au]": ("a", ".4f"),
    "e": ("e", ".4f"),
    "i [deg]": ("i", ".3f"),
    "observations": ("num_obs", "d"),
    "nights": ("num_nights", "d"),
    "arc [d]": ("arc_length", ".1f"),
    'rms ["]': ("rms_arcsec", ".2f"),
    "known object": ("known_object", ""),
}
"""Head of a column: name of it in recovered_orbits, and how its values are written."""


def show_results(
    results: JobResults, *, job_id: str, totals: Mapping[str, Any] | None = None, notes: Sequence[str] = ()
) -> None:
    """Put a table of tasks and a page of results beside the flow run.

    Parameters
    ----------
    totals
        What else is known of the job, such as its completeness where the truth is known.
    notes
        Sentences that a person must see: what was left out of the inputs or chosen, what is not shown.
    """
    rows = [
        {
            "task": task.task_id,
            "state": task.status.state,
            "attempts": task.status.attempt,
            "seconds": seconds_of(task.status),
            "error": _first_line(task.status),
        }
        for task in results.tasks
    ]
    key = f"thor-job-{job_id}".lower()
    instrument.show_table(f"{key}-tasks", rows, f"Tasks of job {job_id}")
    title = f"Job {job_id}: {counted(len(results.merged.orbits), 'recovered orbit')}"
    pictures = [(f"**{each.title}** {each.caption}", each.small_png) for each in chosen_pictures(results.pictures)]
    instrument.show_pictures(f"{key}-results", title, pictures, text=text_of_results(results, totals or {}, notes))


def chosen_pictures(pictures: Sequence[Picture]) -> list[Picture]:
    """Return those that fit the page, in the order of `FIRST_PICTURES`. Pure."""
    by_name = {each.name: each for each in pictures}
    chosen: list[Picture] = []
    for each in (by_name[name] for name in FIRST_PICTURES if name in by_name):
        if sum(len(picture.small_png) for picture in [*chosen, each]) <= SHOWN_PICTURE_BYTES:
            chosen.append(each)
    return chosen


def text_of_results(results: JobResults, totals: Mapping[str, Any], notes: Sequence[str] = ()) -> str:
    """Return notes, totals, failures and recovered orbits as tables in markdown."""
    facts: dict[str, object] = {"tasks": len(results.tasks)}
    facts |= {str(state): count for state, count in Counter(task.status.state for task in results.tasks).items()}
    facts |= {"recovered_orbits": len(results.merged.orbits), **totals, "files": f"`{results.output}`"}
    lines = [(name.replace("_", " "), _value(value)) for name, value in facts.items()]
    said = [f"> {note}" for note in (*notes, *results.ades.notes)]
    parts = [*said, _markdown_table(("of the job", "value"), lines)]
    failed = [task for task in results.tasks if task.status.state == "failed"]
    if failed:
        errors = [(task.task_id, task.status.error_kind, _first_line(task.status)) for task in failed[:SHOWN_FAILURES]]
        more = f", the first {SHOWN_FAILURES} of them" if len(failed) > SHOWN_FAILURES else ""
        parts += [
            f"### {counted(len(failed), 'failure')}{more}",
            _markdown_table(("task", "kind", "error"), errors),
        ]
    return "\n\n".join([*parts, *_orbits(results)])


def _orbits(results: JobResults) -> list[str]:
    orbits = results.merged.orbits
    if not len(orbits):
        return []
    names = {head: column for head, column in ORBIT_COLUMNS.items() if column[0] in orbits.column_names}
    lines = [
        [_written(row[name], form) for name, form in names.values()]
        for row in orbits.slice(0, SHOWN_ORBITS).to_pylist()
    ]
    more = f" (the first {SHOWN_ORBITS}; recovered_orbits.csv has all)" if len(orbits) > SHOWN_ORBITS else ""
    return [f"### {counted(len(orbits), 'recovered orbit')}{more}", _markdown_table(list(names), lines)]


def _written(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _value(value: object) -> str:
    return share_text(value) if value is None or isinstance(value, float) else str(value)


def _first_line(status: Status) -> str:
    return status.error.splitlines()[0] if status.error else ""
