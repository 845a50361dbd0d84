"""Where the whole system runs: on the embedded queue and bucket, and on RabbitMQ and fake-gcs-server."""

import contextlib
import itertools

import pytest

from tasks.settings import settings_from_environment
from tests.whole_system.rig import Place, Rig


@pytest.fixture(autouse=True)
def prefect_is_waited_for(monkeypatch):
    """On a machine that runs tests a Prefect server may take longer than the 2 s after which work goes on unseen."""
    monkeypatch.setenv("THOR_PREFECT_PATIENCE_SECONDS", "30")
    settings_from_environment.cache_clear()
    yield
    settings_from_environment.cache_clear()


@contextlib.contextmanager
def rigs_at(new_place, tmp_path):
    """Give a function that makes rigs, each at a place of its own."""
    with contextlib.ExitStack() as stack:
        numbers = itertools.count(1)

        def make_rig():
            scratch = tmp_path / f"rig-{next(numbers)}"
            scratch.mkdir()
            rig = Rig(new_place(scratch, stack), scratch)
            stack.callback(rig.close)
            return rig

        yield make_rig


def embedded_place(scratch, _):
    return Place(bucket_url=(scratch / "bucket").as_uri(), queue_url=f"sqlite:///{scratch / 'queue.sqlite3'}")


def services_place(rabbitmq, fake_gcs):
    def new_place(_, stack):
        virtual_host = rabbitmq.add_virtual_host()
        stack.callback(rabbitmq.delete_virtual_host, virtual_host)
        return Place(
            bucket_url=f"gs://{fake_gcs.make_bucket()}",
            queue_url=rabbitmq.url_of(virtual_host),
            environment={"STORAGE_EMULATOR_HOST": fake_gcs.url},
        )

    return new_place


@pytest.fixture(params=["embedded", pytest.param("services", marks=[pytest.mark.rabbitmq, pytest.mark.gcs])])
def make_rig(request, tmp_path):
    new_place = embedded_place
    if request.param == "services":
        new_place = services_place(request.getfixturevalue("rabbitmq"), request.getfixturevalue("fake_gcs"))
    with rigs_at(new_place, tmp_path) as make_rig:
        yield make_rig


@pytest.fixture
def rig(make_rig):
    return make_rig()


@pytest.fixture
def embedded_rig(tmp_path):
    with rigs_at(embedded_place, tmp_path) as make_rig:
        yield make_rig()


@pytest.fixture
def services_rig(rabbitmq, fake_gcs, tmp_path):
    with rigs_at(services_place(rabbitmq, fake_gcs), tmp_path) as make_rig:
        yield make_rig()
