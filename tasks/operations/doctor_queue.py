"""Is the queue fit for the protocol? The queue reports on itself; here it is said how bad that is, and what to do."""

from pathlib import Path

from tasks.broker import report
from tasks.broker.protocol import Publisher
from tasks.errors import BrokerUnavailableError
from tasks.operations.finding import Finding, ok, problem, warning

DEAD = "dead queue"
ACK_TIMEOUT = "ack timeout"
RECREATE = (
    "`python -m flows.repair --all --recreate-queues` deletes what does not work, makes it anew, and rings again for "
    "every task of the bucket that is not done. Nothing is lost: the bucket knows them."
)


def queue_findings(url: str, *, ca_file: Path | None, publisher: Publisher) -> list[Finding]:
    """Look at the queue, and leave every message where it is. One that is not there yet is made.

    Raises
    ------
    BadInputError
        If the URL can't be understood.
    """
    findings = [finding_from_report(found) for found in report.broker_report(url, ca_file=ca_file)]
    if any(finding.verdict == "problem" for finding in findings):
        return findings
    return [*findings, _dead_finding(publisher)]


def finding_from_report(found: report.Finding) -> Finding:
    """Say how bad it is. Pure."""
    if found.is_fine:
        return ok(found.subject, found.text)
    if found.subject == ACK_TIMEOUT:
        # A client can't see whether the server was configured, and no result is lost if it was not.
        return warning(found.subject, found.text, found.advice)
    is_queue = found.subject.startswith("queue thor.")
    return problem(found.subject, found.text, RECREATE if is_queue else found.advice)


def _dead_finding(publisher: Publisher) -> Finding:
    try:
        n_dead = publisher.depth().dead
    except BrokerUnavailableError as error:
        return problem("queue", str(error), "Look at the queue's address, and at the service or the disk behind it.")
    if n_dead:
        advice = "`python -m flows.drain_dead` settles them: their tasks fail with the reason."
        return warning(DEAD, f"{n_dead} messages", advice)
    return ok(DEAD, "empty")
