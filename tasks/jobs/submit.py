"""A client submits a job. Bucket before queue: a message never names a task whose inputs are not there.

Order: observations, config, each task's test orbit and status `requested`, manifest, one message per task, and at the
very end the manifest's `submitted_at`. Every step may run twice: what is there and is the same is left as it is.
"""

import contextlib
import functools
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from tasks.broker.protocol import OutgoingMessage, Publisher
from tasks.bucket.at_once import for_each
from tasks.bucket.content import BLOCK_BYTES, Body, ScratchFile, content_of, sha256_of
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import MUST_NOT_EXIST, Bucket
from tasks.errors import BadInputError, GenerationMismatchError
from tasks.inputs.job_inputs import JobInputs
from tasks.jobs.manifest_file import read_manifest, read_manifest_if_there
from tasks.jobs.monitor import read_statuses
from tasks.jobs.task_messages import ShownAs, message_of_task
from tasks.records.ids import JobId, TaskId, job_id_from_text
from tasks.records.manifest import Manifest, manifest_from_bytes
from tasks.records.status import Status
from tasks.wording import counted

Result = TypeVar("Result")


class Submission:
    """One job on its way from a client to the bucket and the queue. Its steps may be called from several threads."""

    def __init__(self, *, bucket: Bucket, job_id: JobId, inputs: JobInputs, shown: ShownAs | None = None) -> None:
        self.bucket = bucket
        self.inputs = inputs
        self.layout = JobLayout(job_id)
        #: How workers are to show the tasks of the job in Prefect.
        self.shown = shown or ShownAs()

    @property
    def job_id(self) -> JobId:
        """The job."""
        return self.layout.job_id

    def require_same_inputs(self) -> Manifest | None:
        """Return the manifest when there is one already, after a look that this is the same job.

        Raises
        ------
        BadInputError
            If a job of this id was submitted, or begun, with other inputs.
        """
        manifest = read_manifest_if_there(self.bucket, self.layout)
        if manifest is not None:
            self._refuse_other_inputs(manifest)
            return manifest
        known = set(self.inputs.task_ids)
        for info in self.bucket.list(self.layout.tasks_prefix):
            task_id = info.name.removeprefix(self.layout.tasks_prefix).split("/")[0]
            if task_id not in known:
                raise self._other_inputs(f"it has a task {task_id!r} that is not among these test orbits")
        return None

    def lacks_job_files(self) -> bool:
        """Tell whether observations or config were deleted."""
        names = [self.layout.observations, self.layout.config]
        if self.inputs.known_csv is not None:
            names.append(self.layout.known_observations)
        return any(self.bucket.generation(name) == MUST_NOT_EXIST for name in names)

    def missing_tasks(self) -> list[int]:
        """Return the numbers of the tasks that have no test orbit or no status."""
        listed = {
            info.name
            for ending in ("/inputs/orbits.csv", "/status.json")
            for info in self.bucket.list(self.layout.tasks_prefix, ending=ending)
        }
        tasks = [self.layout.task(task_id) for task_id in self.inputs.task_ids]
        return [number for number, task in enumerate(tasks) if not {task.orbits, task.status} <= listed]

    def upload_job_files(self) -> None:
        """Write observations and config, and what was left out of the observations."""
        if self.inputs.known_csv is not None:
            self._create(self.layout.known_observations, self.inputs.known_csv)
        self._create(self.layout.observations, self.inputs.observations)
        self._create(self.layout.config, self.inputs.config_csv)

    def upload_tasks(self, first: int, last: int) -> int:
        """Write test orbit and status of tasks number `first` to `last` - 1, and return how many statuses are new."""
        return sum(self._upload_task(number) for number in range(first, last))

    def write_manifest(self) -> Manifest:
        """Write the manifest with `submitted_at` null; one that is there stays."""
        manifest = Manifest(
            job_id=self.job_id,
            task_ids=self.inputs.task_ids,
            orbit_ids=self.inputs.orbit_ids,
            created_at=datetime.now(UTC),
            bucket=self.bucket.url,
            engine_name=self.inputs.engine_name,
            engine_version=self.inputs.engine_version,
            inputs_sha256=dict(self.inputs.sha256),
            prefect_parent_run_id=self.shown.parent_run_id,
            instrumentation=self.shown.instrumentation,
            notes=self.inputs.notes,
            expected=self.inputs.expected,
        )
        try:
            self.bucket.write(self.layout.manifest, manifest.to_bytes(), if_generation=MUST_NOT_EXIST)
        except GenerationMismatchError:
            manifest = read_manifest(self.bucket, self.layout)
            self._refuse_other_inputs(manifest)
        return manifest

    def unfinished_tasks(self, *, all_are_new: bool) -> list[TaskId]:
        """Return the tasks that need a message: all but those that have come to an end."""
        if all_are_new:
            return list(self.inputs.task_ids)
        statuses = read_statuses(self.bucket, self.layout, self.inputs.task_ids)
        return [task_id for task_id in self.inputs.task_ids if not statuses[task_id].is_terminal]

    def enqueue(self, publisher: Publisher, task_ids: Sequence[TaskId]) -> int:
        """Send a message for each of these tasks, and return how many."""
        publisher.publish([self._message(task_id) for task_id in task_ids])
        return len(task_ids)

    def complete_manifest(self) -> Manifest:
        """Write `submitted_at`: the job is submitted. If another client did it at the same time, that is right, too."""
        stored = self.bucket.read(self.layout.manifest)
        manifest = manifest_from_bytes(stored.body)
        if manifest.submitted_at is not None:
            return manifest
        complete = manifest.model_copy(update={"submitted_at": datetime.now(UTC)})
        try:
            self.bucket.write(self.layout.manifest, complete.to_bytes(), if_generation=stored.generation)
        except GenerationMismatchError:
            return read_manifest(self.bucket, self.layout)
        return complete

    def _upload_task(self, number: int) -> bool:
        task = self.layout.task(self.inputs.task_ids[number])
        self._create(task.orbits, self.inputs.orbit_csvs[number])
        requested = Status(state="requested", updated_at=datetime.now(UTC))
        try:
            self.bucket.write(
                task.status, requested.to_bytes(), if_generation=MUST_NOT_EXIST, summary=requested.summary
            )
        except GenerationMismatchError:
            return False
        return True

    def _create(self, name: str, body: Body) -> None:
        """Write an object that never changes; one that is there must be the same."""
        # Of a large object the condition is looked at when all of it was sent.
        if content_of(body).size > BLOCK_BYTES and self.bucket.generation(name) != MUST_NOT_EXIST:
            self._require_same(name, body)
            return
        try:
            self.bucket.write(name, body, if_generation=MUST_NOT_EXIST)
        except GenerationMismatchError:
            self._require_same(name, body)

    def _require_same(self, name: str, body: Body) -> None:
        there = ScratchFile()
        self.bucket.download(name, there)
        if there.sha256 != sha256_of(body):
            raise self._other_inputs(f"{name} is not the same")

    def _message(self, task_id: TaskId) -> OutgoingMessage:
        return message_of_task(self.bucket, self.layout, task_id, shown=self.shown)

    def _refuse_other_inputs(self, manifest: Manifest) -> None:
        sums = self.inputs.sha256
        changed = [name for name, found in manifest.inputs_sha256.items() if sums.get(name) != found]
        if changed:
            raise self._other_inputs(f"sha256 of {', '.join(changed)} is not the same")

    def _other_inputs(self, found: str) -> BadInputError:
        return BadInputError(
            f"Cannot go on with job {self.job_id!r} in {self.bucket.url}: it was begun with other inputs ({found}). "
            "Give the same files as then, or another --job-id."
        )


