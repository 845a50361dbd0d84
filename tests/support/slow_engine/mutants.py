"""Workers with one promise broken each: the fault tests must fail on every one, or they prove nothing."""

from collections.abc import Callable

from tasks.errors import GenerationMismatchError
from tasks.jobs import status_file
from tasks.jobs.finish import finish_task
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

    def stubborn(self, event):
        try:
            change(self, event)
        except GenerationMismatchError:
            self.generation = self.bucket.generation(self.layout.status)
            change(self, event)

    change = status_file.StatusFile.change
    status_file.StatusFile.change = stubborn


def status_before_outputs() -> None:
    """Says "succeeded" when the child has computed, before it has uploaded."""
    renew = attempt_watch.renew_lease

    def hasty(file, news):
        is_cancelled = renew(file, news)
        if file.status.stage == "merge_and_extend":
            finish_task(file, Succeeded(outputs=()))
        return is_cancelled

    attempt_watch.renew_lease = hasty
    supervise.finish_task = lambda file, event: None if file.status.is_terminal else finish_task(file, event)


class _NothingStays(set):
    def add(self, _item) -> None:
        pass


MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant for mutant in (no_lease_check, ack_before_status, no_nonce, no_fence, status_before_outputs)
}
