"""How far a job is: counts derived from the statuses of its tasks. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.records.status import Status


@dataclass(frozen=True)
class JobProgress:
    """Number of a job's tasks in each state."""

    requested: int = 0
    in_progress: int = 0
    succeeded: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """Number of tasks."""
        return self.requested + self.in_progress + self.succeeded + self.failed

    @property
    def completed(self) -> int:
        """Number of tasks in a terminal state."""
        return self.succeeded + self.failed

    @property
    def percent(self) -> float:
        """How many of a hundred tasks have come to an end; of no tasks, all."""
        return 100.0 * self.completed / self.total if self.total else 100.0

    @property
    def is_complete(self) -> bool:
        """Whether every task has come to a terminal state."""
        return self.completed == self.total


def progress_from_statuses(statuses: Iterable[Status]) -> JobProgress:
    """Count the tasks by state."""
    counts = {"requested": 0, "in_progress": 0, "succeeded": 0, "failed": 0}
    for status in statuses:
        counts[status.state] += 1
    return JobProgress(**counts)
