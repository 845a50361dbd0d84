"""`python -m flows.setup`: make what deployments need on the Prefect server. Then `prefect --no-prompt deploy --all`.

Not a flow: it prepares the server for them.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from flows.terminal import command_line
from tasks.broker.urls import scheme_of
from tasks.errors import BadInputError, PrefectUnavailableError
from tasks.prefect_setup import Step, Wanted, set_up
from tasks.settings import Settings, settings_from_environment


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_line.verb_parser(
        "setup",
        "Makes on the Prefect server of PREFECT_API_URL what deployments need: work pools with their limits; blocks "
        "for the bucket, its credentials and the queue's URL; an automation that marks dead flow runs as Crashed. "
        "Safe to run again: what is there and right stays as it is, and an option that is not given changes nothing.",
        epilog="Then: prefect --no-prompt deploy --all.",
    )
    command_line.add_bucket_option(parser)
    command_line.add_queue_option(parser)
    parser.add_argument(
        "--service-account-file",
        metavar="FILE",
        type=Path,
        help="key of a Google service account to keep in the credentials block (default: each machine's own)",
    )
    parser.add_argument(
        "--most-workers", metavar="N", type=int, help="flow runs of workers at a time in a pool (default for a new: 16)"
    )
    options = parser.parse_args(arguments)
    if options.most_workers is not None and options.most_workers < 1:
        parser.error(f"--most-workers is {options.most_workers}: expected 1 or more")
    return options


def wanted_from(options: argparse.Namespace, settings: Settings) -> Wanted:
    """Return what is wanted, checked; what neither an option nor the environment says is None.

    Raises
    ------
    BadInputError
        If a URL can't be understood, or the key file can't be read.
    """
    bucket_url = options.bucket or settings.bucket
    queue_url = command_line.queue_url(options.queue) or _queue_of(settings)
    if queue_url is not None:
        scheme_of(queue_url)
    parts = urlsplit(bucket_url or "file:///")
    if not ((parts.scheme == "gs" and parts.netloc) or (parts.scheme == "file" and parts.path.startswith("/"))):
        raise BadInputError(f"Cannot use the bucket {bucket_url!r}: expected gs://NAME or file:///ABSOLUTE/PATH.")
    key = None if options.service_account_file is None else read_key(options.service_account_file)
    if key is not None and parts.scheme != "gs":
        raise BadInputError("Cannot keep a service account: --service-account-file needs --bucket gs://NAME beside it.")
    return Wanted(bucket_url, queue_url, service_account=key, most_workers=options.most_workers)


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


def show(steps: Sequence[Step], url: str) -> None:
    """Tell a person what was done."""
    command_line.print_table(("what", "name", ""), [(step.what, step.name, step.verdict) for step in steps])
    command_line.print_line(f"Prefect at {url} is ready. Next: prefect --no-prompt deploy --all")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_arguments(arguments)
    wanted = wanted_from(options, settings_from_environment())
    url = command_line.require_prefect("set up Prefect")
    try:
        steps = set_up(wanted)
    except httpx.HTTPError as error:
        raise PrefectUnavailableError(
            f"Cannot set up Prefect at {url}: {error}. Not everything was made; run this again."
        ) from error
    command_line.print_json(steps) if options.json else show(steps, url)
    return command_line.DONE


if __name__ == "__main__":
    sys.exit(command_line.exit_code_of(main))
