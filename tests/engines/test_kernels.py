"""The cache of compiled kernels: never older than the sources it stands on, and made by one process at a time."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from tasks.engines.builtin import kernels
from tasks.engines.builtin.astrodynamics import two_body


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "folder", lambda: tmp_path / "kernels-1")
    return tmp_path / "kernels-1"


def test_the_cache_is_another_when_a_module_with_kernels_or_one_that_it_imports_changes(tmp_path):
    inner, outer, other = (tmp_path / name for name in ("inner.py", "outer.py", "other.py"))
    inner.write_text("X = 1\n")
    outer.write_text("from tasks.engines.builtin.kernels import kernel\nfrom tasks.engines.inner import X\n")
    other.write_text("Y = 1\n")
    before = kernels.digest_of_sources(tmp_path)

    other.write_text("Y = 2\n")
    assert kernels.digest_of_sources(tmp_path) == before
    inner.write_text("X = 2\n")
    assert kernels.digest_of_sources(tmp_path) != before


def test_kernels_are_kept_in_the_folder_of_their_sources():
    assert kernels.folder() in Path(two_body.stumpff.stats.cache_path).parents


def test_a_process_waits_while_another_compiles(folder):
    entered = threading.Event()

    def compile_something():
        with kernels.compiled_once():
            entered.set()

    folder.mkdir()
    with (folder / kernels.LOCK).open("ab") as other_process:
        fcntl.flock(other_process, fcntl.LOCK_EX)
        thread = threading.Thread(target=compile_something)
        thread.start()
        assert not entered.wait(0.1)
    thread.join(10.0)
    assert entered.is_set()


def test_when_all_is_compiled_nobody_waits(folder):
    with kernels.compiled_once():
        pass

    with (folder / kernels.LOCK).open("ab") as other_process:
        fcntl.flock(other_process, fcntl.LOCK_EX)
        with kernels.compiled_once():
            pass


def test_what_was_not_compiled_to_the_end_is_not_taken_for_complete(folder):
    with pytest.raises(ZeroDivisionError), kernels.compiled_once():
        _ = 1 / 0

    assert not (folder / kernels.COMPLETE).exists()


def test_where_nobody_can_write_kernels_compile_without_a_lock(folder):
    folder.touch()

    with kernels.compiled_once():
        pass


def test_machine_code_of_older_sources_is_removed_but_the_last_few(folder):
    for age, name in enumerate("abcd"):
        older = folder.parent / f"kernels-{name}"
        older.mkdir()
        os.utime(older, (1e9 - age, 1e9 - age))

    with kernels.compiled_once():
        pass

    assert sorted(path.name for path in folder.parent.iterdir()) == ["kernels-1", "kernels-a", "kernels-b"]
