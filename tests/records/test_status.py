"""The states of a task, event by event."""

from datetime import UTC, datetime

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tasks.records.status import (
    Claimed,
    Counters,
    Failed,
    IllegalTransitionError,
    LeftToOthers,
    OutputObject,
    Released,
    Renewed,
    Retried,
    Status,
    Succeeded,
    TakenOver,
    next_status,
    status_from_bytes,
    status_from_summary,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OUTPUTS = (OutputObject(name="thor.log", size=3, crc32c="AAAAAA=="),)

CLAIMED = Claimed(worker="here:1", attempt_id="a1")
TAKEN_OVER = TakenOver(worker="there:2", attempt_id="a2")
RENEWED = Renewed(stage="orbit_determination", engine="builtin 1.0", prefect_flow_run_id="run-1")
RELEASED = Released()
CRASHED = Released(crashed=True, error="killed by SIGSEGV")
SUCCEEDED = Succeeded(outputs=OUTPUTS)
FAILED = Failed(error_kind="task_error", error="ValueError")
RETRIED = Retried()
LEFT = LeftToOthers(engine="thor")
EVENTS = [CLAIMED, TAKEN_OVER, RENEWED, RELEASED, CRASHED, SUCCEEDED, FAILED, RETRIED, LEFT]

LEGAL = [
    ("requested", CLAIMED, "in_progress"),
    ("requested", FAILED, "failed"),
    ("requested", LEFT, "requested"),
    ("in_progress", TAKEN_OVER, "in_progress"),
    ("in_progress", RENEWED, "in_progress"),
    ("in_progress", RELEASED, "requested"),
    ("in_progress", CRASHED, "requested"),
    ("in_progress", SUCCEEDED, "succeeded"),
    ("in_progress", FAILED, "failed"),
    ("failed", RETRIED, "requested"),
]
ILLEGAL = [
    (state, event)
    for state in ("requested", "in_progress", "succeeded", "failed")
    for event in EVENTS
    if (state, event) not in [(before, legal) for before, legal, _ in LEGAL]
]


def after(status, *events):
    for event in events:
        status = next_status(status, event, now=NOW, nonce="n")
    return status


@pytest.mark.parametrize(("before", "event", "expected"), LEGAL)
def test_each_legal_event_leads_to_its_state(before, event, expected):
    assert after(Status(state=before), event).state == expected


@pytest.mark.parametrize(("before", "event"), ILLEGAL)
def test_every_other_event_is_refused_by_name(before, event):
    with pytest.raises(
        IllegalTransitionError, match=f"{type(event).__name__} cannot happen to a task that is {before}"
    ):
        after(Status(state=before), event)


def test_nothing_leaves_succeeded():
    assert [event for state, event, _ in LEGAL if state == "succeeded"] == []


def test_a_claim_counts_the_attempt_and_names_its_worker():
    status = after(Status(state="requested"), CLAIMED)

    assert (status.attempt, status.worker, status.attempt_id) == (1, "here:1", "a1")
    assert (status.started_at, status.updated_at, status.nonce) == (NOW, NOW, "n")
    assert status.prefect_flow_run_id is None
    assert status.counters == Counters()


def test_a_task_left_to_others_counts_nothing_and_says_what_it_waits_for_until_somebody_claims_it():
    left = after(Status(state="requested"), LEFT)

    assert (left.attempt, left.counters, left.worker, left.waits_for_engine) == (0, Counters(), "", "thor")
    assert after(left, CLAIMED).waits_for_engine is None
    assert after(left, FAILED).waits_for_engine is None


def test_a_takeover_counts_the_attempt_that_was_lost():
    status = after(Status(state="requested"), CLAIMED, TAKEN_OVER, TAKEN_OVER)

    assert (status.attempt, status.worker, status.counters.lost) == (3, "there:2", 2)


def test_a_takeover_forgets_the_flow_run_of_the_lost_attempt():
    assert after(Status(state="requested"), CLAIMED, RENEWED, TAKEN_OVER).prefect_flow_run_id is None


def test_only_a_crash_is_counted_when_an_attempt_is_given_back():
    status = after(Status(state="requested"), CLAIMED, RELEASED, CLAIMED, CRASHED)

    assert (status.counters.crashed, status.counters.lost, status.attempt) == (1, 0, 2)
    assert status.error == "killed by SIGSEGV"


def test_a_renewal_without_news_keeps_what_was_known():
    status = after(Status(state="requested"), CLAIMED, RENEWED, Renewed())

    assert (status.stage, status.engine, status.prefect_flow_run_id) == ("orbit_determination", "builtin 1.0", "run-1")


def test_success_forgets_the_errors_of_earlier_attempts():
    status = after(Status(state="requested"), CLAIMED, CRASHED, CLAIMED, SUCCEEDED)

    assert (status.error, status.error_kind, status.outputs) == (None, None, OUTPUTS)
    assert status.counters.crashed == 1


def test_a_retry_starts_the_counters_anew_and_keeps_the_number_of_attempts():
    status = after(Status(state="requested"), CLAIMED, CRASHED, CLAIMED, FAILED, RETRIED)

    assert (status.counters, status.error, status.error_kind, status.attempt) == (Counters(), None, None, 2)


def test_the_two_keys_of_the_customers_diagram_are_a_status():
    status = status_from_bytes(b'{"state": "in_progress", "worker": "worker1.hostname.thor.dev"}')

    assert (status.state, status.worker, status.attempt) == ("in_progress", "worker1.hostname.thor.dev", 0)


def test_keys_of_a_later_version_are_read_over():
    assert status_from_bytes(b'{"state": "failed", "mood": "sad"}').state == "failed"


def test_a_status_is_read_as_it_was_written():
    status = after(Status(state="requested"), CLAIMED, RENEWED, SUCCEEDED)

    assert status_from_bytes(status.to_bytes()) == status
    assert b"null" not in status.to_bytes()


class StatusMachine(RuleBasedStateMachine):
    """Any events in any order: what is refused changes nothing, what happens keeps the promises."""

    def __init__(self):
        super().__init__()
        self.status = Status(state="requested")
        self.claims = 0
        self.endings = 0

    @rule(event=st.sampled_from(EVENTS))
    def happens(self, event):
        before = self.status
        try:
            self.status = after(before, event)
        except IllegalTransitionError:
            return
        self.claims += isinstance(event, Claimed | TakenOver)
        self.endings += isinstance(event, Succeeded | Failed) - isinstance(event, Retried)
        assert not before.is_terminal or isinstance(event, Retried)

    @invariant()
    def attempts_are_claims(self):
        assert self.status.attempt == self.claims

    @invariant()
    def a_task_ends_once(self):
        assert self.endings == int(self.status.is_terminal)

    @invariant()
    def an_error_kind_says_failed(self):
        assert (self.status.error_kind is not None) == (self.status.state == "failed")

    @invariant()
    def it_can_be_stored(self):
        assert status_from_bytes(self.status.to_bytes()) == self.status


TestStatusMachine = StatusMachine.TestCase


def test_a_summary_is_the_status_without_outputs_and_with_the_first_words_of_an_error():
    output = OutputObject(name="thor.log", size=3, crc32c="AAAAAA==")
    status = Status(state="failed", attempt=2, error="No orbit.\n" + "Traceback\n" * 1000, outputs=(output,))

    told = status_from_summary(status.summary)

    assert told == status.model_copy(update={"error": "No orbit.", "outputs": ()})
    assert len(Status(state="failed", error="x" * 2000).summary) < 1000


@pytest.mark.parametrize("summary", [None, "", "requested", '{"state": "done"}'])
def test_what_is_no_summary_tells_no_status(summary):
    assert status_from_summary(summary) is None
