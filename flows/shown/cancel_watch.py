"""Looks, beside an attempt at work, whether its run is cancelled in Prefect's UI: C code can't be interrupted."""

import contextvars
import logging
import threading
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect.states import Cancelled

from tasks.prefect_api import runs
from tasks.prefect_api.clients import guarded_client
from tasks.prefect_api.instrument import not_shown
from tasks.records.assignment import CancelAsked, Tell

LOOK_SECONDS = 5.0
"""Seconds between two looks; a task that takes less time is never asked about."""

logger = logging.getLogger(__name__)


class CancelWatch:
    """For as long as the block lasts: asks the supervisor to end the attempt when its run is cancelled."""

    def __init__(self, flow_run_id: UUID, *, tell: Tell) -> None:
        self._flow_run_id = flow_run_id
        self._tell = tell
        self._is_over = threading.Event()
        # In the context of the attempt: with its patience.
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._run,), name="cancel-watch", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()

    def _run(self) -> None:
        is_cancelled = False
        while not is_cancelled and not self._is_over.wait(LOOK_SECONDS):
            # A client of its own: that of the attempt may be closed in the midst of a request.
            with not_shown(), guarded_client() as client:
                is_cancelled = runs.is_cancelled(client, self._flow_run_id)
        if is_cancelled:
            # The supervisor kills this process: nobody else would give these runs their ends.
            with not_shown(), guarded_client() as client:
                run = client.read_flow_run(self._flow_run_id)
                runs.end_run(client, run, Cancelled(message="Cancelled in Prefect; its worker ended the task."))
            self._tell(CancelAsked())
