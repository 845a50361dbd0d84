"""Every worker is started with one command and one environment."""

import os
import subprocess
import sys

import pytest

from tasks.compute import map_blocks_on_threads
from tasks.settings import Settings
from tasks.worker_processes import DASK, LIBRARIES, worker_command, worker_environment


@pytest.mark.parametrize(
    ("cores", "n_workers", "threads"),
    [(8, 2, "4"), (8, 3, "2"), (2, 4, "1"), (None, 1, "1"), (8, None, "1"), (8, 1, "8")],
)
def test_dask_has_an_equal_share_of_the_cores_and_each_library_one_thread(monkeypatch, cores, n_workers, threads):
    monkeypatch.delenv(DASK, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)

    environment = worker_environment(n_workers, THOR_HOME="/somewhere")

    assert [environment[name] for name in LIBRARIES] == ["1", "1", "1"]
    assert (environment[DASK], environment["THOR_HOME"]) == (threads, "/somewhere")


def test_threads_that_the_environment_names_stay_and_the_settings_read_them(monkeypatch):
    monkeypatch.setenv(DASK, "3")

    assert worker_environment(8)[DASK] == "3"
    assert Settings().dask_threads == 3


def test_members_of_a_fleet_have_the_environment_of_workers(tmp_path):
    script = f"import json, os; open({str(tmp_path)!r} + f'/{{os.getpid()}}', 'w').write(os.environ['OMP_NUM_THREADS'])"
    fleet = (
        f"import sys; from workers.fleet import Fleet; Fleet(command=[sys.executable, '-c', {script!r}], size=2).run()"
    )

    subprocess.run([sys.executable, "-c", fleet], check=True, timeout=120)

    assert [path.read_text() for path in tmp_path.iterdir()] == ["1", "1"]


def test_the_command_is_the_worker_with_its_options():
    assert worker_command("--json") == [sys.executable, "-m", "workers", "--json"]


@pytest.mark.parametrize(("n_threads", "n_blocks"), [(1, 3), (4, 1), (4, 3), (None, 0)])
def test_blocks_are_mapped_in_order_however_many_threads_there_are(n_threads, n_blocks):
    blocks = list(range(n_blocks))

    assert map_blocks_on_threads(n_threads)(lambda block: 2 * block, blocks) == [2 * block for block in blocks]
