"""Which engines a worker has, asked before a claim; and a message of a task whose engine it lacks."""

import pytest

from tasks.bucket.layout import JobLayout
from tasks.engines.errors import EngineMissingError
from tasks.records.ids import JobId, TaskId
from tasks.records.message import TaskMessage
from tasks.records.status import Claimed
from tests.support.buckets import FakeBucket
from tests.support.jobs import CLAIMED, FRESH, make_job, status_of
from workers.disposition import LeaveToOthers, LookAgain
from workers.engines_here import REMEMBERED_SECONDS, EnginesHere
from workers.reception import ClaimedTask, look_and_claim

HAS_IT = {"thor": "2.1"}


class Interpreter:
    """Upstream's interpreter, which may lack upstream; counts how often it was asked."""

    def __init__(self, found=None):
        self.found, self.asked = found, 0

    def __call__(self, python):
        self.asked += 1
        if self.found is None:
            raise EngineMissingError("upstream THOR is not there")
        return self.found


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def engines(interpreter, clock=None):
    return EnginesHere(clock=clock or Clock(), find=interpreter)


@pytest.fixture
def bucket():
    return FakeBucket()


def look(bucket, here, *, headers=None, task_id="a"):
    message = TaskMessage(job_id=JobId("survey-07"), bucket=bucket.url, task_id=TaskId(task_id))
    return look_and_claim(bucket, message, headers or {}, worker="here:1", engines=here)


def test_the_builtin_engine_is_everywhere_and_nobody_asks_for_upstream(bucket):
    make_job(bucket, {"a": FRESH})
    interpreter = Interpreter()

    assert isinstance(look(bucket, engines(interpreter)), ClaimedTask)
    assert interpreter.asked == 0


def test_a_worker_with_upstream_claims_its_tasks_and_asks_for_it_once(bucket):
    make_job(bucket, {"a": FRESH, "b": FRESH}, engine="thor")
    interpreter = Interpreter(HAS_IT)
    here = engines(interpreter)

    assert isinstance(look(bucket, here), ClaimedTask)
    assert isinstance(look(bucket, here, task_id="b"), ClaimedTask)
    assert interpreter.asked == 1


def test_a_worker_without_upstream_leaves_its_tasks_to_others_counts_nothing_and_writes_that_once(bucket):
    job = make_job(bucket, {"a": FRESH}, engine="thor")
    here = engines(Interpreter())

    verdicts = [look(bucket, here) for _ in range(3)]

    assert verdicts == [LeaveToOthers("thor", is_news=True), *[LeaveToOthers("thor", is_news=False)] * 2]
    status = status_of(bucket, job, "a")
    assert (status.state, status.attempt, status.waits_for_engine) == ("requested", 0, "thor")
    assert (status.counters.lost, status.counters.crashed) == (0, 0)


def test_a_lost_task_keeps_its_generation_for_the_worker_that_has_the_engine(bucket):
    job = make_job(bucket, {"a": CLAIMED}, engine="thor")
    generation = bucket.generation(job.task(TaskId("a")).status)
    headers = {"seen_generation": generation}

    assert look(bucket, engines(Interpreter())) == LookAgain(generation)
    assert look(bucket, engines(Interpreter()), headers=headers) == LeaveToOthers("thor", is_news=False)
    assert isinstance(look(bucket, engines(Interpreter(HAS_IT)), headers=headers), ClaimedTask)
    assert status_of(bucket, job, "a").counters.lost == 1


def test_that_upstream_is_missing_is_looked_at_again_after_a_while(bucket):
    make_job(bucket, {"a": FRESH}, engine="thor")
    interpreter, clock = Interpreter(), Clock()
    here = engines(interpreter, clock)
    look(bucket, here)
    interpreter.found = HAS_IT

    clock.now += REMEMBERED_SECONDS - 1
    assert isinstance(look(bucket, here), LeaveToOthers)
    clock.now += 1
    assert isinstance(look(bucket, here), ClaimedTask)


def test_after_an_attempt_that_found_it_gone_upstream_is_looked_for_again(bucket):
    make_job(bucket, {"a": FRESH, "b": FRESH}, engine="thor")
    interpreter = Interpreter(HAS_IT)
    here = engines(interpreter)
    look(bucket, here)
    interpreter.found = None

    here.look_anew()

    assert isinstance(look(bucket, here, task_id="b"), LeaveToOthers)


def test_a_job_submitted_anew_with_another_engine_is_not_held_for_the_former_for_long(bucket):
    make_job(bucket, {"a": FRESH}, engine="thor")
    clock = Clock()
    here = engines(Interpreter(), clock)
    look(bucket, here)
    make_job(bucket, {"a": FRESH}, engine="builtin")

    clock.now += REMEMBERED_SECONDS

    assert isinstance(look(bucket, here), ClaimedTask)


def test_a_job_without_a_manifest_is_everybodys(bucket):
    job = make_job(bucket, {"a": FRESH}, engine="thor")
    bucket.delete(job.manifest)

    assert engines(Interpreter()).lacks(bucket, JobLayout(JobId("survey-07"))) is None


def test_claimed_by_a_worker_that_has_it_the_task_waits_no_more(bucket):
    job = make_job(bucket, {"a": FRESH}, engine="thor")
    look(bucket, engines(Interpreter()))

    look(bucket, engines(Interpreter(HAS_IT)))

    assert status_of(bucket, job, "a").waits_for_engine is None
    assert isinstance(CLAIMED[0], Claimed)
