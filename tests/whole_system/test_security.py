"""What a hostile message, bucket or onlooker gets: a place in the dead queue, a refusal, no password."""

import json
import subprocess
import sys

import pytest

from flows import collect
from tasks.bucket.directory import DirectoryBucket
from tests.services.certificates import make_certificates
from tests.support.commands import run_command
from tests.support.jobs import SUCCEEDED, make_job
from tests.whole_system.rig import PROJECT, Place, Rig

PASSWORD = "opensesame-3f9a"
SECONDS = 240
"""Far beyond what anything here takes."""


@pytest.fixture
def tls_rig(rabbitmq, fake_gcs, tmp_path):
    """Workers reach the broker over TLS, and believe it by its authority; the rig itself goes without."""
    virtual_host = rabbitmq.add_virtual_host()
    place = Place(
        bucket_url=f"gs://{fake_gcs.make_bucket()}",
        queue_url=rabbitmq.tls_url_of(virtual_host),
        environment={"STORAGE_EMULATOR_HOST": fake_gcs.url, "THOR_QUEUE_CA_FILE": str(rabbitmq.ca_file)},
        direct_queue_url=rabbitmq.url_of(virtual_host),
    )
    rig = Rig(place, tmp_path)
    yield rig
    rig.close()
    rabbitmq.delete_virtual_host(virtual_host)


@pytest.mark.rabbitmq
@pytest.mark.gcs
def test_workers_do_all_their_work_over_tls(tls_rig):
    tls_rig.submit(orbit={"gate": "go"}, bad={"fault": "task_error"})
    tls_rig.publish(b"no task")
    tls_rig.worker()
    tls_rig.await_computing("orbit")
    tls_rig.ring("orbit")
    other = tls_rig.worker()
    tls_rig.await_that(lambda: "looking again" in other.printed, "a copy went to the delay queue")
    tls_rig.open_gate("go")

    tls_rig.assert_promises({"orbit": "succeeded", "bad": "task_error"}, dead=1)
    assert "Connected to the queue amqps://guest:***@127.0.0.1:" in other.printed


@pytest.mark.rabbitmq
@pytest.mark.gcs
def test_a_worker_tells_a_broker_that_its_authority_does_not_vouch_for_nothing(tls_rig, tmp_path):
    (tmp_path / "other").mkdir()
    tls_rig.submit(orbit={})
    distrustful = tls_rig.worker(THOR_QUEUE_CA_FILE=str(make_certificates(tmp_path / "other")))

    tls_rig.await_that(lambda: "CERTIFICATE_VERIFY_FAILED" in distrustful.printed, "the broker was refused")

    assert tls_rig.status("orbit").state == "requested"
    tls_rig.worker()
    tls_rig.assert_promises({"orbit": "succeeded"})


@pytest.mark.parametrize("task_id", ["../../escaped", "/escaped", "a/../../escaped", "..", "a\x00b"])
def test_no_task_id_of_a_manifest_leads_out_of_the_output_directory(tmp_path, task_id):
    bucket = DirectoryBucket(tmp_path / "bucket")
    job = make_job(bucket, {"a": SUCCEEDED})
    manifest = json.loads(bucket.read(job.manifest).body)
    bucket.write(job.manifest, json.dumps({**manifest, "task_ids": [task_id], "orbit_ids": ["a"]}).encode())
    before = {path for path in tmp_path.rglob("*") if "bucket" not in path.parts}

    ended = run_command(
        collect.main, job.job_id, "--bucket", bucket.url, "--output", str(tmp_path / "one" / "two" / "output")
    )

    assert ended.code == 2
    assert "manifest.json" in ended.err
    assert {path for path in tmp_path.rglob("*") if "bucket" not in path.parts} == before


