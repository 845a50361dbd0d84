"""What a worker decides about a message, and about an attempt that ended, as tables."""

import pytest

from tasks.records.message import TaskMessage
from tasks.records.status import Counters, Failed, OutputObject, Released, Status, Succeeded
from workers.disposition import (
    LONGEST_REST_SECONDS,
    MAX_CRASHED,
    MAX_LOST,
    Ack,
    AskedToLeave,
    Begin,
    ChildDied,
    ChildFailed,
    ChildReleased,
    ChildSucceeded,
    DeadLetter,
    Fail,
    Fenced,
    JobCancelled,
    LeaveToOthers,
    LookAgain,
    Settlement,
    begin_or_leave,
    disposition,
    foreign_bucket,
    rest_seconds,
    settlement,
)

GENERATION = 1700000000000007
NEVER_SEEN = None
OUTPUTS = (OutputObject(name="thor.log", size=3, crc32c="AAAAAA=="),)


def decide(state, *, seen=NEVER_SEEN, is_cancelled=False, lost=0, crashed=0):
    status = Status(state=state, worker="there:2", counters=Counters(lost=lost, crashed=crashed))
    decision = disposition(status, generation=GENERATION, seen_generation=seen, is_cancelled=is_cancelled)
    return (Fail, decision.error_kind) if isinstance(decision, Fail) else decision


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"state": "requested"}, Begin()),
        ({"state": "requested", "seen": GENERATION}, Begin()),
        ({"state": "requested", "seen": GENERATION - 1}, Begin()),
        ({"state": "requested", "is_cancelled": True}, (Fail, "cancelled")),
        ({"state": "requested", "lost": MAX_LOST - 1}, Begin()),
        ({"state": "requested", "lost": MAX_LOST}, (Fail, "lost")),
        ({"state": "requested", "crashed": MAX_CRASHED - 1}, Begin()),
        ({"state": "requested", "crashed": MAX_CRASHED}, (Fail, "crashed")),
        ({"state": "in_progress"}, LookAgain(GENERATION)),
        ({"state": "in_progress", "seen": GENERATION - 1}, LookAgain(GENERATION)),
        ({"state": "in_progress", "seen": str(GENERATION)}, LookAgain(GENERATION)),
        ({"state": "in_progress", "is_cancelled": True}, LookAgain(GENERATION)),
        ({"state": "in_progress", "lost": MAX_LOST}, LookAgain(GENERATION)),
        ({"state": "in_progress", "seen": GENERATION}, Begin()),
        ({"state": "in_progress", "seen": GENERATION, "is_cancelled": True}, (Fail, "cancelled")),
        ({"state": "in_progress", "seen": GENERATION, "lost": MAX_LOST - 2}, Begin()),
        ({"state": "in_progress", "seen": GENERATION, "lost": MAX_LOST - 1}, (Fail, "lost")),
        ({"state": "succeeded"}, Ack()),
        ({"state": "succeeded", "is_cancelled": True}, Ack()),
        ({"state": "failed"}, Ack()),
        ({"state": "failed", "seen": GENERATION, "lost": MAX_LOST, "is_cancelled": True}, Ack()),
    ],
)
def test_a_message_is_judged_by_the_status_of_its_task(facts, expected):
    assert decide(**facts) == expected


def test_a_hopeless_task_says_how_often_and_where_it_was_lost():
    status = Status(state="in_progress", worker="there:2", counters=Counters(lost=MAX_LOST - 1))

    decision = disposition(status, generation=GENERATION, seen_generation=GENERATION, is_cancelled=False)

    assert isinstance(decision, Fail)
    assert f"{MAX_LOST} attempts vanished" in decision.error
    assert "there:2" in decision.error


def message(bucket):
    return TaskMessage(job_id="job", task_id="task", bucket=bucket)


@pytest.mark.parametrize("named", ["gs://survey", "survey"])
def test_a_bucket_may_be_named_by_url_or_by_its_bare_name(named):
    assert foreign_bucket(message(named), "gs://survey") is None


@pytest.mark.parametrize("named", ["gs://other", "file:///survey", "gs://survey/", "SURVEY"])
def test_a_message_of_another_bucket_is_dead_lettered_and_both_are_named(named):
    refusal = foreign_bucket(message(named), "gs://survey")

    assert isinstance(refusal, DeadLetter)
    assert repr(named) in refusal.reason
    assert "'gs://survey'" in refusal.reason


@pytest.mark.parametrize(
    ("ending", "crashed", "expected"),
    [
        (ChildSucceeded(OUTPUTS), 0, Settlement(Succeeded(outputs=OUTPUTS), "ack")),
        (ChildFailed("task_error", "bad", ()), 0, Settlement(Failed(error_kind="task_error", error="bad"), "ack")),
        (ChildReleased("no bucket"), 0, Settlement(Released(error="no bucket"), "delay")),
        (ChildDied("SIGSEGV"), MAX_CRASHED - 2, Settlement(Released(crashed=True, error="SIGSEGV"), "requeue")),
        (AskedToLeave(), 0, Settlement(Released(), "requeue")),
        (Fenced(), 0, Settlement(None, "requeue")),
    ],
)
def test_an_attempt_is_settled_by_how_it_ended(ending, crashed, expected):
    assert settlement(ending, Counters(crashed=crashed)) == expected


def test_the_last_allowed_crash_fails_the_task_and_tells_how_it_died():
    settled = settlement(ChildDied("killed by SIGSEGV"), Counters(crashed=MAX_CRASHED - 1))

    assert isinstance(settled.event, Failed)
    assert settled.event.error_kind == "crashed"
    assert "killed by SIGSEGV" in settled.event.error
    assert settled.act == "ack"


def test_a_cancelled_task_fails_as_cancelled():
    settled = settlement(JobCancelled(), Counters())

    assert isinstance(settled.event, Failed)
    assert (settled.event.error_kind, settled.act) == ("cancelled", "ack")


@pytest.mark.parametrize("ending", [ChildSucceeded(()), ChildFailed("bad_input", "x", ()), JobCancelled()])
def test_only_a_task_that_ended_for_good_is_acked(ending):
    assert settlement(ending, Counters()).act == "ack"


@pytest.mark.parametrize(
    ("status", "lacks", "expected"),
    [
        (Status(state="requested"), None, Begin()),
        (Status(state="requested", waits_for_engine="thor"), None, Begin()),
        (Status(state="requested"), "thor", LeaveToOthers("thor", is_news=True)),
        (Status(state="requested", waits_for_engine="thor"), "thor", LeaveToOthers("thor", is_news=False)),
        # Whoever takes it over must find the generation that stood still.
        (Status(state="in_progress"), "thor", LeaveToOthers("thor", is_news=False)),
    ],
)
def test_a_task_of_an_engine_that_the_worker_lacks_is_left_to_others_and_the_status_says_so_once(
    status, lacks, expected
):
    assert begin_or_leave(status, lacks=lacks) == expected


def test_a_worker_spends_at_most_a_fifth_of_its_time_on_tasks_that_are_not_for_it_and_serves_its_connection():
    assert rest_seconds(0.01) == pytest.approx(0.04)
    assert rest_seconds(30.0) == LONGEST_REST_SECONDS
