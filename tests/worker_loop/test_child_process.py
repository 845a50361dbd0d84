"""The supervisor's end of a child: what it hears, what it keeps of the child's words, and how it tells of its death."""

import os
import signal
import sys
import textwrap

import psutil
import pytest

from tasks.records.assignment import Assignment, AttemptSucceeded, ChildReady, StageBegan
from tests.services.processes import wait_until
from workers import child_process
from workers.child_keeper import MAX_FAILED_STARTS, ChildCannotStartError, ChildKeeper
from workers.child_loop import OUT_OF_MEMORY_EXIT
from workers.child_process import TAIL_BYTES, ChildProcess, how_it_ended
from workers.logs import log_to_stderr

ASSIGNMENT = Assignment(job_id="job", task_id="task", bucket_url="file:///b", attempt=1, worker="here:1")
PREAMBLE = """
import os, signal, sys, time
from tasks.records.assignment import *
from workers.child_loop import SupervisorPipes, child_arguments, serve
given = child_arguments()
reports = os.fdopen(given.reports_fd, "wb", buffering=0)
pipes = SupervisorPipes(commands=os.fdopen(given.commands_fd, "rb"), reports=reports)
"""


def command(script):
    return [sys.executable, "-c", PREAMBLE + textwrap.dedent(script)]


@pytest.fixture
def start():
    children = []

    def start(script):
        children.append(ChildProcess(command(script)))
        return children[-1]

    yield start
    for child in children:
        child.dismiss(grace_seconds=0.0)


def hear(child, count):
    heard = []

    def listen():
        heard.extend(child.take_reports())
        return len(heard) >= count

    wait_until(listen, seconds=20, what=f"the child has told {count} things, not {heard}")
    return heard


def await_death(child):
    def is_dead():
        child.listen()
        return child.is_dead

    wait_until(is_dead, seconds=20, what="the child has died")


def test_reports_come_in_order_however_they_are_cut(start):
    child = start("""
        line = line_from_record(ChildReady()) + line_from_record(StageBegan(stage="cluster_and_link"))
        for byte in line:
            reports.write(bytes([byte]))
        time.sleep(60)
    """)

    assert hear(child, 2) == [ChildReady(), StageBegan(stage="cluster_and_link")]
    assert child.is_ready


def test_what_the_child_prints_is_logged_and_never_taken_for_a_report(start, capsys, restored_logging):
    log_to_stderr("here:1")
    child = start("""
        print('{"kind":"succeeded","outputs":[]}', flush=True)
        print("to amqp://guest:secret@host/", file=sys.stderr, flush=True)
        pipes.tell(ChildReady())
        time.sleep(60)
    """)

    assert hear(child, 1) == [ChildReady()]
    printed = capsys.readouterr().err
    assert '{"kind":"succeeded","outputs":[]}' in printed
    assert "guest:***@host" in printed
    assert "secret" not in printed


def test_a_line_that_is_no_report_ends_the_child(start):
    child = start("""
        reports.write(b"computing...\\n")
        time.sleep(60)
    """)

    await_death(child)

    assert "no report" in child.cause_of_death


def test_a_child_that_fails_at_its_start_says_why_although_its_pipe_closes_first(start):
    child = start("""
        reports.close()
        time.sleep(0.3)
        sys.exit("no such library")
    """)

    await_death(child)

    assert child.cause_of_death == "exit code 1. It printed last:\nno such library"


def test_a_child_that_closes_its_pipe_and_lives_on_is_ended(start, monkeypatch):
    monkeypatch.setattr(child_process, "FAREWELL_SECONDS", 0.2)
    child = start("""
        reports.close()
        time.sleep(60)
    """)

    await_death(child)

    assert "closed its end" in child.cause_of_death


def test_the_cause_of_death_ends_with_the_last_words(start):
    child = start("""
        print("x" * 100_000)
        print("the very last words", flush=True)
        os.kill(os.getpid(), signal.SIGABRT)
    """)

    await_death(child)

    assert child.cause_of_death.startswith("killed by SIGABRT. It printed last:")
    assert child.cause_of_death.endswith("the very last words")
    assert len(child.cause_of_death) < TAIL_BYTES + 200


def test_words_about_an_earlier_task_are_not_told_of_this_one(start):
    child = start("""
        print("about the first", flush=True)
        pipes.tell(ChildReady())
        pipes.hear()
        os._exit(3)
    """)
    hear(child, 1)
    wait_until(lambda: child.take_reports() == [], seconds=5, what="all is read")

    child.assign(ASSIGNMENT)
    await_death(child)

    assert child.cause_of_death == "exit code 3. It printed nothing."


def test_a_report_that_came_before_the_death_is_heard(start):
    child = start("""
        pipes.tell(AttemptSucceeded(outputs=()))
        os.kill(os.getpid(), signal.SIGKILL)
    """)

    await_death(child)

    assert child.take_reports() == [AttemptSucceeded(outputs=())]


def test_killing_a_child_kills_what_it_started(start):
    child = start("""
        import subprocess
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        pipes.tell(ChildReady())
        time.sleep(60)
    """)
    hear(child, 1)
    (grandchild,) = psutil.Process(child.pid).children()

    child.kill("a test asks for it")

    wait_until(lambda: not grandchild.is_running(), seconds=10, what="the grandchild is gone")


def test_what_a_child_started_does_not_outlive_it(start):
    child = start("""
        import subprocess
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        pipes.tell(ChildReady())
        pipes.hear()
    """)
    hear(child, 1)
    (grandchild,) = psutil.Process(child.pid).children()

    child.assign(ASSIGNMENT)
    await_death(child)

    wait_until(lambda: not grandchild.is_running(), seconds=10, what="the grandchild is gone")


