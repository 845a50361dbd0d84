"""A job is looked at several times a second; people hear of it when something has changed."""

import logging

from flows.terminal.reporter import LogReporter
from tasks.records.progress import JobProgress

WAITING = JobProgress(requested=2)
AT_WORK = JobProgress(requested=1, in_progress=1)
ONE_FAILED = JobProgress(requested=1, failed=1)
DONE = JobProgress(succeeded=1, failed=1)


def test_the_log_has_a_line_for_the_first_look_each_failure_and_the_end(caplog):
    reporter = LogReporter()

    with caplog.at_level(logging.INFO):
        for progress in (WAITING, WAITING, AT_WORK, WAITING, ONE_FAILED, ONE_FAILED, AT_WORK, DONE, DONE):
            reporter.progress(progress)

    assert [record.message for record in caplog.records] == [
        "0 of 2 tasks done, 0 in progress",
        "1 of 2 tasks done, 1 failed, 0 in progress",
        "2 of 2 tasks done, 1 failed, 0 in progress",
    ]
