"""`thor-job`, the flow of a client: upload, enqueue, manifest, monitor, collect. `python -m flows.submit`.

Without observations it runs the demo job. Whatever ends it, the same command with the same --job-id goes on.
"""

import contextlib
import contextvars
import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from prefect import runtime, tags
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from flows.collect import bring_home, collect_options, home_of_results
from flows.monitor import follow
from flows.shown import job_show
from flows.shown.cancelled_run import cancel_job_of_run
from flows.shown.result_page import show_results
from flows.terminal import command_line, summary
from flows.terminal.local_processes import PrefectServer, local_workers, prefect_server
from flows.terminal.places import checked_places, settings_with
from flows.terminal.reporter import reporter
from flows.terminal.signature import BucketUrl, QueueUrl
from flows.terminal.summary import JobOutcome, Submitted
from flows.terminal.verb import Verb, thor_flow
from tasks.bootstrap import open_publisher_from_settings
from tasks.errors import BadInputError, EngineUnavailableError, ThorQueueError
from tasks.inputs.engine_of_job import ELSEWHERE
from tasks.inputs.job_inputs import AUTO, InputFiles, JobInputs, demo_inputs, read_inputs
from tasks.jobs.collect import require_writable
from tasks.jobs.monitor import JobWatch
from tasks.jobs.submit import Steps, Submission, enqueue, new_job_id, upload, write_manifest
from tasks.jobs.task_messages import ShownAs
from tasks.operations.doctor_workers import NOBODY_YET, is_nobody_there
from tasks.prefect_api import instrument
from tasks.prefect_api.steps import PrefectSteps
from tasks.records.instrumentation import level_of_job
from tasks.settings import Settings
from tasks.wording import counted


def _tell_nobody(outcome: JobOutcome) -> None:
    """Stand for a caller that only looks at Prefect."""


#: Who is told what came of a job, besides Prefect: the command line.
_tell_outcome: contextvars.ContextVar[Callable[[JobOutcome], None]] = contextvars.ContextVar(
    "tell_outcome", default=_tell_nobody
)


def run_name() -> str:
    """Return what a job's run is called until it has an id."""
    return str(runtime.flow_run.parameters.get("job_id") or "new job")


@thor_flow(
    name="thor-job",
    flow_run_name=run_name,
    on_cancellation=[cancel_job_of_run],
)
def thor_job(  # noqa: PLR0913, PLR0917 (what a person may set in the UI)
    job_id: str = "",
    observations: Path | None = None,
    orbits: Path | None = None,
    number: Annotated[int, Field(ge=1)] | None = None,
    claim_observations: bool = False,  # noqa: FBT001, FBT002 (a check box)
    config: Path | None = None,
    catalogue: Path | None = None,
    leave_out_known: bool = False,  # noqa: FBT001, FBT002 (a check box)
    output: Path | None = None,
    workers: Annotated[int, Field(ge=0)] | None = None,
    wait: bool = True,  # noqa: FBT001, FBT002 (a check box)
    bucket: BucketUrl = None,
    queue: QueueUrl = None,
) -> State[None]:
    """Submit a linking job, follow it, and bring its results home.

    Without observations: the demo job, 28 real objects with JPL Horizons positions, on this machine alone. An
    interrupted job goes on with the same command and its --job-id. Exit code 0: every task succeeded.

    Args:
        job_id: Names the job. Default: a new id from the time. The id of an interrupted job, with the same inputs, goes
            on with it.
        observations: File of detections, on the machine that runs this: THOR's csv, parquet, ADES, 80 columns
            (docs/formats/observations.md).
        orbits: File of test orbits, one task each: THOR's csv, elements, adam-core (docs/formats/test-orbits.md); or
            "auto": chosen to cover the observed sky.
        number: How many test orbits to choose with "auto". Default: as many as add enough coverage for their cost.
        claim_observations: Leave out of later tasks the observations that earlier ones linked with confidence
            (docs/test-orbits.md).
        config: File of settings, csv of key,value. Default: the defaults of all settings.
        leave_out_known: Do not link the detections of objects that --catalogue knows (docs/outputs.md).
        output: Directory for the results, on the machine that runs this. Default: thor_output/JOB_ID.
        workers: Workers to start on this machine and stop at the end. Default: as many as cores on a sqlite queue, else
            none.
        wait: Follow the job and collect its results. With --no-wait it is only submitted: use `flows.monitor` and
            `flows.collect` afterwards.
    """
    # A form in the UI that is left empty gives "". A run that is tried again goes on with the job that it named.
    job_id = new_job_id(job_id or job_show.job_of_run(instrument.flow_run()))
    job_show.name_run(job_id)
    settings = settings_with(bucket=bucket, queue=queue)
    left_out = catalogue_to_leave_out(catalogue, leave_out_known=leave_out_known)
    inputs = inputs_of(observations, orbits, config, number, claim_observations=claim_observations, leave_out=left_out)
    options = collect_options(None, catalogue)
    if wait:
        require_writable(home_of_results(job_id, output), job_id)
    store, settings = checked_places(settings, bucket)
    level = level_of_job(settings.instrumentation, n_tasks=len(inputs.task_ids))
    shown_words = [job_show.words_from_level(level, n_tasks=len(inputs.task_ids))] if instrument.is_in_run() else []
    notes = [*inputs.notes, *shown_words]
    tell(notes)
    parent = job_show.make_parent(level)
    shown = ShownAs(None if parent is None else str(parent), level)
    submission = Submission(bucket=store, job_id=job_id, inputs=inputs, shown=shown)
    count = workers if workers is not None else default_workers(settings, wait=wait)
    require_engine_of_workers(inputs, count)
    # With THOR_INSTRUMENTATION=off there is no run that could show them.
    logs = instrument.forwarded_logs() if instrument.is_in_run() else contextlib.nullcontext()
    steps = job_steps()
    with logs, local_workers(count, settings, store.url) as fleet:
        task_ids = upload(submission, steps)
        enqueue(submission, task_ids, functools.partial(open_publisher_from_settings, settings), steps)
        manifest = write_manifest(submission, steps)
        reporter().say(f"Job {job_id}: {counted(len(manifest.task_ids), 'task')} on the queue; bucket {store.url}")
        instrument.tell_event("thor.job.submitted", subject=f"thor.job.{job_id}", tasks=len(manifest.task_ids))
        watch = JobWatch(store, submission.layout, manifest.task_ids)
        if not wait:
            job_show.leave_parent(parent)
            if is_nobody_there(store):
                reporter().say(NOBODY_YET)
            return Completed(message=f"submitted {counted(len(manifest.task_ids), 'task')}")
        was_cancelled = follow(watch, each_look=fleet.keep if count else None)
        outcome = JobOutcome(manifest, inputs, bring_home(watch, manifest, output=output, options=options))
        unseen = job_show.end_runs(watch, parent)
        tell(unseen)
        show_outcome(outcome, [*notes, *unseen])
    return ended(watch, outcome, was_cancelled=was_cancelled)


