"""The worker of the tests: the real supervisor with the synthetic child, and with faults where a test wants them.

`--real-engine` has the product's own child instead, and the engine in it; `--claiming` the product's own attempt around
an engine of the tests.
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kill-at")
    parser.add_argument("--kill-at-line", help="what this worker logs at its last moment")
    parser.add_argument("--real-engine", action="store_true")
    parser.add_argument("--claiming", action="store_true", help="the child of tasks that claim observations")
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
        child_command=CHILD_COMMAND if options.real_engine else CLAIMING_CHILD if options.claiming else CHILD,
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
