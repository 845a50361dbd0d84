"""How much of a task is shown in Prefect: who decides. Pure."""

from typing import Literal, cast, get_args

from tasks.settings import Instrumentation

Level = Literal["stages", "task", "off"]
"""stages: a run for each stage below that of the attempt. task: that run alone. off: nothing."""

MOST_TASKS_WITH_STAGES = 300
"""A server on SQLite is one process, and takes 0.1 s for a run: six of them for each of more tasks is more than it, and
people, can look through."""


def level_of_job(asked: Instrumentation, *, n_tasks: int) -> Level:
    """Return what a client asks of the workers: the client knows how many tasks there are."""
    if asked != "auto":
        return asked
    return "stages" if n_tasks <= MOST_TASKS_WITH_STAGES else "task"


def level_of_worker(own: Instrumentation, told: str | None) -> Level:
    """Return what a worker shows: its own setting wins; "auto" follows the message, or without word in it is modest."""
    if own != "auto":
        return own
    return cast("Level", told) if told in get_args(Level) else "task"