class Steps:
    """How the steps of a job are run: each directly. `tasks.prefect_api.steps` runs them as Prefect tasks."""

    def one(self, name: str, work: Callable[[], Result]) -> Result:
        """Run a step; its name is `<kind>: <what>`, or the kind alone."""
        del name
        return work()

    def many(self, works: Mapping[str, Callable[[], Result]]) -> list[Result]:
        """Run steps of one kind, by name, several at a time."""
        return for_each(works.values(), lambda work: work())


def upload(submission: Submission, steps: Steps) -> Sequence[TaskId]:
    """Upload observations, config, each task's inputs and the manifest; return the tasks that need a message.

    Idempotent: completes what was interrupted, and puts back what was deleted of a job that was submitted.

    Raises
    ------
    BadInputError
        If a job of this id was begun with other inputs.
    """
    manifest = submission.require_same_inputs()
    is_submitted = manifest is not None and manifest.submitted_at is not None
    if not is_submitted or submission.lacks_job_files():
        steps.one("upload: observations and config", submission.upload_job_files)
    count = len(submission.inputs.task_ids)
    runs = batches(count)
    if is_submitted:
        missing = submission.missing_tasks()
        runs = [(first, last) for first, last in runs if any(first <= number < last for number in missing)]
    works = {f"upload: tasks from {run[0]}": functools.partial(submission.upload_tasks, *run) for run in runs}
    n_new = sum(steps.many(works))
    if not is_submitted:
        steps.one("manifest", submission.write_manifest)
    return submission.unfinished_tasks(all_are_new=n_new == count)


def enqueue(
    submission: Submission, task_ids: Sequence[TaskId], open_publisher: Callable[[], Publisher], steps: Steps
) -> None:
    """Send a message for each of these tasks: one that is there already may be lost, and one too many does no harm."""
    if task_ids:
        steps.one(
            f"enqueue: {counted(len(task_ids), 'task')}",
            functools.partial(_enqueue, submission, task_ids, open_publisher),
        )


def write_manifest(submission: Submission, steps: Steps) -> Manifest:
    """Write the manifest with `submitted_at`: the job is submitted."""
    return steps.one("manifest: submitted", submission.complete_manifest)


def submit_job(submission: Submission, open_publisher: Callable[[], Publisher], steps: Steps | None = None) -> Manifest:
    """Submit a job. Idempotent.

    Order: everything is uploaded before a message is sent, and the manifest says that the job is submitted at the end.
    """
    steps = steps or Steps()
    task_ids = upload(submission, steps)
    enqueue(submission, task_ids, open_publisher, steps)
    return write_manifest(submission, steps)


def _enqueue(submission: Submission, task_ids: Sequence[TaskId], open_publisher: Callable[[], Publisher]) -> int:
    with contextlib.closing(open_publisher()) as publisher:
        return submission.enqueue(publisher, task_ids)


def batches(count: int, *, smallest: int = 100, most: int = 50) -> list[tuple[int, int]]:
    """Cut `count` tasks into at most `most` runs of (first, last), each of `smallest` or more, but for the last one."""
    size = max(smallest, -(-count // most))
    return [(first, min(first + size, count)) for first in range(0, count, size)]


def new_job_id(text: str | None, *, prefix: str = "job") -> JobId:
    """Return the id that a person asked for, or a new one that sorts by time."""
    return job_id_from_text(text or f"{prefix}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