def inputs_of(
    observations: Path | None,
    orbits: Path | None,
    config: Path | None,
    number: int | None = None,
    *,
    claim_observations: bool = False,
    leave_out: Path | None = None,
) -> JobInputs:
    """Read and check the inputs; files that were read just before are not read again."""
    if number is not None and (orbits != AUTO or number < 1):
        raise BadInputError(f"Cannot choose {number} test orbits: give 1 or more, with orbits 'auto' only.")
    if observations is not None and orbits is not None:
        return read_inputs(InputFiles(observations, orbits, config, number, claim_observations, leave_out))
    if observations is not None or orbits is not None:
        raise BadInputError("Cannot submit a job: give both observations and orbits, or neither for the demo.")
    if leave_out is not None:
        raise BadInputError("Cannot leave known objects out of the demo: all of its objects are known.")
    if claim_observations:
        raise BadInputError("Cannot claim observations of the demo: each of its test orbits is there for one object.")
    return demo_inputs(config)


def catalogue_to_leave_out(catalogue: Path | None, *, leave_out_known: bool) -> Path | None:
    """Return the catalogue whose objects are left out; None: all is linked."""
    if leave_out_known and catalogue is None:
        raise BadInputError("Cannot leave known objects out: give the catalogue that knows them (--catalogue FILE).")
    return catalogue if leave_out_known else None


def default_workers(settings: Settings, *, wait: bool) -> int:
    """Return how many workers to start here by default."""
    return (os.cpu_count() or 1) if wait and settings.queue_url.startswith("sqlite:") else 0


def require_engine_of_workers(inputs: JobInputs, count: int) -> None:
    """Raise `EngineUnavailableError` when the workers to be started here would leave every task to others."""
    if count and inputs.engine_version == ELSEWHERE:
        raise EngineUnavailableError(
            f"Cannot compute engine {inputs.engine_name!r} with {counted(count, 'worker')} of this machine: "
            "THOR_PYTHON is not set (docs/upstream.md). Set it, or leave the tasks to others: --no-wait or --workers 0."
        )


def job_steps() -> Steps:
    """Return how the steps of a job are run: as Prefect tasks inside a flow run, else directly."""
    return PrefectSteps() if instrument.is_in_run() else Steps()


def tell(notes: Sequence[str]) -> None:
    """Tell the person, and the log of the run, what was left out, filled in or chosen, and what is shown."""
    with instrument.forwarded_logs():
        for note in notes:
            reporter().say(note)


