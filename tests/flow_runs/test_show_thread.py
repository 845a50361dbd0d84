"""The thread that shows: in turn, never in the way of the work, and at leisure what needs the processor."""

import threading

from flows.shown.show_thread import MOST_WAITING, ShowThread


def test_acts_are_done_in_turn_and_one_that_fails_holds_up_none():
    shows, done = ShowThread(), []

    def fail():
        raise ConnectionError("Prefect is gone.")

    for act in (lambda: done.append(1), fail, lambda: done.append(2)):
        assert shows.show(act)
    shows.finish(60.0)

    assert done == [1, 2]


def test_too_many_acts_are_refused_and_nobody_waits():
    shows, has_begun, gate = ShowThread(), threading.Event(), threading.Event()
    shows.show(lambda: has_begun.set() or gate.wait())
    has_begun.wait(60.0)

    taken = [shows.show(lambda: None) for _ in range(MOST_WAITING + 2)]
    gate.set()
    shows.finish(60.0)

    assert taken == [True] * MOST_WAITING + [False] * 2


def test_what_may_wait_is_done_only_while_nobody_computes():
    shows, done = ShowThread(), []

    with shows.while_computing():
        shows.at_leisure(lambda: done.append("picture"))
        shows.show(lambda: done.append("run"))
        shows.finish(0.2)
        assert done == ["run"]
        shows.at_leisure(lambda: done.append("picture"))
    shows.finish(60.0)

    assert done == ["run", "picture"]


def test_a_process_that_leaves_gives_up_what_is_not_shown():
    shows, gate, done = ShowThread(), threading.Event(), []
    shows.show(gate.wait)
    shows.show(lambda: done.append(1))

    shows.finish(0.05)
    gate.set()
    shows.finish(60.0)

    assert done == []
