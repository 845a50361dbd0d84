"""When a bucket operation is tried again, how long it pauses, and when it gives up."""

import pytest

from tasks.bucket.retry import RetryPolicy, call_with_retries

POLICY = RetryPolicy(deadline_seconds=100, request_seconds=30, first_pause_seconds=1, longest_pause_seconds=8)


class PassingError(Exception):
    """Worth another try."""


class LastingError(Exception):
    """Not worth another try."""


class Service:
    """Fails as told; each try takes its time on a clock of the service's own, and so does each pause."""

    def __init__(self, *, failures, seconds_each=0.0, error=PassingError):
        self.failures, self.seconds_each, self.error = failures, seconds_each, error
        self.now = 1000.0
        self.timeouts = []
        self.pauses = []

    def attempt(self, timeout_seconds):
        self.timeouts.append(timeout_seconds)
        self.now += self.seconds_each
        if len(self.timeouts) <= self.failures:
            raise self.error(f"failure {len(self.timeouts)}")
        return "answer"

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds

    def call(self, policy=POLICY):
        return call_with_retries(
            self.attempt,
            policy,
            is_transient=lambda error: isinstance(error, PassingError),
            sleep=self.sleep,
            clock=lambda: self.now,
        )


def test_an_answer_needs_no_pause():
    service = Service(failures=0)

    assert service.call() == "answer"
    assert service.pauses == []


def test_passing_faults_are_tried_again_after_pauses_that_may_double():
    service = Service(failures=6)

    assert service.call() == "answer"
    assert all(0 <= pause <= limit for pause, limit in zip(service.pauses, [1, 2, 4, 8, 8, 8], strict=True))


def test_pauses_are_scattered_so_that_workers_don_t_come_back_in_step():
    firsts = []
    for _ in range(200):
        service = Service(failures=1)
        service.call()
        firsts += service.pauses

    assert min(firsts) < 0.25
    assert max(firsts) > 0.75


def test_a_lasting_fault_is_raised_at_once():
    service = Service(failures=1, error=LastingError)

    with pytest.raises(LastingError):
        service.call()
    assert service.pauses == []


def test_after_the_deadline_the_last_fault_is_raised():
    service = Service(failures=10**6, seconds_each=3)

    with pytest.raises(PassingError):
        service.call()
    assert service.now - 1000 <= POLICY.deadline_seconds + service.seconds_each
    assert len(service.timeouts) == len(service.pauses) + 1


def test_a_try_is_given_no_more_time_than_is_left():
    service = Service(failures=3, seconds_each=29)

    service.call()

    assert service.timeouts[0] == POLICY.request_seconds
    assert service.timeouts[3] <= 100 - 3 * 29
    assert min(service.timeouts) >= 1