def show_outcome(outcome: JobOutcome, notes: Sequence[str]) -> None:
    """Put what came of the job beside its run; with completeness where the truth is known."""
    if instrument.is_in_run():
        totals = summary.report_of(outcome)["totals"]
        show_results(outcome.results, job_id=outcome.manifest.job_id, totals=totals, notes=notes)


def ended(watch: JobWatch, outcome: JobOutcome, *, was_cancelled: bool) -> State[None]:
    """Tell what came of the job; the run is red when a task failed, and its results are there all the same."""
    _tell_outcome.get()(outcome)
    failed = watch.progress.failed
    message = f"{watch.progress.succeeded} of {counted(watch.progress.total, 'task')} succeeded"
    how = "cancelled" if was_cancelled else "failed" if failed else "succeeded"
    instrument.tell_event(f"thor.job.{how}", subject=f"thor.job.{outcome.manifest.job_id}", message=message)
    if was_cancelled:
        return Cancelled(message=message)
    return Failed(message=message) if failed else Completed(message=message)


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that say nothing together. What is wrong with a single one is refused before.

    Raises
    ------
    BadInputError
        If they do.
    """
    wrong = {
        "--observations and --orbits belong together: give both, or neither for the demo job": (
            "observations" in options
        )
        != ("orbits" in options),
    }
    if not options.get("wait", True):
        wrong |= {
            "--no-wait leaves at once, so it can start no --workers: use `python -m workers`": bool(
                options.get("workers")
            ),
            "--no-wait brings nothing home: give --output and --catalogue to `python -m flows.collect`": (
                "output" in options or ("catalogue" in options and not options.get("leave_out_known"))
            ),
        }
    for sentence, is_wrong in wrong.items():
        if is_wrong:
            raise BadInputError(f"Cannot submit a job: {sentence}.")


def submit(**options: Any) -> Submitted:
    """Submit the job that the options of a command line describe, and follow it."""
    check_options(options)
    with command_line.sigterm_as_interrupt():
        return _submit(**options)


def _submit(job_id: str = "", *, wait: bool = True, **options: Any) -> Submitted:
    # Bad input ends here, before anything is started.
    observations = options.get("observations")
    claims = options.get("claim_observations", False)
    left_out = catalogue_to_leave_out(options.get("catalogue"), leave_out_known=options.get("leave_out_known", False))
    others = map(options.get, ("orbits", "config", "number"))
    inputs_of(observations, *others, claim_observations=claims, leave_out=left_out)
    collect_options(None, options.get("catalogue"))
    bucket = options.get("bucket")
    settings = settings_with(bucket=bucket, queue=options.get("queue"))
    if settings.gcs_bucket_block is None:  # a block may be in the Prefect that is not started yet
        checked_places(settings, bucket)
    job_id = new_job_id(job_id, prefix="job" if observations else "demo")
    if wait:
        require_writable(home_of_results(job_id, options.get("output")), job_id)
    try:
        outcome, prefect = run_shown(settings, job_id=job_id, wait=wait, **options)
    except KeyboardInterrupt:
        # Not "run the same command again": without the id it would submit another job.
        raise KeyboardInterrupt(f"Interrupted. The job goes on with the same command and --job-id {job_id}.") from None
    except (BadInputError, EngineUnavailableError):
        raise
    except ThorQueueError:
        reporter().say(f"The job goes on with the same command and --job-id {job_id}, once this is mended:")
        raise
    finally:
        reporter().close()
    return Submitted(job_id, outcome, prefect)


def run_shown(settings: Settings, **parameters: Any) -> tuple[JobOutcome | None, PrefectServer | None]:
    """Run the job as a flow run of the configured Prefect, or of a local one; when Prefect fails, without it.

    Returns what came of the job (None: it was only submitted) and the Prefect server that shows it (None: none).
    """
    outcomes: list[JobOutcome] = []
    _tell_outcome.set(outcomes.append)
    shown = (
        contextlib.nullcontext() if settings.instrumentation == "off" else prefect_server(settings, say=reporter().say)
    )
    with shown as server:
        run = thor_job.fn if server is None else thor_job
        try:
            with tags(f"job:{parameters['job_id']}"):
                run(**parameters)
        except ThorQueueError:
            raise
        except Exception as error:
            if server is None:
                raise
            if not outcomes:
                reporter().warn(f"Prefect fails, the work goes on unseen: {type(error).__name__}: {error}")
                thor_job.fn(**parameters)
    return (outcomes[0] if outcomes else None), server


main: Verb[Submitted] = Verb(
    "submit",
    thor_job,
    show=summary.show,
    document=summary.document_of,
    is_failure=lambda submitted: submitted.has_failed,
    run=submit,
)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
