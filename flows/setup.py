"""`python -m flows.setup`: make what deployments need on the Prefect server. Then `prefect --no-prompt deploy --all`.

Not a flow: it prepares the server for them.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
from prefect.settings import PREFECT_API_URL
from pydantic import Field, SecretStr

from flows.terminal import command_line
from flows.terminal.signature import BucketUrl, QueueUrl
from flows.terminal.verb import Verb
from tasks.broker.urls import scheme_of
from tasks.errors import BadInputError, PrefectUnavailableError
from tasks.prefect_api.setup import Step, Wanted, set_up
from tasks.settings import Settings, settings_from_environment


def make_ready(
    bucket: BucketUrl = None,
    queue: QueueUrl = None,
    service_account_file: Path | None = None,
    most_workers: Annotated[int, Field(ge=1)] | None = None,
) -> Sequence[Step]:
    """Create on the Prefect server at PREFECT_API_URL what deployments need.

    Work pools with their limits; blocks for the bucket, its credentials and the queue's URL; an automation that marks
    dead flow runs as Crashed. Safe to run again: what is right already stays as it is, and an option that is not given
    changes nothing. Then: prefect --no-prompt deploy --all.

    Args:
        service_account_file: Key of a Google service account to keep in the credentials block. Default: each machine
            has its own.
        most_workers: Most flow runs of workers at a time in a pool. Default for a new pool: 16.
    """
    wanted = wanted_from(settings_from_environment(), bucket, queue, service_account_file, most_workers)
    url = command_line.require_prefect("set up Prefect")
    try:
        return set_up(wanted)
    except httpx.HTTPError as error:
        raise PrefectUnavailableError(
            f"Cannot set up Prefect at {url}: {error}. Not everything was made; run this again."
        ) from error


def wanted_from(
    settings: Settings,
    bucket: str | None,
    queue: SecretStr | None,
    service_account_file: Path | None,
    most_workers: int | None,
) -> Wanted:
    """Return what is wanted, checked; what neither an option nor the environment says is None.

    Raises
    ------
    BadInputError
        If a URL can't be understood, or the key file can't be read.
    """
    bucket_url = bucket or settings.bucket
    queue_url = (queue.get_secret_value() if queue else None) or _queue_of(settings)
    if queue_url is not None:
        scheme_of(queue_url)
    parts = urlsplit(bucket_url or "file:///")
    if not ((parts.scheme == "gs" and parts.netloc) or (parts.scheme == "file" and parts.path.startswith("/"))):
        raise BadInputError(f"Cannot use the bucket {bucket_url!r}: expected gs://NAME or file:///ABSOLUTE/PATH.")
    key = None if service_account_file is None else read_key(service_account_file)
    if key is not None and parts.scheme != "gs":
        raise BadInputError("Cannot keep a service account: --service-account-file needs --bucket gs://NAME beside it.")
    return Wanted(bucket_url, queue_url, service_account=key, most_workers=most_workers)


def _queue_of(settings: Settings) -> str | None:
    """Return the queue's URL if the environment names one; an embedded one belongs to its machine."""
    if settings.queue is None and settings.queue_file is None:
        return None
    return settings.queue_url


def read_key(path: Path) -> Mapping[str, Any]:
    """Return the content of a service account's key file."""
    try:
        key = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"Cannot read the service account in {path}: {error}. Expected Google's JSON file."
        ) from error
    if not isinstance(key, dict) or key.get("type") != "service_account":
        raise BadInputError(f"Cannot use {path}: expected Google's JSON file of a service account.")
    return key


def show(steps: Sequence[Step]) -> None:
    """Tell a person what was done."""
    command_line.print_table(("what", "name", ""), [(step.what, step.name, step.verdict) for step in steps])
    command_line.print_line(f"Prefect at {PREFECT_API_URL.value()} is ready. Next: prefect --no-prompt deploy --all")


main = Verb("setup", make_ready, show=show)


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
