"""What the doctor says of the queue: is it fit for the protocol, are its dead messages settled."""

from pathlib import Path

from tasks.broker.protocol import Publisher
from tasks.broker.report import broker_report
from tasks.errors import BrokerUnavailableError
from tasks.records.finding import Finding, ok, problem, warning
from tasks.wording import counted

DEAD = "dead queue"


def queue_findings(url: str, *, ca_file: Path | None, publisher: Publisher) -> list[Finding]:
    """Look at the queue, and leave every message where it is. One that is not there yet is made.

    Raises
    ------
    BadInputError
        If the URL can't be understood.
    """
    findings = broker_report(url, ca_file=ca_file)
    if any(finding.verdict == "problem" for finding in findings):
        return findings
    return [*findings, _dead_finding(publisher)]


def _dead_finding(publisher: Publisher) -> Finding:
    try:
        n_dead = publisher.depth().dead
    except BrokerUnavailableError as error:
        return problem("queue", str(error), "Look at the queue's address, and at the service or the disk behind it.")
    if n_dead:
        advice = "`python -m flows.drain_dead` settles them: their tasks fail with the reason."
        return warning(DEAD, counted(n_dead, "message"), advice)
    return ok(DEAD, "empty")
