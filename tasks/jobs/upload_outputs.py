"""A worker uploads what a task brought: each file over the very object it knows of, and only while it owns the task."""

import logging
import threading
from collections.abc import Callable, Mapping

from tasks.bucket.at_once import for_each
from tasks.bucket.checksum import crc32c_from_bytes
from tasks.bucket.layout import TaskLayout
from tasks.bucket.store import MUST_NOT_EXIST, Bucket
from tasks.errors import GenerationMismatchError
from tasks.records.status import OutputObject

TRIES = 5
"""How often a file that changes under our hands is written again; each time the lease is confirmed first."""

logger = logging.getLogger(__name__)


class _Lease:
    """Asks whether the task is ours, for several threads: one question at a time, and none after it was lost."""

    def __init__(self, await_lease: Callable[[], None]) -> None:
        self._await_lease = await_lease
        self._lock = threading.Lock()
        self._lost: BaseException | None = None

    def confirm(self) -> None:
        """Return when the task is ours; raise what the first question raised that had no answer."""
        with self._lock:
            if self._lost is not None:
                raise self._lost
            try:
                self._await_lease()
            except BaseException as error:
                self._lost = error
                raise


class OutputPrefix:
    """The outputs of one task, as an attempt found them when it began.

    The first attempt takes it that there are none, and does not ask: where that is wrong (of a job of that name that
    was deleted, something stayed), a write is refused, and settled as any other that meets another's file.
    """

    def __init__(self, bucket: Bucket, task: TaskLayout, *, is_first: bool = False) -> None:
        self._bucket = bucket
        self._task = task
        listed = () if is_first else bucket.list(task.outputs_prefix)
        self._generations = {info.name: info.generation for info in listed}

    def upload(self, files: Mapping[str, bytes], *, await_lease: Callable[[], None]) -> tuple[OutputObject, ...]:
        """Write all files and return what a status says of them, sorted by name.

        Order: the lease is confirmed before the first write; `await_lease` never returns to an attempt that lost the
        task. A late writer that was asleep meanwhile finds other generations, asks again, and is stopped there.
        Several files are written at one time, and none any more when this returns or raises.
        """
        lease = _Lease(await_lease)
        lease.confirm()
        return tuple(
            for_each(sorted(files), lambda name: self._upload_one(name, files[name], await_lease=lease.confirm))
        )

    def _upload_one(self, file_name: str, body: bytes, *, await_lease: Callable[[], None]) -> OutputObject:
        name = self._task.output(file_name)
        for _ in range(TRIES):
            expected = self._generations.get(name, MUST_NOT_EXIST)
            try:
                self._generations[name] = self._bucket.write(name, body, if_generation=expected)
                return OutputObject(name=file_name, size=len(body), crc32c=crc32c_from_bytes(body))
            except GenerationMismatchError:
                # Our own write, sent twice, or a former owner that wrote late: if the task is still ours, we win.
                logger.warning(
                    "Output %s was written by another process meanwhile; checking whether the task is still ours.", name
                )
                # The generation first: whoever takes the task over after the lease was confirmed writes a newer one.
                self._generations[name] = self._bucket.generation(name)
                await_lease()
        raise GenerationMismatchError(
            f"Cannot write {name} of {self._bucket.url}: another process wrote it {TRIES} times in between. "
            "Look for a second worker on this task that was not stopped."
        )
