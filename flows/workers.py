"""`python -m flows.workers`: which workers there are, and what each is at."""

import sys
from datetime import datetime

from flows.terminal import command_line
from flows.terminal.places import bucket_of
from flows.terminal.signature import BucketUrl
from flows.terminal.verb import Verb
from tasks.operations.workers_list import SILENT_SECONDS, WorkerSummary, list_workers

COLUMNS = ("worker", "since (UTC)", "engine", "job", "task", "stage", "attempt", "last sign (UTC)", "notes")


def workers(bucket: BucketUrl = None) -> list[WorkerSummary]:
    """List the workers of a bucket: when each started, and which task and stage it is working on.

    A worker reports every ten minutes, and each time it renews the lease of its task. Times are by the worker's own
    clock.
    """
    return list_workers(bucket_of(bucket))


def show(found: list[WorkerSummary]) -> None:
    """Print the table."""
    if not found:
        command_line.print_line("No worker is there. `python -m workers` starts one.")
        return
    command_line.print_table(COLUMNS, [row(worker) for worker in found])


def row(worker: WorkerSummary) -> tuple[object, ...]:
    """Return the cells of one worker."""
    return (
        worker.worker,
        _time(worker.started_at),
        worker.engine,
        worker.job_id or "idle",
        worker.task_id,
        worker.stage,
        worker.attempt or None,
        _time(worker.last_sign_at),
        f"silent for more than {SILENT_SECONDS / 60:.0f} min: killed, or cut off" if worker.is_silent else "",
    )


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


main = Verb("workers", workers, show=show)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
