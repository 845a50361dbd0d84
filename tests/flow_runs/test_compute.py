"""dask on a cluster: order, errors of the function, and a scheduler that is away or comes back."""

import dask
import pytest
from distributed import LocalCluster

from tasks.compute import _client, map_blocks_on_cluster
from tasks.errors import ComputeUnavailableError


@pytest.fixture(autouse=True)
def little_patience():
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        yield
    if _client.cache_info().currsize:
        _client.cache_clear()


def cluster(port=0):
    return LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, scheduler_port=port, protocol="tcp"
    )


def doubled(block):
    return 2 * block


def refuse(block):
    raise OSError(f"block {block} is not on this disk")


def test_a_scheduler_that_is_away_is_no_fault_of_the_task():
    with pytest.raises(ComputeUnavailableError, match=r"cluster tcp://127\.0\.0\.1:9: "):
        map_blocks_on_cluster("tcp://127.0.0.1:9")(doubled, [1])


def test_a_scheduler_that_was_restarted_is_found_again_and_errors_of_the_function_stay_its_own():
    with cluster() as first:
        address = first.scheduler_address
        assert map_blocks_on_cluster(address)(doubled, [3, 1, 2]) == [6, 2, 4]
        with pytest.raises(OSError, match="block 1 is not on this disk"):
            map_blocks_on_cluster(address)(refuse, [1])

    with pytest.raises(ComputeUnavailableError):
        map_blocks_on_cluster(address)(doubled, [1])

    with cluster(port=int(address.rpartition(":")[2])):
        assert map_blocks_on_cluster(address)(doubled, [1]) == [2]
        _client(address).close()
