"""Workers with one promise broken each: the fault tests must fail on every one, or they prove nothing."""

from collections.abc import Callable

from tasks.errors import GenerationMismatchError
from tasks.jobs import status_file
from tasks.jobs.finish import finish_task
from tasks.records.assignment import LeaseRenewed
from tasks.records.status import Succeeded
from workers import attempt_watch, reception, supervise


def no_lease_check() -> None:
    """Takes a task over at first sight: "in progress" is never believed."""
    judge = reception.disposition

    def hasty(status, *, generation, seen_generation, is_cancelled):
        return judge(status, generation=generation, seen_generation=generation, is_cancelled=is_cancelled)

    reception.disposition = hasty


def ack_before_status() -> None:
    """Lets go of the message as soon as the task is claimed."""
    work = supervise.Supervisor._work

    def hasty(self, delivery, attempt, child):
        self._consumer.ack(delivery)
        work(self, delivery, attempt, child)

    supervise.Supervisor._work = hasty


def no_nonce() -> None:
    """Never recognises its own write whose answer was lost."""
    write = status_file.StatusFile._write

    def forgetful(self, wanted):
        self._unsettled = _NothingStays()
        write(self, wanted)

    status_file.StatusFile._write = forgetful


def no_fence() -> None:
    """Writes its result over whatever stands there."""

    def stubborn(self, event, **options):
        try:
            change(self, event, **options)
        except GenerationMismatchError:
            self.generation = self.bucket.generation(self.layout.status)
            change(self, event, **options)

    change = status_file.StatusFile.change
    status_file.StatusFile.change = stubborn


def status_before_outputs() -> None:
    """Says "succeeded" when the child has computed, before it has uploaded."""

    def hasty(self):
        if not self._file.status.is_terminal:
            finish_task(self._file, Succeeded(outputs=()))
        self._child.tell(LeaseRenewed())

    def once(file, event, **options):
        if not file.status.is_terminal:
            finish_task(file, event, **options)

    attempt_watch.AttemptWatch._heard_ready_to_upload = hasty
    supervise.finish_task = once


class _NothingStays(set):
    def add(self, _item) -> None:
        pass


MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant for mutant in (no_lease_check, ack_before_status, no_nonce, no_fence, status_before_outputs)
}
