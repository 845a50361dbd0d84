"""Metrics: what a worker counts, how they are read, and that dashboard and alerts ask for what there is."""

import json
import os
import re
import urllib.request
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from flows.metrics import main as metrics_verb
from tasks.bucket.retry import RetryPolicy, call_with_retries
from tasks.errors import BadInputError, BucketUnavailableError, GenerationMismatchError
from tasks.metrics import JobMetrics, WorkerMetrics, counted_bucket, names_of, serve_metrics, write_metrics
from tasks.records.status import Failed, Released, Succeeded
from tests.bucket.kinds import directory_kind
from tests.services.processes import free_port
from workers.disposition import ending_word

CONTAINERS = Path(__file__).parents[1] / "containers"


@pytest.fixture
def metrics():
    return WorkerMetrics("host:1")


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def test_attempts_are_counted_by_their_ending(metrics):
    for ending in ("succeeded", "crashed", "crashed"):
        metrics.attempt_began()
        metrics.attempt_ended(ending)

    assert value(metrics, "thor_worker_attempts_total", ending="crashed") == 2
    assert value(metrics, "thor_worker_attempts_total", ending="succeeded") == 1


def test_a_stage_ends_when_the_next_begins_and_the_last_one_with_its_success(metrics):
    metrics.stage_began("range_and_shift")
    metrics.stage_began("cluster_and_link")
    metrics.attempt_ended("succeeded")

    assert value(metrics, "thor_worker_stage_seconds_count", stage="range_and_shift") == 1
    assert value(metrics, "thor_worker_stage_seconds_count", stage="cluster_and_link") == 1


def test_a_stage_that_did_not_end_has_no_seconds(metrics):
    metrics.stage_began("range_and_shift")
    metrics.attempt_ended("crashed")
    metrics.stage_began("range_and_shift")

    assert value(metrics, "thor_worker_stage_seconds_count", stage="range_and_shift") is None


def test_an_idle_worker_has_no_lease(metrics):
    assert value(metrics, "thor_worker_lease_age_seconds") == 0
    metrics.attempt_began()
    assert value(metrics, "thor_worker_lease_age_seconds") > 0
    metrics.attempt_ended("released")
    assert value(metrics, "thor_worker_lease_age_seconds") == 0


def test_a_silence_is_counted_once_however_long_it_is(metrics):
    for answers in (True, False, False, True, False):
        metrics.service_answers("queue", answers)

    assert value(metrics, "thor_worker_silences_total", service="queue") == 2
    assert value(metrics, "thor_worker_reaches", service="queue") == 0


def test_the_memory_is_that_of_the_computing_process(metrics):
    assert value(metrics, "thor_worker_child_memory_bytes") == 0
    metrics.child_started(os.getpid())
    assert value(metrics, "thor_worker_child_memory_bytes") > 2**20


@pytest.mark.parametrize(
    ("event", "word"),
    [
        (Succeeded(outputs=()), "succeeded"),
        (Failed(error_kind="bad_input", error="x"), "bad_input"),
        (Released(crashed=True), "crashed"),
        (Released(), "released"),
        (None, "lost"),
    ],
)
def test_each_ending_has_one_word(event, word):
    assert ending_word(event) == word


def test_operations_that_are_tried_again_are_counted_each_time(metrics):
    class Stammering:
        def read(self, name):
            failures = iter([OSError, OSError, None])

            def attempt(_):
                if (failure := next(failures)) is not None:
                    raise failure
                return name

            policy = RetryPolicy(deadline_seconds=10.0)
            return call_with_retries(attempt, policy, is_transient=lambda _: True, sleep=lambda _: None)

    assert counted_bucket(Stammering(), metrics).read("a") == "a"

    series = "thor_worker_bucket_operations_total"
    assert value(metrics, series, operation="read", outcome="tried again") == 2
    assert value(metrics, series, operation="read", outcome="ok") == 1


def test_operations_of_a_bucket_are_counted_by_their_outcome(metrics, tmp_path):
    class Unavailable:
        def read(self, name):
            raise BucketUnavailableError(name)

    bucket = counted_bucket(directory_kind(tmp_path / "bucket").bucket, metrics)
    bucket.write("a", b"1")
    with pytest.raises(GenerationMismatchError):
        bucket.write("a", b"2", if_generation=0)
    with pytest.raises(BucketUnavailableError):
        counted_bucket(Unavailable(), metrics).read("a")

    def counted(operation, outcome):
        return value(metrics, "thor_worker_bucket_operations_total", operation=operation, outcome=outcome)

    assert [counted("write", "ok"), counted("write", "refused"), counted("read", "unavailable")] == [1, 1, 1]
    assert bucket.url.startswith("file:")


def test_prometheus_reads_them_from_a_port(metrics):
    port = free_port()
    serve_metrics(metrics.registry, port=port, address="127.0.0.1")

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        told = answer.read().decode()

    assert 'thor_worker_up{worker="host:1"} 1.0' in told
    with pytest.raises(BadInputError, match=f"port {port}"):
        serve_metrics(metrics.registry, port=port, address="127.0.0.1")


def test_a_file_that_cannot_be_written_is_named(metrics, tmp_path):
    write_metrics(metrics.registry, tmp_path / "thor.prom")
    assert "thor_worker_up" in (tmp_path / "thor.prom").read_text()

    with pytest.raises(BadInputError, match="missing"):
        write_metrics(metrics.registry, tmp_path / "missing" / "thor.prom")


def test_a_job_that_is_gone_is_told_no_more():
    told = JobMetrics()
    told.tell({"old": {"failed": 1}}, {"ready": 3})
    told.tell({"new": {"requested": 2}}, {"ready": 0})

    assert value(told, "thor_tasks", job="old", state="failed") is None
    assert value(told, "thor_tasks", job="new", state="requested") == 2
    assert value(told, "thor_queue_messages", place="ready") == 0


def test_the_verb_writes_a_file_once(tmp_path, monkeypatch):
    monkeypatch.setenv("THOR_HOME", str(tmp_path))
    file = tmp_path / "jobs.prom"
    bucket = f"--bucket={directory_kind(tmp_path / 'bucket').bucket.url}"

    assert metrics_verb([bucket, f"--queue=sqlite:///{tmp_path}/q.sqlite3", f"--file={file}", "--once"]) == 0
    assert 'thor_queue_messages{place="ready"} 0.0' in file.read_text()
    with pytest.raises(BadInputError, match="--port, --file"):
        metrics_verb([bucket, "--once"])


def asked_for():
    """Every series of the dashboard's and the alerts' queries, with the file that asks for it."""
    dashboard = json.loads((CONTAINERS / "grafana-dashboard.json").read_text())
    rules = yaml.safe_load((CONTAINERS / "alerts.yaml").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return sorted({name for query in queries for name in re.findall(r"\bthor_\w+", query)})


@pytest.mark.parametrize("name", asked_for())
def test_dashboard_and_alerts_ask_for_series_that_there_are(name):
    known = {*names_of(WorkerMetrics().registry), *names_of(JobMetrics().registry)}

    assert name in known


def test_every_series_has_a_place_on_the_dashboard(metrics):
    shown = (CONTAINERS / "grafana-dashboard.json").read_text()
    told = generate_latest(metrics.registry).decode() + generate_latest(JobMetrics().registry).decode()

    families = set(re.findall(r"^# TYPE (thor_\w+) (?:gauge|counter|histogram)$", told, re.MULTILINE))
    assert {name for name in families if not name.endswith("_created") and name not in shown} == {"thor_worker_reaches"}
