"""The thread of a worker's child that shows people what it does: one attempt after the other, pictures at leisure.

The work never waits for it.
"""

import contextlib
import contextvars
import functools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator

MOST_WAITING = 20
"""The show may be so many attempts behind the work; what is further behind is not shown."""
MOST_LEISURE = 100
"""So many pictures wait for a moment in which nobody computes; then the oldest are given up."""

Act = Callable[[], None]

logger = logging.getLogger(__name__)


class ShowThread:
    """Two queues and a daemon thread, which begins with the first act. Acts run in the context of who asked."""

    def __init__(self) -> None:
        self._acts: deque[Act] = deque()
        self._leisure: deque[Act] = deque(maxlen=MOST_LEISURE)
        self._changed = threading.Condition()
        self._computing = 0
        self._is_on = False
        self._thread: threading.Thread | None = None

    def show(self, act: Act) -> bool:
        """Have `act` done in its turn; False: too many wait."""
        with self._changed:
            if len(self._acts) >= MOST_WAITING:
                return False
            self._acts.append(_in_context(act))
            self._start()
            return True

    def at_leisure(self, act: Act) -> None:
        """Have `act` done when nobody computes and nothing else is to be shown."""
        with self._changed:
            self._leisure.append(_in_context(act))
            self._start()

    @contextlib.contextmanager
    def while_computing(self) -> Iterator[None]:
        """Put off what needs the processor, as long as the block lasts."""
        self._count_computing(1)
        try:
            yield
        finally:
            self._count_computing(-1)

    def finish(self, seconds: float) -> None:
        """Wait until everything is shown, but not for longer; give up the rest."""
        with self._changed:
            self._changed.wait_for(self._is_idle, timeout=seconds)
            self._acts.clear()
            self._leisure.clear()

    def _count_computing(self, change: int) -> None:
        with self._changed:
            self._computing += change
            self._changed.notify_all()

    def _start(self) -> None:
        self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="show", daemon=True)
            self._thread.start()

    def _is_idle(self) -> bool:
        return not (self._acts or self._leisure or self._is_on)

    def _has_something_to_do(self) -> bool:
        return bool(self._acts) or (bool(self._leisure) and not self._computing)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_something_to_do)
                act = self._acts.popleft() if self._acts else self._leisure.popleft()
                self._is_on = True
            try:
                act()
            except Exception as error:  # noqa: BLE001 (whatever Prefect raises, the work is ours)
                logger.warning("Prefect does not show all: %s: %s", type(error).__name__, error)
            finally:
                with self._changed:
                    self._is_on = False
                    self._changed.notify_all()


def _in_context(act: Act) -> Act:
    return functools.partial(contextvars.copy_context().run, act)
