"""A client brings the outputs of a job home: each file checked against the task's status, and then written whole.

A file that is already there and is the same is not downloaded again, so an interrupted collect goes on where it was.
"""

import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tasks.bucket.checksum import crc32c_from_bytes
from tasks.bucket.layout import JobLayout, TaskLayout
from tasks.bucket.store import Bucket
from tasks.errors import BadInputError, BucketUnavailableError, ObjectNotFoundError
from tasks.jobs.finish import ERROR_MESSAGE
from tasks.records.ids import TaskId
from tasks.records.status import OutputObject, Status

DOWNLOADERS = 8
"""Tasks whose outputs are downloaded at one time."""


JOB_FILE = "job.json"
"""Says in a directory of results whose they are."""

logger = logging.getLogger(__name__)


class OutputDiffersError(BucketUnavailableError):
    """An output is missing, or not what the task's status says."""


class OutputNameError(BadInputError):
    """A status names an output that can't be one."""


@dataclass(frozen=True)
class CollectedTask:
    """The outputs of one task on this machine."""

    task_id: TaskId
    orbit_id: str
    status: Status
    #: `<output>/tasks/<task_id>/outputs`.
    directory: Path

    def read(self, file_name: str) -> bytes | None:
        """Return the content of an output, or None when the task has no such file."""
        if not any(output.name == file_name for output in self.status.outputs):
            return None
        return (self.directory / file_name).read_bytes()


def collect_outputs(
    bucket: Bucket,
    layout: JobLayout,
    *,
    statuses: Mapping[TaskId, Status],
    orbit_ids: Mapping[TaskId, str],
    output: Path,
    wanted: Callable[[str], bool] = lambda _: True,
) -> list[CollectedTask]:
    """Download the outputs of every task that has come to an end, in the order of `statuses`.

    An output of a *failed* task that is missing or other than its status says is left out with a warning: it may have
    been listed while a former attempt still wrote. Outputs of a succeeded task are the result, and checked strictly.

    Parameters
    ----------
    wanted
        Tells of the name of an output whether it is downloaded.

    Raises
    ------
    BadInputError
        If the status of a succeeded task names a file that can't be one, or `output` can't be written to.
    BucketUnavailableError
        If the bucket does not answer, or an output of a succeeded task is not what its status says, also when read
        again.
    """

    def collect(task_id: TaskId) -> CollectedTask:
        status = statuses[task_id]
        directory = output / "tasks" / task_id / "outputs"
        for expected in filter(lambda each: wanted(each.name), status.outputs if status.is_terminal else ()):
            try:
                _bring_home(bucket, layout.task(task_id), expected, directory)
            except (OutputDiffersError, OutputNameError) as error:
                if status.state == "succeeded":
                    raise
                logger.warning("Left an output of failed task %s out: %s", task_id, error)
        if status.state == "succeeded":
            remove_file(directory / ERROR_MESSAGE)  # of an earlier collect, before the task was retried
        return CollectedTask(task_id, orbit_ids[task_id], status, directory)

    with ThreadPoolExecutor(DOWNLOADERS) as downloaders:
        return list(downloaders.map(collect, statuses))


def write_whole(path: Path, body: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BadInputError(
            f"Cannot write {path}: {error.strerror or error}. Choose another --output, or make room; then "
            "`python -m flows.collect` goes on, and downloads nothing twice."
        ) from error


def remove_file(path: Path) -> None:
    """Remove a file; nothing happens when it is not there, or when another collect was faster."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise BadInputError(
            f"Cannot remove {path}, which is of an earlier collect: {error.strerror or error}. Remove it by hand, or "
            "choose another --output."
        ) from error


def require_own(output: Path, job_id: str) -> None:
    """Refuse a directory that holds another job's results: two jobs' files would lie among each other there.

    Raises
    ------
    BadInputError
        If another job's are there.
    """
    owner = _owner(output)
    if owner not in {None, job_id}:
        raise BadInputError(
            f"Cannot write results of job {job_id} to {output}: it holds those of job {owner} ({JOB_FILE} there says "
            "so). Choose another --output."
        )


def make_own(output: Path, job_id: str) -> None:
    """Write into a directory whose results it holds; see `require_own`.

    Idempotent: the same job may write again. Raises BadInputError as `require_own` does.
    """
    require_own(output, job_id)
    write_whole(output / JOB_FILE, json.dumps({"job_id": job_id}).encode() + b"\n")


def _owner(output: Path) -> str | None:
    """Return the job whose results a directory holds; None: no job's, or it is not known."""
    try:
        found = json.loads((output / JOB_FILE).read_bytes())
        return str(found["job_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def require_writable(output: Path, job_id: str) -> None:
    """Find out before the work, not after it, whether a job's results can be written below `output`; it is made.

    Raises
    ------
    BadInputError
        If not, or if it holds another job's.
    """
    require_own(output, job_id)
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise BadInputError(
            f"Cannot write results to {output}: {error.strerror or error}. Choose another --output."
        ) from error


def _bring_home(bucket: Bucket, task: TaskLayout, expected: OutputObject, directory: Path) -> None:
    try:
        name = task.output(expected.name)
    except BadInputError as error:  # it would leave the prefix here or in the bucket
        raise OutputNameError(str(error)) from error
    path = directory / name.removeprefix(task.outputs_prefix)
    if path.is_file() and path.stat().st_size == expected.size and _is_same(path.read_bytes(), expected):
        return
    for _ in range(2):
        try:
            body = bucket.read(name).body
        except ObjectNotFoundError as error:
            raise OutputDiffersError(
                f"Cannot collect {name} of {bucket.url}: it is missing, though the status of task {task.task_id!r} "
                "names it. It was deleted; `retry` the task."
            ) from error
        if _is_same(body, expected):
            write_whole(path, body)
            return
    raise OutputDiffersError(
        f"Cannot collect {name} of {bucket.url}: found {len(body)} bytes with CRC-32C {crc32c_from_bytes(body)}, "
        f"expected {expected.size} with {expected.crc32c} by the task's status. Is the task being retried? Try again."
    )


def _is_same(body: bytes, expected: OutputObject) -> bool:
    return len(body) == expected.size and crc32c_from_bytes(body) == expected.crc32c
