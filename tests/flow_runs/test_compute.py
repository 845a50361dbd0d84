"""dask on a cluster: order, errors of the function, and a cluster that is away, unfit or comes back."""

from types import SimpleNamespace

import dask
import numpy as np
import pytest
from distributed import LocalCluster
from distributed.scheduler import KilledWorker

from tasks import compute
from tasks.compute import AWAY_SECONDS, Cluster, n_bytes_of
from tasks.engines.builtin.linking.find_tracks import Tracks

NOWHERE = "tcp://127.0.0.1:9"


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    monkeypatch.setattr(compute, "CONNECT_SECONDS", 1.0)
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        yield


@pytest.fixture
def clock():
    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    return Clock()


def local_cluster(port=0, n_workers=1):
    return LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        processes=False,
        dashboard_address=None,
        scheduler_port=port,
        protocol="tcp",
    )


def cluster_of(address, **collaborators):
    return Cluster(address, **{"smallest_bytes": 0, **collaborators})


def doubled(block):
    return 2 * block


def refuse(block):
    raise OSError(f"block {block} is not on this disk")


class NotInstalledThere:
    """A block that no worker of the cluster can load, as when it lacks our package."""

    def __mul__(self, other):
        return "computed here"

    __rmul__ = __mul__

    def __reduce__(self):
        return _import_our_package, ()


def _import_our_package():
    raise ModuleNotFoundError("No module named 'tasks'")


def warnings_in(caplog):
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelname == "WARNING" and record.name == "tasks.compute"
    ]


def test_a_scheduler_that_is_away_costs_one_warning_and_is_tried_again_after_some_minutes(caplog, clock):
    tries = []

    def connect(address):
        tries.append(address)
        raise OSError("Timed out trying to connect")

    cluster = cluster_of(NOWHERE, connect=connect, clock=clock)

    assert [cluster.map_blocks(doubled, [3, 1, 2]) for _ in range(3)] == [[6, 2, 4]] * 3
    assert len(tries) == len(warnings_in(caplog)) == 1
    assert "Computes on threads of this machine" in warnings_in(caplog)[0]
    clock.now += AWAY_SECONDS
    assert cluster.map_blocks(doubled, [1]) == [2]
    assert len(tries) == 2


def test_a_real_scheduler_that_is_away_fails_no_task(caplog):
    assert cluster_of(NOWHERE).map_blocks(doubled, [1]) == [2]

    assert NOWHERE in warnings_in(caplog)[0]


def test_a_scheduler_that_was_restarted_is_found_again_and_errors_of_the_function_stay_its_own(caplog, clock):
    with local_cluster() as first:
        address = first.scheduler_address
        cluster = cluster_of(address, clock=clock, threads=not_here)
        assert cluster.map_blocks(doubled, [3, 1, 2]) == [6, 2, 4]
        with pytest.raises(OSError, match="block 1 is not on this disk"):
            cluster.map_blocks(refuse, [1])
    assert warnings_in(caplog) == []

    cluster._threads = compute.map_blocks_on_threads()
    assert cluster.map_blocks(doubled, [1]) == [2]
    assert len(warnings_in(caplog)) == 1

    cluster._threads = not_here
    clock.now += AWAY_SECONDS
    with local_cluster(port=int(address.rpartition(":")[2])):
        assert cluster.map_blocks(doubled, [1]) == [2]
        cluster._close()


def not_here(_function, _blocks):
    raise AssertionError("the cluster should have computed")


def test_a_cluster_whose_workers_lack_our_package_fails_no_task(caplog):
    with local_cluster() as unfit:
        assert cluster_of(unfit.scheduler_address).map_blocks(doubled, [NotInstalledThere()]) == ["computed here"]

    assert len(warnings_in(caplog)) == 1


def test_a_cluster_without_workers_is_not_waited_for(caplog, monkeypatch):
    monkeypatch.setattr(compute, "LOOK_SECONDS", 0.2)
    with local_cluster(n_workers=0) as empty:
        assert cluster_of(empty.scheduler_address).map_blocks(doubled, [1]) == [2]

    assert "it has no workers" in warnings_in(caplog)[0]


@pytest.mark.parametrize(
    "fault",
    [
        TypeError("Could not serialize object: another version of distributed"),
        KilledWorker("block", SimpleNamespace(address="tcp://there"), 4),
        RuntimeError("the protocol of the scheduler is another one"),
    ],
    ids=["other version", "killed worker", "anything"],
)
def test_whatever_is_wrong_with_a_cluster_fails_no_task(caplog, fault):
    class Unfit:
        status = "running"

        def map(self, *_given, **_options):
            raise fault

        def close(self, timeout):
            pass

    assert cluster_of(NOWHERE, connect=lambda _: Unfit()).map_blocks(doubled, [1, 2]) == [2, 4]
    assert type(fault).__name__ in warnings_in(caplog)[0]


def out_of_memory_there(block):
    if block["is_there"]:
        raise MemoryError
    return 1


def test_a_worker_of_the_cluster_without_memory_is_the_clusters_fault(caplog):
    blocks = [{"is_there": True}]

    def here(function, found):
        return [function({**block, "is_there": False}) for block in found]

    with local_cluster() as small:
        assert cluster_of(small.scheduler_address, threads=here).map_blocks(out_of_memory_there, blocks) == [1]

    assert "not enough memory" in warnings_in(caplog)[0]


def test_small_blocks_never_travel(caplog):
    blocks = [np.zeros(1000)] * 3

    results = Cluster(NOWHERE, connect=not_here).map_blocks(len, blocks)

    assert results == [1000] * 3
    assert warnings_in(caplog) == []


def test_the_size_of_a_block_is_that_of_its_arrays():
    tracks = Tracks(members=np.zeros(5, np.int32), start=np.zeros(2, np.int64), counts=np.zeros(5, np.int64))

    assert n_bytes_of(tracks) == 20 + 16 + 40
    assert n_bytes_of((tracks, "name", 3.0)) == 76
