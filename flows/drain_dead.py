"""`python -m flows.drain_dead`: clear the dead queue. Its messages' tasks fail with the reason, for all to see."""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing

from flows.terminal import command_line
from flows.terminal.places import bucket_and_settings
from flows.terminal.signature import BucketUrl, QueueUrl
from flows.terminal.verb import Verb, thor_flow
from tasks.bootstrap import open_publisher_from_settings
from tasks.operations.drain_dead import DeadMessage, Outcome
from tasks.operations.drain_dead import drain_dead as drain_dead_messages
from tasks.wording import counted

WORDS: dict[Outcome, str] = {
    "failed": "settled: the task is failed now, with the reason",
    "was_over": "removed: the task had come to an end",
    "sent_again": "sent again: the task is in progress, and its lease will show whether its worker is alive",
    "kept": "kept: no task of this bucket",
    "discarded": "removed: no task of this bucket",
}


@thor_flow(name="thor-drain-dead")
def drain_dead(
    bucket: BucketUrl = None,
    queue: QueueUrl = None,
    discard: bool = False,  # noqa: FBT001, FBT002 (a check box)
) -> list[DeadMessage]:
    """Empty the dead-letter queue; the tasks of its messages fail, with the reason.

    A message whose task is requested makes it fail; one whose task is in progress is sent again; one whose task has
    come to an end is removed. Messages that name no task of this bucket are listed and kept; the exit code is 1 then.
    `python -m flows.retry JOB --kind lost` has the tasks done again. Safe to run twice.

    Args:
        discard: Remove messages that name no task of this bucket, too.
    """
    store, settings = bucket_and_settings(bucket, queue)
    with closing(open_publisher_from_settings(settings)) as publisher:
        return list(drain_dead_messages(store, publisher, discard=discard))


def show(messages: Sequence[DeadMessage]) -> None:
    """Tell a person what was in the dead queue, and what became of it."""
    if not messages:
        command_line.print_line("The dead queue is empty.")
        return
    rows = [
        (message.outcome, message.job_id, message.task_id, message.fault or message.reason, message.excerpt)
        for message in messages
    ]
    command_line.print_table(("outcome", "job", "task", "why", "body"), rows)
    for outcome, count in Counter(message.outcome for message in messages).items():
        command_line.print_line(f"{counted(count, 'message')} {WORDS[outcome]}.")
    if has_kept(messages):
        command_line.print_line("With --discard the kept ones are removed.")


def has_kept(messages: Sequence[DeadMessage]) -> bool:
    """Whether messages stay in the dead queue."""
    return any(message.outcome == "kept" for message in messages)


main = Verb("drain_dead", drain_dead, show=show, is_failure=has_kept)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