def test_a_process_group_is_killed_only_while_its_number_can_be_nobody_elses(start, monkeypatch):
    """As long as the dead leader is not reaped the kernel gives its number to nobody."""
    kill, at_the_kill = os.killpg, []

    def killpg(group, number):
        at_the_kill.append(psutil.Process(group).status())
        kill(group, number)

    monkeypatch.setattr(child_process.os, "killpg", killpg)
    child = start("pass")
    await_death(child)

    child.kill("too late")
    child.dismiss(grace_seconds=0.0)

    assert at_the_kill == [psutil.STATUS_ZOMBIE]
    assert child.cause_of_death.startswith("exit code 0")


def test_a_child_that_the_kernel_does_not_let_go_of_holds_nobody_up(start, monkeypatch):
    monkeypatch.setattr(child_process, "KILL_SECONDS", 0.05)
    monkeypatch.setattr(child_process.os, "killpg", lambda *_: None)  # as if it hung in a read of a dead disk
    child = start("time.sleep(60)")

    child.kill("it took too long")

    assert child.is_dead
    assert child.cause_of_death.startswith("killed because it took too long")
    os.kill(child.pid, signal.SIGKILL)
    child._popen.wait()


@pytest.mark.parametrize(
    ("code", "killed_because", "words"),
    [
        (0, None, "exit code 0"),
        (3, None, "exit code 3"),
        (-signal.SIGSEGV, None, "killed by SIGSEGV"),
        (-signal.SIGKILL, None, "killed by SIGKILL"),
        (-signal.SIGKILL, "it hangs", "killed because it hangs"),
        (None, "it hangs", "killed because it hangs"),
        (-signal.SIGSEGV, "it closed its pipe", "killed by SIGSEGV"),
        (3, "it closed its pipe", "exit code 3"),
        (OUT_OF_MEMORY_EXIT, None, f"out of memory (exit code {OUT_OF_MEMORY_EXIT})"),
        (-(signal.SIGRTMIN + 1), None, f"killed by signal {signal.SIGRTMIN + 1}"),
    ],
)
def test_what_a_process_died_of_by_itself_comes_before_what_it_was_killed_for(code, killed_because, words):
    assert how_it_ended(code, killed_because=killed_because) == words


@pytest.mark.parametrize(
    "exhausted",
    [
        "raise MemoryError",
        'raise OSError(12, "Cannot allocate memory")',
        'raise ImportError("liborb.so: failed to map segment from shared object")',
        "open_threads()",
    ],
)
def test_memory_that_cannot_be_had_ends_the_child_whatever_the_library_calls_it(start, exhausted):
    child = start(f"""
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
        def open_threads():
            raise RuntimeError("can't start new thread")
        def compute(assignment, *, tell, await_lease):
            try:
                {exhausted}
            except Exception as error:
                raise ValueError("the fit failed") from error
        serve(pipes, compute)
    """)
    hear(child, 1)

    child.assign(ASSIGNMENT)
    await_death(child)

    assert child.cause_of_death.startswith("out of memory")
    assert "the fit failed" in child.cause_of_death


def test_a_dead_child_can_be_told_things_without_harm(start):
    child = start("pass")
    await_death(child)

    child.assign(ASSIGNMENT)

    assert child.is_dead


def test_an_attempt_tells_one_ending_and_nothing_after_it(start):
    child = start("""
        def chatty(assignment, *, tell, await_lease):
            tell(AttemptSucceeded(outputs=()))
            tell(StageBegan(stage="merge_and_extend"))
            raise RuntimeError("too late")
        serve(pipes, chatty)
    """)
    assert hear(child, 1) == [ChildReady()]

    child.assign(ASSIGNMENT)
    child.assign(ASSIGNMENT)

    assert hear(child, 2) == [AttemptSucceeded(outputs=())] * 2


def test_a_computation_that_returns_without_an_ending_is_a_failure(start):
    child = start("serve(pipes, lambda assignment, *, tell, await_lease: None)")
    hear(child, 1)

    child.assign(ASSIGNMENT)

    (ending,) = hear(child, 1)
    assert (ending.kind, ending.error_kind) == ("failed", "task_error")


def test_a_child_leaves_when_the_supervisor_closes_the_pipe(start):
    child = start("serve(pipes, None)")
    hear(child, 1)

    child.dismiss(grace_seconds=20.0)

    assert child.cause_of_death.startswith("exit code 0")


def test_a_worker_gives_up_when_no_child_ever_becomes_ready():
    keeper = ChildKeeper(command=command('sys.exit("no such library")'), tasks_per_child=None)

    def keep():
        return keeper.ready_child() is not None

    with pytest.raises(ChildCannotStartError, match=rf"{MAX_FAILED_STARTS} in a row .*(\n.*)*no such library"):
        wait_until(keep, seconds=60, what="the keeper gives up")
    keeper.close()


def test_files_of_upstream_that_a_killed_child_left_go_with_the_child(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    makes_files = (
        f"import tempfile; tempfile.tempdir = {str(tmp_path)!r}\n"
        "from tasks.engines.upstream_files import OwnDirectory\n"
        "own = OwnDirectory()\n"
        "pipes.tell(ChildReady())\n"
        "time.sleep(600)\n"
    )
    keeper = ChildKeeper(command=command(makes_files), tasks_per_child=None)
    wait_until(lambda: keeper.ready_child() is not None, seconds=60, what="the child is ready")
    assert list(tmp_path.glob("thor-upstream-*"))

    keeper.ready_child().kill("the test says so")
    keeper.close()

    assert not list(tmp_path.glob("thor-upstream-*"))
