"""dask, the only use of it: a function mapped over blocks of arrays, on threads or on a cluster.

A cluster only makes it faster. Whatever is wrong with it (no scheduler, another version, workers without our package or
killed) is never the task's fault: the blocks are computed on threads, and the cluster is tried again minutes later.
"""

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from dask.base import compute
from dask.delayed import delayed
from distributed import Client, wait

from tasks.engines.interface import MapBlocks

SMALLEST_BYTES = 16 << 20
"""Blocks of fewer bytes together are computed here: on the way for 0.1 s, they take longer than with threads."""
AWAY_SECONDS = 300.0
"""A cluster that failed is left alone for this time: each try costs a task up to `CONNECT_SECONDS`."""
CONNECT_SECONDS = 5.0
"""Patience with a scheduler that does not answer."""
CLOSE_SECONDS = 2.0
"""Patience with a connection to a scheduler that has gone."""
LOOK_SECONDS = 5.0
"""Between two looks at whether the cluster still has workers: without any, blocks never end."""

logger = logging.getLogger(__name__)


class ClusterFaultError(Exception):
    """The cluster can't compute now."""


def map_blocks_on_threads(n_threads: int | None = None) -> MapBlocks:
    """Return a `MapBlocks` on the threads of this process; None: as many as cores."""

    def map_blocks(function: Callable[[Any], Any], blocks: Sequence[Any]) -> list[Any]:
        lazy = [delayed(function, pure=False)(block) for block in blocks]
        return list(compute(*lazy, scheduler="threads", num_workers=n_threads))  # type: ignore[no-untyped-call]

    return map_blocks


@lru_cache(maxsize=1)
def cluster_at(scheduler_address: str, n_threads: int | None = None) -> "Cluster":
    """Return the cluster of that address, one for the process: it remembers its connection, and whether it failed."""
    return Cluster(scheduler_address, threads=map_blocks_on_threads(n_threads))


class Cluster:
    """A dask cluster that may be away. Not for use from two threads at once."""

    def __init__(
        self,
        scheduler_address: str,
        *,
        threads: MapBlocks | None = None,
        connect: Callable[[str], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
        smallest_bytes: int = SMALLEST_BYTES,
    ) -> None:
        self._address = scheduler_address
        self._threads = threads or map_blocks_on_threads()
        self._connect = connect or _connected
        self._clock = clock
        self._smallest_bytes = smallest_bytes
        self._client: Any = None
        #: When it is tried again after a fault; None: it has not failed.
        self._away_until: float | None = None

    def map_blocks(self, function: Callable[[Any], Any], blocks: Sequence[Any]) -> list[Any]:
        """Be a `MapBlocks`: results in the order of the blocks; what `function` itself raises comes out as it is."""
        is_small = sum(map(n_bytes_of, blocks)) < self._smallest_bytes
        is_away = self._away_until is not None and self._clock() < self._away_until
        if is_small or is_away:
            return self._threads(function, blocks)
        try:
            endings = self._mapped(function, blocks)
        except ClusterFaultError as error:
            self._leave(error)
            return self._threads(function, blocks)
        self._away_until = None
        for _, own_error in endings:
            if own_error is not None:
                raise own_error
        return [result for result, _ in endings]

    def _mapped(self, function: Callable[[Any], Any], blocks: Sequence[Any]) -> list[tuple[Any, Exception | None]]:
        """Return what the function gave or raised for each block.

        Raises
        ------
        ClusterFaultError
            Anything else went wrong.
        """
        with _cluster_faults():
            client = self._live_client()
            futures = client.map(partial(_ending_of, function), blocks, pure=False)
            while not _are_done(client, futures):
                if not client.scheduler_info()["workers"]:
                    raise ClusterFaultError("it has no workers")
            endings: list[tuple[Any, Exception | None]] = client.gather(futures)
        for _, error in endings:
            if isinstance(error, MemoryError):
                raise ClusterFaultError("a worker has not enough memory") from error
        return endings

    def _live_client(self) -> Any:
        if self._client is None or self._client.status != "running":
            self._close()
            self._client = self._connect(self._address)
        return self._client

    def _leave(self, error: ClusterFaultError) -> None:
        self._close()
        self._away_until = self._clock() + AWAY_SECONDS
        logger.warning(
            "Computes on threads of this machine, slower, and tries the dask cluster %s again in %.0f min: %s. Look at "
            "its scheduler and workers (the same versions, this package installed), or correct DASK_SCHEDULER_ADDRESS.",
            self._address,
            AWAY_SECONDS / 60.0,
            error,
        )

    def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # it failed already
                client.close(timeout=CLOSE_SECONDS)


def n_bytes_of(block: Any) -> int:
    """Return how many bytes of arrays a block holds."""
    if isinstance(block, np.ndarray):
        return block.nbytes
    if dataclasses.is_dataclass(block):
        return sum(n_bytes_of(getattr(block, field.name)) for field in dataclasses.fields(block))
    return sum(map(n_bytes_of, block)) if isinstance(block, tuple) else 0


def _ending_of(function: Callable[[Any], Any], block: Any) -> tuple[Any, Exception | None]:
    """Return what the function gives or raises: this way an error that is raised is none of its own."""
    try:
        return function(block), None
    except Exception as error:  # noqa: BLE001 (it is raised again where the blocks came from)
        return None, error


def _connected(scheduler_address: str) -> Client:
    return Client(scheduler_address, set_as_default=False, timeout=CONNECT_SECONDS)  # type: ignore[no-untyped-call]


def _are_done(client: Any, futures: Sequence[Any]) -> bool:
    try:
        with client.as_current():
            wait(futures, timeout=LOOK_SECONDS)  # type: ignore[no-untyped-call]
    except TimeoutError:
        return False
    return True


@contextlib.contextmanager
def _cluster_faults() -> Iterator[None]:
    """Translate: nothing that is raised in the block is the function's own."""
    try:
        yield
    except (MemoryError, ClusterFaultError):
        raise
    except Exception as error:
        raise ClusterFaultError(f"{type(error).__name__}: {str(error)[:300]}") from error