@pytest.mark.parametrize("name", ["../../escaped.csv", "/escaped.csv", "a/../../../escaped.csv"])
def test_no_output_name_of_a_status_leads_out_of_the_output_directory(tmp_path, name):
    bucket = DirectoryBucket(tmp_path / "bucket")
    job = make_job(bucket, {"a": SUCCEEDED})
    status = json.loads(bucket.read(job.task("a").status).body)
    status["outputs"] = [{"name": name, "size": 1, "crc32c": "AAAAAA=="}]
    bucket.write(job.task("a").status, json.dumps(status).encode())
    output = tmp_path / "one" / "two" / "output"

    ended = run_command(collect.main, job.job_id, "--bucket", bucket.url, "--output", str(output))

    assert ended.code != 0
    assert list(tmp_path.rglob("*escaped*")) == []


def test_an_object_that_is_a_link_out_of_the_bucket_is_not_read(tmp_path):
    bucket = DirectoryBucket(tmp_path / "bucket")
    job = make_job(bucket, {"a": SUCCEEDED})
    (tmp_path / "secret").write_text("root:x")
    path = tmp_path / "bucket" / job.manifest
    path.unlink()
    path.symlink_to(tmp_path / "secret")

    ended = run_command(collect.main, job.job_id, "--bucket", bucket.url, "--output", str(tmp_path / "output"))

    assert ended.code == 2
    assert "root:x" not in ended.err


@pytest.fixture
def secret_rig(rabbitmq, fake_gcs, tmp_path):
    """A broker that asks for a password, and a job on it."""
    virtual_host = rabbitmq.add_virtual_host()
    rabbitmq.add_user("survey", PASSWORD, virtual_host)
    url = rabbitmq.url_of(virtual_host)
    place = Place(
        bucket_url=f"gs://{fake_gcs.make_bucket()}",
        queue_url=url.replace("guest:guest@", f"survey:{PASSWORD}@"),
        environment={"STORAGE_EMULATOR_HOST": fake_gcs.url},
        direct_queue_url=url,
    )
    rig = Rig(place, tmp_path)
    yield rig
    rig.close()
    rabbitmq.delete_virtual_host(virtual_host)


def command(rig, *arguments, **environment):
    """Run one of the product's commands; return everything that it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=PROJECT,
        env={**rig.environment, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    return ended.stdout


def told_by_processes(rig):
    """Command lines of every process of the rig, as `ps` shows them to everybody."""
    return [" ".join(process.cmdline()) for process in rig.processes_left()]


@pytest.mark.slow
@pytest.mark.rabbitmq
@pytest.mark.gcs
def test_a_password_is_in_no_process_list_no_log_no_error_and_no_object(secret_rig):
    rig = secret_rig
    rig.deadline_seconds = SECONDS  # the real child, that has its kernels compiled
    rig.submit(orbit={})
    seen, log = [], rig.scratch / "fleet.log"
    with log.open("wb") as stream:
        fleet = subprocess.Popen(
            [sys.executable, "-m", "workers", "--processes", "2", "--json"],
            cwd=PROJECT,
            env=rig.environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        rig.await_that(lambda: seen.extend(told_by_processes(rig)) or rig.status("orbit").is_terminal, "it has failed")
    finally:
        fleet.terminate()
        fleet.wait(60)
    wrong = rig.queue_url.replace(PASSWORD, PASSWORD.upper())
    printed = [
        log.read_text(),
        command(rig, "flows.doctor"),
        command(rig, "flows.repair", "job"),
        command(rig, "flows.doctor", THOR_QUEUE=wrong),
        command(rig, "flows.drain_dead", THOR_QUEUE=wrong),
        command(rig, "workers", "--queue", wrong.replace("amqp:", "ampq:")),
    ]
    objects = [rig.bucket.read(info.name).body.decode(errors="replace") for info in rig.bucket.list("")]

    assert any("workers.child" in line for line in seen)
    assert "survey:***@127.0.0.1" in printed[0]
    assert "ACCESS_REFUSED" in printed[3]
    assert [text for text in (*seen, *printed, *objects) if PASSWORD in text.lower()] == []
