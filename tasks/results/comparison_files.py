"""A comparison of two jobs: the tables read from the bucket, and what is left of it: a csv and a page."""

import csv
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from tasks.bucket.checksum import crc32c_from_bytes
from tasks.bucket.layout import JobLayout
from tasks.bucket.store import Bucket
from tasks.jobs.collect import OutputDiffersError, write_whole
from tasks.jobs.manifest_file import read_manifest
from tasks.jobs.monitor import read_statuses
from tasks.records.ids import TaskId
from tasks.records.manifest import Manifest
from tasks.records.status import Status
from tasks.results.compare_jobs import Comparison, LoneObject, SharedObject, compare_results
from tasks.results.merge_results import MEMBERS_FILE, ORBITS_FILE, MergedResults, merge_results
from tasks.results.report import page_from_template
from tasks.wording import counted

PAGE = "comparison.html"
SHARED_CSV = "shared_objects.csv"
LONE_CSV = "lone_objects.csv"
TEMPLATE = "comparison.html.j2"
"""The page, beside this module; it escapes what it is given."""

READERS = 16
"""Outputs that are read at one time: it is the network that is waited for."""

NAMES = tuple(f"{name}.parquet" for name in (ORBITS_FILE, MEMBERS_FILE))


@dataclass(frozen=True)
class ComparedJob:
    """One of the two jobs."""

    job_id: str
    #: Name and version that its manifest asks for.
    engine: str
    n_tasks: int
    n_succeeded: int
    n_objects: int


@dataclass(frozen=True)
class JobsComparison:
    """Two jobs, and what they found."""

    job_a: ComparedJob
    job_b: ComparedJob
    found: Comparison
    #: What a reader must know, such as that the observations are not the same.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BucketOutputs:
    """The recovered orbits of a task, in memory."""

    task_id: TaskId
    orbit_id: str
    bodies: Mapping[str, bytes]

    def read(self, file_name: str) -> bytes | None:
        """Return the content of an output, or None when the task has no such file."""
        return self.bodies.get(file_name)


def compare_jobs(bucket: Bucket, first: JobLayout, second: JobLayout) -> JobsComparison:
    """Read the recovered orbits of both jobs from the bucket, as far as they are, and compare them.

    Raises
    ------
    BadInputError
        If there is no such job.
    BucketUnavailableError
        If the bucket does not answer, or an output is not what its task's status says.
    """
    manifests = [read_manifest(bucket, layout) for layout in (first, second)]
    (job_a, merged_a), (job_b, merged_b) = (
        _results(bucket, layout, manifest) for layout, manifest in zip((first, second), manifests, strict=True)
    )
    return JobsComparison(job_a, job_b, compare_results(merged_a, merged_b), _notes(manifests, job_a, job_b))


def write_comparison(comparison: JobsComparison, output: Path) -> None:
    """Write the page, and its two tables as csv."""
    write_whole(output / SHARED_CSV, _csv(SharedObject, comparison.found.shared))
    lone = [
        {"job": job.job_id, **asdict(each)}
        for job, found in ((comparison.job_a, comparison.found.only_a), (comparison.job_b, comparison.found.only_b))
        for each in found
    ]
    write_whole(output / LONE_CSV, _csv_of_rows(["job", *(field.name for field in fields(LoneObject))], lone))
    write_whole(output / PAGE, comparison_page(comparison))


def comparison_page(comparison: JobsComparison) -> bytes:
    """Return the page, UTF-8; it opens without a network."""
    told = {**vars(comparison), "counted": counted, "totals": totals_of(comparison)}
    return page_from_template(TEMPLATE, told)


def totals_of(comparison: JobsComparison) -> dict[str, str]:
    """Return the figures in short, for people."""
    found = comparison.found
    totals = {
        "found by both": str(len(found.shared)),
        f"only by {comparison.job_a.job_id}": str(len(found.only_a)),
        f"only by {comparison.job_b.job_id}": str(len(found.only_b)),
        "detections in common": str(found.n_common),
        "gained": str(found.n_gained),
        "lost": str(found.n_lost),
    }
    if found.median_sigmas is not None and found.largest_sigmas is not None:
        totals["median difference [sigma]"] = f"{found.median_sigmas:.2f}"
        totals["largest difference [sigma]"] = f"{found.largest_sigmas:.2f}"
    return totals


def _results(bucket: Bucket, layout: JobLayout, manifest: Manifest) -> tuple[ComparedJob, MergedResults]:
    statuses = read_statuses(bucket, layout, manifest.task_ids)
    succeeded = [task for task, status in statuses.items() if status.state == "succeeded"]
    orbit_ids = dict(zip(manifest.task_ids, manifest.orbit_ids, strict=True))
    with ThreadPoolExecutor(READERS) as readers:
        outputs = readers.map(
            lambda task: BucketOutputs(task, orbit_ids[task], _read(bucket, layout, task, statuses[task])), succeeded
        )
        merged = merge_results(outputs)
    job = ComparedJob(
        job_id=manifest.job_id,
        engine=f"{manifest.engine_name} {manifest.engine_version}",
        n_tasks=len(manifest.task_ids),
        n_succeeded=len(succeeded),
        n_objects=len(merged.orbits),
    )
    return job, merged


def _read(bucket: Bucket, layout: JobLayout, task_id: TaskId, status: Status) -> dict[str, bytes]:
    bodies = {}
    for output in status.outputs:
        if output.name in NAMES:
            name = layout.task(task_id).output(output.name)
            bodies[output.name] = bucket.read(name).body
            if crc32c_from_bytes(bodies[output.name]) != output.crc32c:
                raise OutputDiffersError(
                    f"Cannot compare job {layout.job_id!r}: {name} is not what the status of its task says. Retry the "
                    "task."
                )
    return bodies


def _notes(manifests: Sequence[Manifest], *jobs: ComparedJob) -> tuple[str, ...]:
    sums = [manifest.inputs_sha256.get("observations.csv") for manifest in manifests]
    notes = [
        f"Job {job.job_id}: {job.n_succeeded} of {counted(job.n_tasks, 'task')} succeeded; the others are left out."
        for job in jobs
        if job.n_succeeded < job.n_tasks
    ]
    if sums[0] != sums[1]:
        notes.append("The observations of the two jobs are not the same: detections are matched by their obs_id.")
    return tuple(notes)


def _csv(kind: type[SharedObject], rows: Sequence[SharedObject]) -> bytes:
    names = [field.name for field in fields(kind)]
    told = [{**asdict(row), "n_gained": row.n_gained, "n_lost": row.n_lost} for row in rows]
    return _csv_of_rows([*names, "n_gained", "n_lost"], told)


def _csv_of_rows(names: Sequence[str], rows: Sequence[Mapping[str, object]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
