"""The Prefect tasks: steps of a job that people see in the UI. Each one only calls what does the work.

None is cached or persisted by Prefect: the bucket is the truth, and each step may run twice.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from tasks.jobs.monitor import JobWatch
from tasks.jobs.submit import Steps
from tasks.records.ids import TaskId
from tasks.records.manifest import Manifest
from tasks.results.job_results import CollectOptions, JobResults, collect_results

Result = TypeVar("Result")


@task(name="monitor", task_run_name="monitor", cache_policy=NO_CACHE)
def monitor(watch: JobWatch, *, on_look: Callable[[list[TaskId]], None], pause_seconds: float) -> None:
    """Follow the statuses until every task has come to an end."""
    watch.until_complete(on_look=on_look, pause_seconds=pause_seconds)


@task(name="collect", task_run_name="collect", cache_policy=NO_CACHE)
def collect(watch: JobWatch, *, manifest: Manifest, output: Path, options: CollectOptions) -> JobResults:
    """Download the outputs of every task that has come to an end, merge them and report them."""
    return collect_results(watch, manifest=manifest, output=output, options=options)


class PrefectSteps(Steps):
    """The steps of a submission as Prefect tasks; many of a kind at once."""

    def one(self, name: str, work: Callable[[], Result]) -> Result:
        """Run a step as a Prefect task."""
        return _step(name, work)()

    def many(self, works: Mapping[str, Callable[[], Result]]) -> list[Result]:
        """Run steps as Prefect tasks, in its pool of threads."""
        futures = [_step(name, work).submit() for name, work in works.items()]
        return [future.result() for future in futures]


def _step(name: str, work: Callable[[], Result]) -> Task[[], Result]:
    """Return a Prefect task without parameters: an upload's bytes are none of Prefect's business."""

    def step() -> Result:
        return work()

    kind = name.partition(":")[0]
    return task(name=kind, task_run_name=name, cache_policy=NO_CACHE)(step)
