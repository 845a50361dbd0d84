"""`thor-night`: bring a survey up to date, night after night. `python -m flows.night SURVEY`."""

import contextlib
import functools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field

from flows.monitor import follow
from flows.shown import job_show
from flows.submit import default_workers, job_steps
from flows.terminal import command_line
from flows.terminal.local_processes import LocalWorkers, local_workers
from flows.terminal.places import checked_places, settings_with
from flows.terminal.signature import BucketUrl, Positional, QueueUrl
from flows.terminal.verb import Verb, thor_flow
from tasks.bootstrap import open_publisher_from_settings
from tasks.bucket.store import Bucket
from tasks.errors import ThorQueueError
from tasks.inputs.job_inputs import JobInputs
from tasks.jobs.collect import collect_outputs
from tasks.jobs.monitor import JobWatch
from tasks.jobs.submit import Submission, submit_job
from tasks.jobs.task_messages import ShownAs
from tasks.prefect_api import instrument
from tasks.records.ids import JobId
from tasks.records.instrumentation import level_of_job
from tasks.results.job_results import CollectOptions
from tasks.results.merge_results import MergedResults, merge_results
from tasks.settings import Settings
from tasks.surveys.morning import COLUMNS, row_of_night
from tasks.surveys.run import SurveyOutcome, open_survey, run_survey
from tasks.wording import counted

SurveyName = Annotated[str, Positional("SURVEY")]

SHOWN_NIGHTS = 30
"""Nights that the terminal and Prefect's page list, the last ones; the survey's own page has all."""


class NightJobFailedError(ThorQueueError):
    """Tasks of a night's job failed: the survey waits until a person has looked."""


@thor_flow(name="thor-night", flow_run_name="{survey}")
def run_night(
    survey: SurveyName,
    workers: Annotated[int, Field(ge=0)] | None = None,
    wait: bool = True,  # noqa: FBT001, FBT002 (a check box)
    bucket: BucketUrl = None,
    queue: QueueUrl = None,
) -> SurveyOutcome:
    """Bring a survey up to date: take in new tables, link each new night with those before it, report what is new.

    The survey lies below surveys/SURVEY/ of the bucket (docs/surveys.md). Safe to run at any time, also twice at once;
    if it is killed, the next run goes on. The exit code is 1 when a table was refused.

    Args:
        survey: The survey's name.
        workers: Workers to start on this machine and stop at the end. Default: as many as cores on a sqlite queue, else
            none.
        wait: Follow each night's job to its end. With --no-wait an unfinished job is left to the next run.
    """
    settings = settings_with(bucket=bucket, queue=queue)
    store, settings = checked_places(settings, bucket)
    files = open_survey(store, survey)
    count = workers if workers is not None else default_workers(settings, wait=wait)
    logs = instrument.forwarded_logs() if instrument.is_in_run() else contextlib.nullcontext()
    with logs, _Linking(store, settings, count, wait=wait) as linking:
        outcome = run_survey(files, linking.link)
    tell(outcome)
    return outcome


class _Linking:
    """Has the jobs of nights computed: submits each, follows it and merges what its tasks found."""

    def __init__(self, bucket: Bucket, settings: Settings, workers: int, *, wait: bool) -> None:
        self._bucket = bucket
        self._settings = settings
        self._workers = workers
        self._wait = wait
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *how: object) -> None:
        self._stack.close()

    @functools.cached_property
    def _fleet(self) -> LocalWorkers:
        """The workers of this machine, started for the first job."""
        return self._stack.enter_context(local_workers(self._workers, self._settings, self._bucket.url))

    def link(self, job_id: JobId, inputs: JobInputs) -> MergedResults | None:
        """Return what the job's tasks found; None: it is not complete, and is not waited for."""
        level = level_of_job(self._settings.instrumentation, n_tasks=len(inputs.task_ids))
        parent = job_show.make_parent(level)
        shown = ShownAs(None if parent is None else str(parent), level)
        submission = Submission(bucket=self._bucket, job_id=job_id, inputs=inputs, shown=shown)
        publishing = functools.partial(open_publisher_from_settings, self._settings)
        manifest = submit_job(submission, publishing, job_steps())
        watch = JobWatch(self._bucket, submission.layout, manifest.task_ids)
        watch.look()
        if not watch.progress.is_complete:
            if not self._wait:
                job_show.leave_parent(parent)
                return None
            each_look: Callable[[], None] | None = self._fleet.keep if self._workers else None
            follow(watch, each_look=each_look)
        job_show.end_runs(watch, parent)
        if watch.progress.failed:
            raise NightJobFailedError(
                f"Cannot go on with the survey: {counted(watch.progress.failed, 'task')} of job {job_id} failed. See "
                f"`python -m flows.status {job_id}`; after `python -m flows.retry {job_id}` run this again."
            )
        orbit_ids = dict(zip(manifest.task_ids, manifest.orbit_ids, strict=True))
        with tempfile.TemporaryDirectory(prefix="thor-night-") as folder:
            return merge_results(
                collect_outputs(
                    self._bucket,
                    submission.layout,
                    statuses=watch.whole_statuses(),
                    orbit_ids=orbit_ids,
                    output=Path(folder),
                    wanted=CollectOptions(merge_only=True).wants,
                )
            )


def tell(outcome: SurveyOutcome) -> None:
    """Show people in Prefect what a run did: a table of nights, and an event for each that was computed."""
    subject = f"thor.survey.{outcome.survey}"
    rows = [dict(zip(COLUMNS, row_of_night(record), strict=True)) for record in outcome.nights[-SHOWN_NIGHTS:]]
    if rows:
        instrument.show_table(f"thor-survey-{outcome.survey}".lower(), rows, f"Nights of survey {outcome.survey}")
    for record in outcome.nights[len(outcome.nights) - outcome.n_computed :]:
        instrument.tell_event(
            "thor.survey.night", subject=subject, night=record.night, new=len(record.new), grown=len(record.grown)
        )
    if outcome.report is not None:
        report = outcome.report
        instrument.tell_event(
            "thor.survey.reported", subject=subject, number=report.number, observations=report.n_observations
        )


def show(outcome: SurveyOutcome) -> None:
    """Tell a person what a run did."""
    for taken in outcome.taken:
        if taken.fault is None:
            command_line.print_line(
                f"Took in {taken.table}: {counted(taken.n_observations, 'observation')}, "
                f"{taken.n_known} of known objects."
            )
        else:
            command_line.print_line(f"Refused {taken.table}: {taken.fault}")
    if outcome.nights:
        rows = [row_of_night(record) for record in outcome.nights[-SHOWN_NIGHTS:]]
        command_line.print_table(COLUMNS, rows)
    command_line.print_line(f"{counted(outcome.n_computed, 'night')} computed by this run.")
    if outcome.waits_for is not None:
        command_line.print_line("The next night's job is not complete: run this again.")
    if outcome.report is not None:
        report = outcome.report
        command_line.print_line(
            f"Report {report.number}: {counted(report.n_observations, 'observation')} of "
            f"{counted(report.n_objects, 'object')}: {', '.join(report.files)}"
        )


def is_left(outcome: SurveyOutcome) -> bool:
    """Whether a table was refused."""
    return any(taken.outcome == "refused" for taken in outcome.taken)


main = Verb("night", run_night, show=show, is_failure=is_left)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
