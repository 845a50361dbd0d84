"""The model of docs/scaling.md against what a job here asks of its bucket."""

from collections import Counter

import pytest

from tasks.bucket.layout import JobLayout
from tasks.jobs.manifest_file import read_manifest
from tasks.jobs.monitor import JobWatch
from tasks.jobs.submit import Submission, new_job_id, submit_job
from tasks.jobs.task_inputs import SurveyCache
from tasks.results.job_results import CollectOptions, collect_results
from tests.bench.scaling import (
    Requests,
    requests_of_collect,
    requests_of_look,
    requests_of_submit,
    requests_of_workers,
    row,
)
from tests.support.buckets import FakeBucket
from tests.support.job_inputs import small_inputs
from tests.support.whole_task import do_task
from workers.engines_here import EnginesHere

TASKS = ("Hebe", "Eros", "Pallas")
JOB = JobLayout(new_job_id("survey-07"))


class NowhereQueue:
    """Takes messages."""

    def publish(self, messages):
        pass

    def close(self):
        pass


def asked(bucket):
    """Return what was asked since the last call."""
    counts = Counter(verb for verb, _ in bucket.history)
    bucket.history.clear()
    return Requests(counts["write"], counts["list"], counts["read"], counts["generation"])


@pytest.mark.parametrize("merge_only", [True, False])
def test_a_job_asks_what_the_model_says(tmp_path, merge_only):
    bucket = FakeBucket()
    submission = Submission(bucket=bucket, job_id=JOB.job_id, inputs=small_inputs(*TASKS))

    submit_job(submission, NowhereQueue)
    assert asked(bucket) == requests_of_submit(len(TASKS))

    surveys, engines = SurveyCache(10**9), EnginesHere()
    for task_id in TASKS:
        do_task(bucket, JOB, task_id, surveys, engines)
    assert asked(bucket) == requests_of_workers(len(TASKS), n_workers=1)

    watch = JobWatch(bucket, JOB, list(TASKS))
    watch.look()
    assert asked(bucket) == requests_of_look(len(TASKS))

    manifest = read_manifest(bucket, JOB)
    collect_results(watch, manifest=manifest, output=tmp_path, options=CollectOptions(merge_only=merge_only))
    looked = requests_of_look(len(TASKS)).lists
    found = asked(bucket)
    expected = requests_of_collect(len(TASKS), merge_only=merge_only)
    assert (found.writes, found.lists + looked, found.reads) == (expected.writes, expected.lists, expected.reads)


def test_the_document_has_the_models_rows():
    from tests.bench.measure import REPOSITORY  # noqa: PLC0415

    text = (REPOSITORY / "docs" / "scaling.md").read_text()
    assert [n for n in (100, 10_000, 1_000_000) if row(n, n_workers=100) not in text] == []
