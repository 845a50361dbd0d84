"""`python -m flows.doctor`: look at everything that jobs need, and say what to do about what is wrong."""

import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from prefect.settings import PREFECT_API_URL

from flows.terminal import command_line
from flows.terminal.places import settings_with
from flows.terminal.signature import BucketUrl, QueueUrl
from flows.terminal.verb import Verb, thor_flow
from tasks.bootstrap import open_bucket_from_settings, open_publisher_from_settings
from tasks.broker.urls import SQLITE_SCHEME, sqlite_path
from tasks.errors import BadInputError
from tasks.operations.doctor_bucket import bucket_findings
from tasks.operations.doctor_engines import waiting_findings
from tasks.operations.doctor_machine import CLOCK_FINDING, disk_findings, engine_findings, scratch_directory
from tasks.operations.doctor_queue import queue_findings
from tasks.operations.doctor_workers import worker_findings
from tasks.prefect_api import instrument
from tasks.records.finding import Finding, ok, problem, warning
from tasks.settings import Settings

PATIENCE_SECONDS = 10.0
"""A bucket that does not answer for this time is out of reach; workers are more patient."""
PREFECT = "Prefect API"


@thor_flow(name="thor-doctor")
def doctor(bucket: BucketUrl = None, queue: QueueUrl = None) -> list[Finding]:
    """Check everything that jobs need, and say how to mend what is wrong.

    Bucket (with a probe object), queue, Prefect, engines, disks of this machine; a problem in one place does not stop
    the other checks. The exit code is 1 when there is a problem, and 0 when there are only warnings.
    """
    patient = {"bucket_deadline_seconds": PATIENCE_SECONDS}
    findings, settings = look_at_bucket(settings_with(bucket=bucket, queue=queue).model_copy(update=patient))
    return [
        *findings,
        *look_at_queue(settings),
        look_at_prefect(),
        *engine_findings(settings.thor_python),
        *disk_findings(places(settings)),
        CLOCK_FINDING,
    ]


def look_at_bucket(settings: Settings) -> tuple[list[Finding], Settings]:
    """Open the bucket and try it out; return the settings with its URL, since an embedded queue belongs to a bucket."""
    try:
        bucket = open_bucket_from_settings(settings, settings.bucket)
    except BadInputError as error:
        return [problem("bucket", str(error), "Correct --bucket, THOR_BUCKET or THOR_GCS_BUCKET_BLOCK.")], settings
    findings = bucket_findings(bucket)
    is_fit = all(finding.verdict != "problem" for finding in findings)
    return [*findings, *(waiting_findings(bucket) if is_fit else [])], settings.with_bucket(bucket.url)


def look_at_queue(settings: Settings) -> list[Finding]:
    """Look at the queue; a URL that can't be understood, or a THOR_QUEUE_FILE that can't be read, is a finding too."""
    try:
        with closing(open_publisher_from_settings(settings)) as publisher:
            findings = queue_findings(settings.queue_url, ca_file=settings.queue_ca_file, publisher=publisher)
            if any(finding.verdict == "problem" for finding in findings):
                return findings
            return [*findings, *worker_findings(open_bucket_from_settings(settings, settings.bucket), publisher)]
    except (BadInputError, OSError) as error:
        return [problem("queue", str(error), "Correct --queue, THOR_QUEUE or THOR_QUEUE_FILE.")]


def look_at_prefect() -> Finding:
    """Say whether runs are shown, and where."""
    url = PREFECT_API_URL.value()
    if url is None:
        return ok(PREFECT, "none is configured: flows.submit starts one for its job, the other commands do without")
    if instrument.prefect_answers():
        return ok(PREFECT, f"{url} answers")
    return warning(
        PREFECT,
        f"{url} does not answer within {instrument.PROBE_SECONDS:g} s",
        "Jobs are computed all the same, but their runs are not shown: start the server, or correct PREFECT_API_URL.",
    )


def places(settings: Settings) -> list[Path]:
    """Return the directories of this machine that are written to."""
    found = [settings.home, scratch_directory(), Path.cwd()]
    if settings.bucket_url.startswith("file:"):
        found.append(Path(unquote(urlsplit(settings.bucket_url).path)))
    with suppress(BadInputError, OSError):  # those that look at bucket and queue tell it
        if settings.queue_url.startswith(f"{SQLITE_SCHEME}:"):
            found.append(sqlite_path(settings.queue_url))
    return found


def show(findings: Sequence[Finding]) -> None:
    """Print each finding, and below it what to do."""
    for finding in findings:
        command_line.print_line(f"{finding.verdict:<8} {finding.about}: {finding.found}")
        if finding.advice is not None:
            command_line.print_line(f"{'':<8} What to do: {finding.advice}")


def has_problem(findings: Sequence[Finding]) -> bool:
    """Whether something is wrong; a warning alone is not."""
    return any(finding.verdict == "problem" for finding in findings)


main = Verb("doctor", doctor, show=show, is_failure=has_problem, run=doctor.fn)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
