"""What people see of an attempt beside its run in Prefect: a table of its stages, and a picture."""

from collections.abc import Iterable

from tasks.engines.interface import STAGES
from tasks.jobs.run_attempt import Attempt, StageReport
from tasks.prefect_api import instrument
from tasks.results.task_plot_data import plot_data_of_task
from tasks.wording import counted

PICTURE_AFTER_SECONDS = 5.0
"""A picture takes half a second of a processor: it is drawn of tasks that took ten times as long."""
BETWEEN_STAGES = (
    "observations",
    "projected_observations",
    "clusters",
    "iod_orbits",
    "od_orbits",
    "recovered_orbits",
)
"""What each stage takes, and after it what the next one does."""


def show_attempt(attempt: Attempt) -> None:
    """Put the table of its stages beside the flow run, and the picture of a task that took long enough for one."""
    task = attempt.assignment
    has_picture = seconds_in_stages(attempt.reports.values()) >= PICTURE_AFTER_SECONDS
    title = f"Task {task.task_id} of job {task.job_id}, attempt {task.attempt} by worker {task.worker}"
    about_picture = "" if has_picture else f". No picture: it took less than {PICTURE_AFTER_SECONDS:g} s"
    rows = [row_of_stage(report) for report in attempt.reports.values()]
    instrument.show_table("thor-task-stages", rows, f"{title}: what each stage took and gave{about_picture}")
    if has_picture:
        with instrument.not_shown():
            show_picture(attempt)


def show_picture(attempt: Attempt) -> None:
    """Put a picture of what the stages gave beside the flow run, if there is anything to be seen."""
    from tasks.results.task_plots import picture_of_task  # noqa: PLC0415 (matplotlib: 40 MB that only a picture needs)

    plot_data = plot_data_of_task(attempt.tables)
    if plot_data is not None:
        caption = "The cell in the co-rotating frame, velocities of its clusters, residuals of the recovered orbits."
        title = f"Task {attempt.assignment.task_id}"
        instrument.show_pictures("thor-task-pictures", title, [(caption, picture_of_task(plot_data))])


def row_of_stage(report: StageReport) -> dict[str, object]:
    """Return a row of that table. Pure.

    The page cuts off what is too wide, so what went in and came out stand first, and the other counts last.
    """
    (taken, given) = BETWEEN_STAGES[STAGES.index(report.stage) :][:2]
    others = ", ".join(f"{name} {count}" for name, count in report.counts.items() if name not in {taken, given})
    return {
        "stage": report.stage,
        "in": _counted(report, taken),
        "out": _counted(report, given),
        "seconds": round(report.seconds, 3),
        "memory [MB]": round(report.memory_bytes / 1e6),
        "resumed": "yes" if report.resumed else "",
        "other counts": others,
    }


def words_from_report(report: StageReport) -> str:
    """Return the counts of a stage in words. Pure."""
    counts = ", ".join(f"{name} {count}" for name, count in report.counts.items()) or "no counts"
    return f"From the checkpoint of a former attempt: {counts}" if report.resumed else counts


def words_from_success(attempt: Attempt) -> str:
    """Return in words what came of an attempt that succeeded."""
    last = attempt.reports.get(STAGES[-1])
    found = "" if last is None else f"{_counted(last, BETWEEN_STAGES[-1])}, "
    return f"{found}{seconds_in_stages(attempt.reports.values()):.1f} s in stages"


def seconds_in_stages(reports: Iterable[StageReport]) -> float:
    """Return how long this attempt computed. Pure."""
    return sum(report.seconds for report in reports if not report.resumed)


def _counted(report: StageReport, name: str) -> str:
    if name not in report.counts:
        return ""
    return counted(report.counts[name], name.replace("_", " ").removesuffix("s"))
