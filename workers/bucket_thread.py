"""One thread that does the supervisor's bucket operations in turn: the queue's heartbeats never wait for one."""

import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class BucketThread:
    """A daemon: a bucket that does not answer cannot keep the process from leaving."""

    def __init__(self, *, on_done: Callable[[], None]) -> None:
        self._errands: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._on_done = on_done
        threading.Thread(target=self._work, name="bucket", daemon=True).start()

    def submit(self, errand: Callable[[], T]) -> Future[T]:
        """Queue an operation; it runs after all that were submitted before it. `on_done` is called after each."""
        future: Future[T] = Future()
        context = contextvars.copy_context()  # log lines of the thread name the task as well
        self._errands.put((future, lambda: context.run(errand)))
        return future

    def _work(self) -> None:
        while True:
            future, errand = self._errands.get()
            try:
                future.set_result(errand())
            except BaseException as error:  # noqa: BLE001 (it is raised where the result is taken)
                future.set_exception(error)
            self._on_done()
