"""`python -m flows.drain_dead`: clear the dead queue. Its messages' tasks fail with the reason, for all to see."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing

from prefect import flow
from pydantic import SecretStr

from flows.terminal import command_line
from tasks.bootstrap import open_bucket_from_settings, open_publisher_from_settings
from tasks.operations.drain_dead import DeadMessage, Outcome
from tasks.operations.drain_dead import drain_dead as drain_dead_messages
from tasks.settings import settings_from_environment
from tasks.wording import counted

WORDS: dict[Outcome, str] = {
    "failed": "settled: the task is failed now, with the reason",
    "was_over": "removed: the task had come to an end",
    "sent_again": "sent again: the task is in progress, and its lease will tell whether its worker is alive",
    "kept": "kept: no task of this bucket",
    "discarded": "removed: no task of this bucket",
}


@flow(name="thor-drain-dead", description="Clear the dead queue; its messages' tasks fail with the reason.")
def drain_dead(
    bucket: str | None = None,
    queue: SecretStr | None = None,
    discard: bool = False,  # noqa: FBT001, FBT002 (a check box)
) -> list[DeadMessage]:
    """Settle every message of the dead queue. Twice: safe."""
    settings = settings_from_environment()
    store = open_bucket_from_settings(settings, bucket or None)
    settings = settings.with_bucket(store.url)
    with closing(open_publisher_from_settings(settings, command_line.queue_url(queue))) as publisher:
        return list(drain_dead_messages(store, publisher, discard=discard))


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_line.verb_parser(
        "drain_dead",
        "Clears the dead queue. A message whose task is requested makes it fail with the reason; one whose task is in "
        "progress is sent again; one whose task is done is removed. Messages that name no task of this bucket are "
        "listed and kept. Safe to run twice.",
        epilog="Ends with 1 while messages are kept. 'python -m flows.retry JOB --kind lost' has the tasks done again.",
    )
    parser.add_argument("--discard", action="store_true", help="remove messages that name no task of this bucket, too")
    command_line.add_bucket_option(parser)
    command_line.add_queue_option(parser)
    return parser.parse_args(arguments)


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
    if any(message.outcome == "kept" for message in messages):
        command_line.print_line("With --discard the kept ones are removed.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    messages = command_line.show_run(drain_dead, options.bucket, options.queue, discard=options.discard)
    command_line.print_json(messages) if options.json else show(messages)
    return command_line.FAILED if any(message.outcome == "kept" for message in messages) else command_line.DONE


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
