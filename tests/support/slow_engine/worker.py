"""The worker of the tests: the real supervisor with the synthetic child, and with faults where a test wants them.

`--real-engine` has the product's own child instead, and the engine in it; `--held-engine` has them too, and each task
waits at a gate of its own; `--claiming` has the product's own attempt around an engine of the tests.
"""

import argparse
import logging
import os
import socket
import sys

from tasks.bootstrap import open_bucket_from_settings, open_consumer_from_settings
from tasks.settings import settings_from_environment
from tests.support.slow_engine.kill_switch import (
    AnswerLosingBucket,
    DeadlyBucket,
    DeadlyConsumer,
    DeadlyHandler,
    KillSwitch,
)
from tests.support.slow_engine.moved_clock import follow_file_if_asked
from tests.support.slow_engine.mutants import MUTANTS
from workers.__main__ import CHILD_COMMAND, habits_from_settings
from workers.logs import log_to_stderr
from workers.shutdown import Shutdown
from workers.supervise import Supervisor

CHILD = (sys.executable, "-m", "tests.support.slow_engine.child")
CLAIMING_CHILD = (sys.executable, "-m", "tests.support.slow_engine.claiming_child")
HELD_CHILD = (sys.executable, "-m", "tests.support.slow_engine.held_child")


def child_command(options: argparse.Namespace) -> tuple[str, ...]:
    chosen = {CHILD_COMMAND: options.real_engine, CLAIMING_CHILD: options.claiming, HELD_CHILD: options.held_engine}
    return next((command for command, is_chosen in chosen.items() if is_chosen), CHILD)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kill-at")
    parser.add_argument("--kill-at-line", help="what this worker logs at its last moment")
    parser.add_argument("--real-engine", action="store_true")
    parser.add_argument("--claiming", action="store_true", help="the child of tasks that claim observations")
    parser.add_argument("--held-engine", action="store_true")
    parser.add_argument("--mutant", choices=sorted(MUTANTS))
    parser.add_argument("--lose-answers", action="store_true")
    parser.add_argument("--idle-timeout", type=float)
    options = parser.parse_args()
    if options.mutant:
        MUTANTS[options.mutant]()
    follow_file_if_asked()
    settings = settings_from_environment()
    switch = KillSwitch(options.kill_at)
    worker = f"{socket.gethostname()}:{os.getpid()}"
    log_to_stderr(worker)
    if options.kill_at_line:
        logging.getLogger().addHandler(DeadlyHandler(options.kill_at_line))
    habits = habits_from_settings(
        settings,
        settings.queue_url,
        worker=worker,
        idle_timeout_seconds=options.idle_timeout,
        child_command=child_command(options),
    )
    bucket = open_bucket_from_settings(settings)
    Supervisor(
        consumer=DeadlyConsumer(open_consumer_from_settings(settings), switch),
        bucket=DeadlyBucket(AnswerLosingBucket(bucket) if options.lose_answers else bucket, switch),
        habits=habits,
        shutdown=Shutdown(drain_seconds=settings.drain_seconds),
    ).run()


if __name__ == "__main__":
    main()
