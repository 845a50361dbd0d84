"""The only builder of clients: bucket, publisher and consumer, from settings and URLs.

The supervisor imports this module, so it loads neither numerics nor Prefect, unless a Prefect block names the bucket.
"""

from typing import TYPE_CHECKING

from tasks.broker.connect import open_consumer, open_publisher
from tasks.broker.protocol import Consumer, Publisher
from tasks.bucket.open_bucket import gcs_bucket_from_client, open_bucket
from tasks.bucket.store import Bucket
from tasks.errors import BadInputError
from tasks.settings import FEWEST_RENEWALS_IN_A_DELAY, Settings

if TYPE_CHECKING:
    from prefect_gcp import GcsBucket


def open_bucket_from_settings(settings: Settings, url: str | None = None) -> Bucket:
    """Return the bucket of `url`; without one the bucket that a Prefect block names, or else the settings' own.

    Raises
    ------
    BadInputError
        If the URL is no bucket's, or the block can't be loaded or names another bucket than `url`.
    """
    if settings.gcs_bucket_block is not None:
        return _bucket_from_block(settings, settings.gcs_bucket_block, url)
    return open_bucket(
        url or settings.bucket_url,
        deadline_seconds=settings.bucket_deadline_seconds,
        emulator_host=settings.storage_emulator_host,
    )


def open_publisher_from_settings(settings: Settings, url: str | None = None) -> Publisher:
    """Return a publisher on the queue of `url`, or else of the settings."""
    return open_publisher(url or settings.queue_url, ca_file=settings.queue_ca_file)


def open_consumer_from_settings(settings: Settings, url: str | None = None) -> Consumer:
    """Return a consumer on the queue of `url`, or else of the settings.

    Raises
    ------
    BadInputError
        If the URL is no queue's, or leases are renewed too seldom for the takeover delay.
    """
    queue_url = url or settings.queue_url
    require_lasting_leases(settings, queue_url)
    delay_seconds = settings.delay_seconds(queue_url)
    # Who has upstream THOR gets messages first: its tasks then don't go round by way of workers that lack it.
    priority = 0 if settings.thor_python is None else 1
    return open_consumer(queue_url, delay_seconds=delay_seconds, ca_file=settings.queue_ca_file, priority=priority)


def require_lasting_leases(settings: Settings, queue_url: str) -> None:
    """Raise `BadInputError` when a task could be taken over from a worker that lives."""
    if not settings.keeps_leases(queue_url):
        raise BadInputError(
            f"Cannot work with a takeover delay of {settings.delay_seconds(queue_url):g} s "
            f"(THOR_TAKEOVER_DELAY_SECONDS) and a lease renewed every {settings.renew_seconds(queue_url):g} s "
            f"(THOR_LEASE_RENEW_SECONDS): expected a delay of at least {FEWEST_RENEWALS_IN_A_DELAY:g} renewals, "
            "or tasks are taken from workers that live. Leave the latter unset, and it follows the delay."
        )


def _bucket_from_block(settings: Settings, block_name: str, url: str | None) -> Bucket:
    """Use the block as configuration: it names bucket and credentials; its own reads and writes know no conditions."""
    block = _load_block(block_name)
    block_url = f"gs://{block.bucket}"
    if url is not None and url != block_url:
        raise BadInputError(
            f"Cannot open the bucket {url!r}: THOR_GCS_BUCKET_BLOCK is {block_name!r}, which names {block_url!r}. "
            "Unset it, or name that bucket."
        )
    if settings.storage_emulator_host is not None:
        return open_bucket(
            block_url,
            deadline_seconds=settings.bucket_deadline_seconds,
            emulator_host=settings.storage_emulator_host,
        )
    client = block.gcp_credentials.get_cloud_storage_client()
    return gcs_bucket_from_client(client, block.bucket, deadline_seconds=settings.bucket_deadline_seconds)


def _load_block(block_name: str) -> "GcsBucket":
    from prefect_gcp import GcsBucket  # noqa: PLC0415 (3 s that only those pay who use a block)

    try:
        return GcsBucket.load(block_name)
    except Exception as error:  # (Prefect raises ValueError, httpx errors and more)
        raise BadInputError(
            f"Cannot load the GcsBucket block {block_name!r} that THOR_GCS_BUCKET_BLOCK names: {error}. "
            "Save it in Prefect's UI (Blocks), or unset the variable and give --bucket gs://NAME."
        ) from error
