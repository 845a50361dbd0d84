"""Looking at a job: one listing, and only what it does not tell is read."""

from types import SimpleNamespace

import pytest

from tasks.bucket.layout import JobLayout
from tasks.errors import BadInputError
from tasks.jobs import monitor
from tasks.jobs.monitor import JobWatch
from tasks.jobs.task_changes import look_at_tasks
from tasks.records.ids import JobId
from tasks.records.progress import JobProgress
from tasks.records.status import OutputObject, Succeeded
from tests.support.buckets import FakeBucket
from tests.support.jobs import CLAIMED, FRESH, SUCCEEDED, failed, make_job, status_after

TASKS = {"a": FRESH, "b": FRESH, "c": FRESH}


@pytest.fixture
def bucket():
    bucket = FakeBucket()
    make_job(bucket, TASKS)
    bucket.history.clear()
    return bucket


@pytest.fixture
def layout():
    return JobLayout(JobId("survey-07"))


@pytest.fixture
def watch(bucket, layout):
    return JobWatch(bucket, layout, list(TASKS))


def set_status(bucket, layout, task_id, events):
    bucket.write(layout.task(task_id).status, status_after(events).to_bytes())


def tell_status(bucket, layout, task_id, events):
    """Write a status as the product does: with what a listing is to tell of it."""
    status = status_after(events)
    bucket.write(layout.task(task_id).status, status.to_bytes(), summary=status.summary)


def reads(bucket):
    return [name for verb, name in bucket.history if verb == "read"]


def test_the_first_look_lists_once_and_reads_every_status(bucket, layout, watch):
    assert watch.look() == ["a", "b", "c"]

    assert bucket.history[0] == ("list", layout.tasks_prefix)
    assert sorted(reads(bucket)) == [layout.task(task_id).status for task_id in "abc"]
    assert len(bucket.history) == 4
    assert watch.progress == JobProgress(requested=3)


def test_a_later_look_reads_only_what_has_changed(bucket, layout, watch):
    watch.look()
    set_status(bucket, layout, "b", CLAIMED)
    bucket.history.clear()

    assert watch.look() == ["b"]

    assert reads(bucket) == [layout.task("b").status]
    assert watch.progress == JobProgress(requested=2, in_progress=1)


def test_nothing_is_read_when_nothing_has_changed(bucket, watch):
    watch.look()
    bucket.history.clear()

    assert watch.look() == []
    assert reads(bucket) == []


def test_statuses_that_a_listing_tells_are_not_read(bucket, layout, watch):
    for task_id, events in {"a": FRESH, "b": CLAIMED, "c": failed("task_error")}.items():
        tell_status(bucket, layout, task_id, events)
    bucket.history.clear()

    watch.look()

    assert bucket.history == [("list", layout.tasks_prefix)]
    assert watch.progress == JobProgress(requested=1, in_progress=1, failed=1)
    assert watch.statuses["c"].error_kind == "task_error"


def test_the_outputs_of_a_task_are_read_when_they_are_asked_for_and_once(bucket, layout, watch):
    output = OutputObject(name="thor.log", size=3, crc32c="AAAAAA==")
    tell_status(bucket, layout, "b", [*CLAIMED, Succeeded(outputs=(output,))])
    watch.look()
    bucket.history.clear()
    assert watch.statuses["b"].outputs == ()

    assert watch.whole_statuses()["b"].outputs == (output,)
    assert watch.whole_statuses()["b"].outputs == (output,)
    assert reads(bucket) == [layout.task("b").status]


def test_a_summary_that_is_no_status_is_not_believed(bucket, layout, watch):
    status = status_after(CLAIMED)
    bucket.write(layout.task("a").status, status.to_bytes(), summary='{"state": "done"}')

    watch.look()

    assert watch.statuses["a"].state == "in_progress"


def test_looking_at_tasks_reads_only_what_no_listing_tells(bucket, layout):
    tell_status(bucket, layout, "a", SUCCEEDED)
    tell_status(bucket, layout, "c", failed("task_error"))
    bucket.history.clear()

    seen = look_at_tasks(bucket, layout, ["c", "a", "b", "gone"])

    assert [(task.task_id, task.status and task.status.state) for task in seen] == [
        ("c", "failed"),
        ("a", "succeeded"),
        ("b", "requested"),
        ("gone", None),
    ]
    assert [task.generation for task in seen[:3]] == [bucket.generation(layout.task(each).status) for each in "cab"]
    assert reads(bucket) == [layout.task("b").status, layout.task("gone").status]


def test_the_watch_ends_when_every_task_has_come_to_an_end(bucket, layout, watch):
    looks = []

    def on_look(changed):
        looks.append(list(changed))
        if len(looks) == 1:
            set_status(bucket, layout, "a", SUCCEEDED)
            set_status(bucket, layout, "c", failed("task_error"))
        if len(looks) == 2:
            set_status(bucket, layout, "b", SUCCEEDED)

    watch.until_complete(on_look=on_look, pause_seconds=0.0)

    assert looks == [["a", "b", "c"], ["a", "c"], ["b"]]
    assert watch.progress == JobProgress(succeeded=2, failed=1)


def test_what_a_look_raises_ends_the_watch(watch):
    def on_look(_changed):
        raise RuntimeError("no worker can start")

    with pytest.raises(RuntimeError, match="no worker"):
        watch.until_complete(on_look=on_look, pause_seconds=0.0)


def test_tasks_that_are_not_in_the_manifest_are_not_counted(bucket, layout, watch):
    set_status(bucket, layout, "stranger", SUCCEEDED)

    watch.look()

    assert watch.progress.total == 3


def test_a_status_that_is_missing_is_named_with_what_to_do(bucket, layout, watch):
    bucket.delete(layout.task("b").status)

    with pytest.raises(BadInputError, match=r"tasks/b/status.json is missing.*submit again with --job-id survey-07"):
        watch.look()


def test_a_status_that_cannot_be_read_is_named(bucket, layout, watch):
    bucket.write(layout.task("b").status, b"{}")

    with pytest.raises(BadInputError, match=r"tasks/b/status.json is not a status"):
        watch.look()


@pytest.mark.parametrize(("look_seconds", "pause"), [(0.01, 0.3), (2.0, 8.0), (120.0, 10.0)])
def test_looking_at_a_large_job_leaves_most_of_the_time_to_others(
    bucket, layout, watch, monkeypatch, look_seconds, pause
):
    now, pauses, look = [0.0], [], watch.look

    def slow_look():
        now[0] += look_seconds
        return look()

    def sleep(seconds):
        pauses.append(seconds)
        for task_id in TASKS:
            set_status(bucket, layout, task_id, SUCCEEDED)

    watch.look = slow_look
    monkeypatch.setattr(monitor, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))

    watch.until_complete(on_look=lambda _: None, pause_seconds=0.3)

    assert pauses == [pytest.approx(pause)]
