"""The cache of compiled kernels: never older than the source it stands on, and made by one process at a time."""

import fcntl
import threading

import pytest

from tasks.engines.builtin import kernels


def test_a_kernel_is_stale_when_a_module_that_it_imports_changes(tmp_path, monkeypatch):
    inner, outer, other = (tmp_path / name for name in ("inner.py", "outer.py", "other.py"))
    inner.write_text("X = 1\n")
    outer.write_text("from tasks.engines.builtin.inner import X\n")
    other.write_text("Y = 1\n")
    monkeypatch.setattr(kernels, "_PACKAGE", tmp_path)
    stamp = kernels._stamp_of_sources.__wrapped__
    before = stamp(outer)

    other.write_text("Y = 2\n")
    assert stamp(outer) == before
    inner.write_text("X = 2\n")
    assert stamp(outer) != before


def test_a_process_waits_while_another_compiles(tmp_path):
    entered = threading.Event()

    def compile_something():
        with kernels._locked(tmp_path):
            entered.set()

    with (tmp_path / kernels.LOCK).open("ab") as other_process:
        fcntl.flock(other_process, fcntl.LOCK_EX)
        thread = threading.Thread(target=compile_something)
        thread.start()
        assert not entered.wait(0.1)
    thread.join(10.0)
    assert entered.is_set()


def test_a_kernel_may_compile_those_that_it_calls(tmp_path):
    with kernels._locked(tmp_path), kernels._locked(tmp_path):
        pass

    with (tmp_path / kernels.LOCK).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_where_nobody_can_write_kernels_compile_without_a_lock(tmp_path):
    (tmp_path / "a_file").touch()

    with kernels._locked(tmp_path / "a_file"):
        pass


def test_a_kernel_that_cannot_be_saved_can_be_used():
    def refuse(message):
        raise RuntimeError(message)

    save = kernels._as_well_as_it_can(refuse)

    assert save("no compiled object yet for <Library 'f' at 0x7f>") is None
    with pytest.raises(RuntimeError, match="disk full"):
        save("disk full")
