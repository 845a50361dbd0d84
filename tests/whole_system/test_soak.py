"""All faults at once, in small; `python -m tests.whole_system.soak` is the long one."""

import pytest

from tests.whole_system.soak import run


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("where", ["embedded", pytest.param("services", marks=[pytest.mark.rabbitmq, pytest.mark.gcs])])
def test_every_promise_holds_under_all_faults_at_once(where):
    size = ["--tasks", "120", "--workers", "3", "--fault-seconds", "0.7", "--broker-kills", "1"]

    figures = run(["--on", where, "--seed", "7", *size])[where]

    assert figures["violations"] == 0
    assert sum(figures["faults"].values()) > 5
