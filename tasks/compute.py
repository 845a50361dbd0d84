"""dask, the only use of it: a function mapped over blocks of exposures, on threads or on a cluster."""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from functools import lru_cache
from typing import Any

from dask.base import compute
from dask.delayed import delayed
from distributed import Client

from tasks.engines.interface import MapBlocks
from tasks.errors import ComputeUnavailableError

CLOSE_SECONDS = 2.0
"""Patience with a connection to a scheduler that has gone."""


def map_blocks_on_threads(n_threads: int | None = None) -> MapBlocks:
    """Return a `MapBlocks` on the threads of this process; None: as many as cores."""

    def map_blocks(function: Callable[[Any], Any], blocks: Sequence[Any]) -> list[Any]:
        if len(blocks) == 1 or n_threads == 1:  # dask would cost 1 ms and gain nothing
            return [function(block) for block in blocks]
        lazy = [delayed(function, pure=False)(block) for block in blocks]
        return list(compute(*lazy, scheduler="threads", num_workers=n_threads))  # type: ignore[no-untyped-call]

    return map_blocks


def map_blocks_on_cluster(scheduler_address: str) -> MapBlocks:
    """Return a `MapBlocks` on a dask cluster; results come in the order of the blocks, whatever worker is first.

    It connects when it is first called. A cluster that is away, or goes, raises `ComputeUnavailableError`; what
    `function` itself raises comes out as it is.
    """

    def map_blocks(function: Callable[[Any], Any], blocks: Sequence[Any]) -> list[Any]:
        client = _live_client(scheduler_address)
        futures: list[Any] = []
        try:
            futures = client.map(function, blocks, pure=False)
            return list(client.gather(futures))  # type: ignore[no-untyped-call]
        except Exception as error:
            is_of_function = any(future.status == "error" for future in futures)
            is_of_cluster = isinstance(error, (OSError, TimeoutError, CancelledError)) or client.status != "running"
            if is_of_function or not is_of_cluster:
                raise
            raise _unavailable(scheduler_address, error) from error

    return map_blocks


def _live_client(scheduler_address: str) -> Client:
    """Return the process's client; one whose scheduler has gone is replaced."""
    try:
        client = _client(scheduler_address)
        if client.status == "running":
            return client
        _client.cache_clear()
        client.close(timeout=CLOSE_SECONDS)  # type: ignore[no-untyped-call]
        return _client(scheduler_address)
    except (OSError, TimeoutError) as error:
        raise _unavailable(scheduler_address, error) from error


@lru_cache(maxsize=1)
def _client(scheduler_address: str) -> Client:
    """One connection per process, however many tasks it computes."""
    return Client(scheduler_address, set_as_default=False)  # type: ignore[no-untyped-call]


def _unavailable(scheduler_address: str, error: Exception) -> ComputeUnavailableError:
    return ComputeUnavailableError(
        f"Cannot compute on the dask cluster {scheduler_address}: {type(error).__name__}: {str(error)[:300]}. "
        "The task is tried again later; start the scheduler, or correct DASK_SCHEDULER_ADDRESS."
    )
