"""A client submits a job. Bucket before queue: a message never names a task whose inputs are not there.

Order: observations, config, each task's test orbit and status `requested`, manifest, one message per task, and at the
very end the manifest's `submitted_at`. Every step may run twice: what is there and is the same is left as it is.
"""

import contextlib
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

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
        """Tell whether somebody deleted observations or config."""
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
        """Write `submitted_at`: the job is submitted. Somebody who did it at the same time is right, too."""
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


class SubmitSteps:
    """The steps of a submission, each called directly. `tasks.prefect_api.steps` has them as Prefect tasks."""

    def __init__(self, submission: Submission, open_publisher: Callable[[], Publisher]) -> None:
        self.submission = submission
        self.open_publisher = open_publisher

    def upload_job_files(self) -> None:
        """Write observations and config."""
        self.submission.upload_job_files()

    def upload_tasks(self, runs: Sequence[tuple[int, int]]) -> int:
        """Write test orbit and status of these runs of tasks, several runs at a time; return how many are new."""
        return sum(for_each(runs, lambda run: self.submission.upload_tasks(*run)))

    def write_manifest(self) -> None:
        """Write the manifest without `submitted_at`."""
        self.submission.write_manifest()

    def enqueue(self, runs: Sequence[Sequence[TaskId]]) -> int:
        """Send a message for each task, and return how many."""
        with contextlib.closing(self.open_publisher()) as publisher:
            return sum(self.submission.enqueue(publisher, task_ids) for task_ids in runs)

    def complete_manifest(self) -> Manifest:
        """Write the manifest with `submitted_at`."""
        return self.submission.complete_manifest()


def submit_job(steps: SubmitSteps) -> Manifest:
    """Submit a job: the order of writes.

    Twice: completes what was interrupted, puts back what somebody deleted, and rings again for every task that has not
    come to its end: its message may be lost, and one too many does no harm.

    Raises
    ------
    BadInputError
        If a job of this id was begun with other inputs.
    """
    manifest = steps.submission.require_same_inputs()
    if manifest is not None and manifest.submitted_at is not None:
        _put_back(steps)
        _ring(steps, steps.submission.unfinished_tasks(all_are_new=False))
        return manifest
    steps.upload_job_files()
    count = len(steps.submission.inputs.task_ids)
    new = steps.upload_tasks(batches(count))
    steps.write_manifest()
    _ring(steps, steps.submission.unfinished_tasks(all_are_new=new == count))
    return steps.complete_manifest()


def _put_back(steps: SubmitSteps) -> None:
    """Upload what a submitted job lacks."""
    if steps.submission.lacks_job_files():
        steps.upload_job_files()
    if missing := steps.submission.missing_tasks():
        runs = batches(len(steps.submission.inputs.task_ids))
        steps.upload_tasks([(first, last) for first, last in runs if any(first <= number < last for number in missing)])


def _ring(steps: SubmitSteps, task_ids: Sequence[TaskId]) -> None:
    if task_ids:
        steps.enqueue([task_ids[first:last] for first, last in batches(len(task_ids))])


def batches(count: int, *, smallest: int = 100, most: int = 50) -> list[tuple[int, int]]:
    """Cut `count` tasks into at most `most` runs of (first, last), each of `smallest` or more, but for the last one."""
    size = max(smallest, -(-count // most))
    return [(first, min(first + size, count)) for first in range(0, count, size)]


def new_job_id(text: str | None, *, prefix: str = "job") -> JobId:
    """Return the id that a person asked for, or a new one that sorts by time."""
    return job_id_from_text(text or f"{prefix}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
