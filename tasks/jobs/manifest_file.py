"""Reading a job's manifest, and finding jobs."""

from pydantic import ValidationError

from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.errors import BadInputError, ObjectNotFoundError
from tasks.records.manifest import Manifest, manifest_from_bytes


def read_manifest(bucket: Bucket, layout: JobLayout) -> Manifest:
    """Read a job's manifest.

    Raises
    ------
    BadInputError
        If there is no such job, or its manifest can't be read.
    """
    manifest = read_manifest_if_there(bucket, layout)
    if manifest is None:
        raise BadInputError(
            f"Cannot find job {layout.job_id!r} in {bucket.url}: there is no {layout.manifest}. "
            "Check the job's id and --bucket, or submit it (again)."
        )
    return manifest


def read_manifest_if_there(bucket: Bucket, layout: JobLayout) -> Manifest | None:
    """Read a job's manifest, or return None when there is none (yet)."""
    try:
        stored = bucket.read(layout.manifest)
    except ObjectNotFoundError:
        return None
    try:
        manifest = manifest_from_bytes(stored.body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise BadInputError(
            f"Cannot read {layout.manifest} in {bucket.url}: {'.'.join(map(str, first['loc']))}: {first['msg']}. "
            "Submit the job again under another --job-id."
        ) from error
    if manifest.job_id != layout.job_id:
        raise BadInputError(f"Cannot use {layout.manifest} in {bucket.url}: it is of job {manifest.job_id!r}.")
    return manifest
