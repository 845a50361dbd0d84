"""How many workers to start: the decision as a table, and the count of flow runs on a real Prefect server."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.orchestration import get_client
from prefect.states import Pending, Running

from flows.autoscale import Limits, main, workers_to_start, workers_wanted
from flows.worker import work
from tasks.broker.protocol import OutgoingMessage, QueueDepth
from tasks.prefect_api.worker_runs import WorkerRuns, worker_deployment
from tests.support.commands import run_command
from tests.support.jobs import closing_publisher

UNTOLD = -1


def depth(ready, unacked=UNTOLD):
    return QueueDepth(ready=ready, unacked=unacked, delayed=5, dead=7)


@pytest.mark.parametrize(
    ("ready", "unacked", "working", "starting", "limits", "expected"),
    [
        # nothing to do
        (0, 0, 0, 0, Limits(), 0),
        (0, 0, 0, 0, Limits(minimum=2), 2),
        (0, 0, 1, 1, Limits(minimum=2), 0),
        # a queue that tells what is held
        (1, 0, 0, 0, Limits(), 1),
        (9, 0, 0, 0, Limits(), 3),
        (9, 0, 0, 3, Limits(), 0),
        (9, 2, 2, 0, Limits(), 3),
        (9, 2, 2, 3, Limits(), 0),
        (9, 2, 3, 0, Limits(), 2),
        (1000, 0, 0, 0, Limits(maximum=5), 5),
        (1000, 3, 3, 1, Limits(maximum=5), 1),
        (1000, 9, 9, 0, Limits(maximum=5), 0),
        # held by workers that somebody started by hand
        (9, 50, 0, 0, Limits(), 3),
        (0, 50, 0, 0, Limits(), 0),
        # a broker that does not tell
        (9, UNTOLD, 0, 0, Limits(), 3),
        (9, UNTOLD, 0, 3, Limits(), 0),
        (9, UNTOLD, 2, 0, Limits(), 3),
        (9, UNTOLD, 2, 3, Limits(), 0),
        (0, UNTOLD, 2, 0, Limits(), 0),
        (0, UNTOLD, 0, 0, Limits(minimum=1), 1),
        # off
        (9, 0, 0, 0, Limits(maximum=0), 0),
    ],
)
def test_workers_are_started_for_the_tasks_that_wait(ready, unacked, working, starting, limits, expected):
    assert workers_to_start(depth(ready, unacked), WorkerRuns(working, starting), limits) == expected


COUNTS = st.integers(min_value=0, max_value=10_000)


@given(COUNTS, st.integers(min_value=-1, max_value=10_000), COUNTS, COUNTS, COUNTS, COUNTS)
def test_there_are_never_more_than_the_maximum_and_deciding_again_starts_nobody(
    ready, unacked, working, starting, minimum, more
):
    limits = Limits(minimum=minimum, maximum=minimum + more)
    before = WorkerRuns(working, starting)

    started = workers_to_start(depth(ready, unacked), before, limits)
    after = WorkerRuns(working, starting + started)

    assert started >= 0
    assert limits.minimum <= workers_wanted(depth(ready, unacked), before, limits) <= limits.maximum
    assert started == 0 or after.alive <= limits.maximum
    if unacked <= before.alive:
        assert workers_to_start(depth(ready, unacked), after, limits) == 0


@pytest.mark.parametrize(
    "arguments", [("--minimum", "3", "--maximum", "2"), ("--tasks-per-worker", "0"), ("--minimum", "-1"), ()]
)
def test_wrong_limits_and_a_missing_server_end_with_2(arguments):
    assert run_command(main, *arguments).code == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_flow_runs_are_counted_and_started_on_a_real_server(prefect, place):
    name = f"worker-{uuid.uuid4().hex}"
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(work), name)
        runs = [client.create_flow_run_from_deployment(deployment) for _ in range(3)]
        client.set_flow_run_state(runs[0].id, Pending(), force=True)
        client.set_flow_run_state(runs[1].id, Running(), force=True)
    with closing_publisher(place.queue) as publisher:
        publisher.publish([OutgoingMessage(b"{}")] * 20)
    arguments = ("--json", "--deployment", f"thor-worker/{name}", "--maximum", "4", *place.options)

    first = run_command(main, *arguments).json
    second = run_command(main, *arguments).json
    nobody = run_command(main, "--deployment", "thor-worker/nobody", *place.options)

    assert first == {"ready": 20, "unacked": 0, "working": 0, "starting": 3, "wanted": 4, "started": 1}
    assert second == {**first, "starting": 4, "started": 0}
    with worker_deployment(f"thor-worker/{name}") as workers:
        assert workers.runs() == WorkerRuns(working=0, starting=4)
    assert nobody.code == 2
    assert "no deployment 'thor-worker/nobody'" in nobody.err
