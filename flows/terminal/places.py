"""Where a command works: the bucket and the queue that its options name, or else those of the environment."""

from pydantic import SecretStr

from tasks.bootstrap import open_bucket_from_settings, open_publisher_from_settings
from tasks.bucket.store import Bucket
from tasks.settings import Settings, settings_from_environment


def settings_with(*, bucket: str | None, queue: SecretStr | None) -> Settings:
    """Return the settings of the environment with what was asked for over them; a form's empty field asks nothing."""
    asked = {"bucket": bucket, "queue": None if queue is None else queue.get_secret_value()}
    changes = {name: value for name, value in asked.items() if value}
    return settings_from_environment().model_copy(update=changes)


def bucket_of(url: str | None) -> Bucket:
    """Return the bucket that --bucket names."""
    return open_bucket_from_settings(settings_from_environment(), url or None)


def bucket_and_settings(bucket: str | None, queue: SecretStr | None) -> tuple[Bucket, Settings]:
    """Return the bucket that --bucket names, and the settings with it and with the queue that --queue names."""
    settings = settings_with(bucket=bucket, queue=queue)
    store = open_bucket_from_settings(settings, bucket or None)
    return store, settings.with_bucket(store.url)


def checked_places(settings: Settings, bucket: str | None) -> tuple[Bucket, Settings]:
    """Return the bucket, and the settings with its URL; nothing is read, written or connected yet.

    Raises
    ------
    BadInputError
        If the URL of the bucket or of the queue is none: found here, before hours of upload.
    """
    store = open_bucket_from_settings(settings, bucket)
    settings = settings.with_bucket(store.url)
    open_publisher_from_settings(settings).close()
    return store, settings
