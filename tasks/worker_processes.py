"""How a worker is started on this machine: one command, one environment, whatever starts it.

A client's local workers, the flow run of a worker and the members of a fleet are all `python -m workers`.
"""

import os
import sys

from tasks.settings import environment_with

LIBRARIES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")
"""What libraries ask for the number of their threads: of workers there is one for each core already."""
DASK = "THOR_DASK_THREADS"


def worker_command(*options: str) -> list[str]:
    """Return the command of a worker."""
    return [sys.executable, "-m", "workers", *options]


def worker_environment(n_workers: int | None, **changes: str) -> dict[str, str]:
    """Return the environment of one of `n_workers` on this machine: this process's, with threads, and changes.

    None: it is not known how many there are; 0: none here. dask gets an equal share of the cores, at least one, unless
    the environment says otherwise.
    """
    share = 1 if not n_workers else max(1, (os.cpu_count() or 1) // n_workers)
    present = environment_with()
    return present | dict.fromkeys(LIBRARIES, "1") | {DASK: present.get(DASK, str(share))} | changes
