"""Which jobs a bucket holds, also those whose submission or deletion was interrupted."""

from tasks.bucket.layout import JOBS_PREFIX, JobLayout, job_id_from_object_name
from tasks.bucket.store import Bucket

_FIRST_AND_LAST = ("/manifest.json", "/observations.csv")
"""The observations are the first object that a submission writes, and the last that a deletion takes away."""


def find_jobs(bucket: Bucket) -> list[JobLayout]:
    """Return every job of the bucket, sorted by its id."""
    found = set()
    for ending in _FIRST_AND_LAST:
        for info in bucket.list(f"{JOBS_PREFIX}jobs-", ending=ending):
            job_id = job_id_from_object_name(info.name)
            if job_id is not None and info.name == f"{JobLayout(job_id).prefix}{ending[1:]}":
                found.add(job_id)
    return [JobLayout(job_id) for job_id in sorted(found)]
