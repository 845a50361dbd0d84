"""`python -m workers`: take tasks from the queue and compute them, until told to leave."""

import logging
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from flows.terminal.signature import BucketUrl, CommandLine, QueueUrl
from tasks.bootstrap import open_bucket_from_settings, open_consumer_from_settings
from tasks.broker.urls import redacted_url
from tasks.errors import BadInputError, ThorQueueError
from tasks.metrics import WorkerMetrics, counted_bucket, keep_metrics_file, serve_metrics
from tasks.settings import Settings, settings_from_environment
from tasks.worker_processes import worker_command
from workers.attempt_watch import Rhythm
from workers.child_keeper import ChildCannotStartError
from workers.fleet import Fleet
from workers.logs import log_to_stderr
from workers.mortality import die_with
from workers.reach import OutOfReachError
from workers.shutdown import Shutdown
from workers.supervise import Habits, Supervisor

CHILD_COMMAND = (sys.executable, "-m", "workers.child")

logger = logging.getLogger("workers")


@dataclass(frozen=True)
class Options:
    """Take linking tasks from the queue, compute them, and put the results in the bucket.

    SIGTERM or Ctrl-C: finish the task and leave; twice: give it back and leave at once. Every THOR_* variable is
    described in tasks/settings.py; options win over it.

    Args:
        bucket: gs://NAME or file:///PATH; tasks of any other are refused. Default: THOR_BUCKET, or a directory in
            THOR_HOME.
        idle_timeout: Leave after this many seconds without a task. Default: never.
        processes: Workers on this machine.
        json: Write log lines as JSON objects, for a program to read.
        metrics_port: Serve metrics for Prometheus on this port; with --processes on this one and those after it.
        metrics_file: Write them into this file every 15 s, for node_exporter's textfile collector.
    """

    queue: QueueUrl = None
    bucket: BucketUrl = None
    idle_timeout: Annotated[float | None, Field(ge=0), Parameter(metavar="SECONDS")] = None
    processes: Annotated[int, Field(ge=1)] = 1
    json: bool = False
    metrics_port: Annotated[int | None, Field(ge=1, le=65535)] = None
    metrics_file: Path | None = None
    #: Which of a fleet's workers this is.
    member: Annotated[int, Parameter(show=False)] = 0
    #: The process with which this one dies: a fleet, or a flow run.
    parent_pid: Annotated[int | None, Parameter(show=False)] = None


COMMAND_LINE = CommandLine(Options, program="python -m workers")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one worker, or a fleet; return the exit code: 0 left as asked, 1 could not work, 2 wrong settings."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        parsed = COMMAND_LINE.parse(given)
    except BadInputError as error:
        print(error, file=sys.stderr)  # noqa: T201 (what a person reads)
        return 2
    if parsed is None:
        return 0
    options = Options(**parsed)
    worker = f"{socket.gethostname()}:{os.getpid()}"
    log_to_stderr(worker, as_json=options.json)
    if options.parent_pid is not None:
        die_with(options.parent_pid)
    elif options.processes > 1:
        return Fleet(command=worker_command(*given), size=options.processes).run()
    try:
        _work(settings_from_environment(), options, worker)
    except (ChildCannotStartError, OutOfReachError) as error:
        logger.error("%s", error)  # noqa: TRY400 (the message says all; our own traceback would hide it)
        return 1
    except ThorQueueError as error:
        logger.error("Cannot work: %s", error)  # noqa: TRY400
        return 2
    return 0


def _work(settings: Settings, options: Options, worker: str) -> None:
    metrics = WorkerMetrics(worker)
    bucket = counted_bucket(open_bucket_from_settings(settings, options.bucket or settings.bucket), metrics)
    asked = None if options.queue is None else options.queue.get_secret_value()
    queue_url = asked or settings.with_bucket(bucket.url).queue_url
    logger.info("Serving queue %s and bucket %s.", redacted_url(queue_url), bucket.url)
    warn_of_short_patience(options.idle_timeout, delay_seconds=settings.delay_seconds(queue_url))
    _publish_metrics(metrics, options)
    Supervisor(
        consumer=open_consumer_from_settings(settings, queue_url),
        bucket=bucket,
        habits=replace(
            habits_from_settings(settings, queue_url, worker=worker, idle_timeout_seconds=options.idle_timeout),
            metrics=metrics,
        ),
        shutdown=Shutdown(drain_seconds=settings.drain_seconds),
    ).run()


def _publish_metrics(metrics: WorkerMetrics, options: Options) -> None:
    if options.metrics_port is not None:
        serve_metrics(metrics.registry, port=options.metrics_port + options.member)
    if options.metrics_file is not None:
        path = options.metrics_file
        named = path.with_stem(f"{path.stem}-{options.member}") if options.processes > 1 else path
        keep_metrics_file(metrics.registry, named)


def warn_of_short_patience(idle_timeout_seconds: float | None, *, delay_seconds: float) -> None:
    """Tell a person when all workers may have left before a task that one of them lost comes back."""
    if idle_timeout_seconds is not None and idle_timeout_seconds < delay_seconds:
        logger.warning(
            "Leaves after %g s without a message, but a task whose worker was lost comes back only after %g s "
            "(THOR_TAKEOVER_DELAY_SECONDS): if no worker is left by then, it stays in the queue. Wait longer, or "
            "start a worker later.",
            idle_timeout_seconds,
            delay_seconds,
        )


def habits_from_settings(
    settings: Settings,
    queue_url: str,
    *,
    worker: str,
    idle_timeout_seconds: float | None,
    child_command: Sequence[str] = CHILD_COMMAND,
) -> Habits:
    """Return how a worker on that queue works."""
    return Habits(
        worker=worker,
        child_command=child_command,
        rhythm=Rhythm(
            renew_seconds=settings.renew_seconds(queue_url), time_limit_seconds=settings.task_time_limit_seconds
        ),
        idle_timeout_seconds=idle_timeout_seconds,
        tasks_per_child=settings.tasks_per_child,
        thor_python=settings.thor_python,
        out_of_reach_seconds=None if idle_timeout_seconds is None else settings.out_of_reach_seconds,
        health_folder=settings.home / "health",
    )


if __name__ == "__main__":
    sys.exit(main())
