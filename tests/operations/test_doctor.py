from pathlib import Path

import pytest

from tasks.broker.connect import open_publisher
from tasks.broker.protocol import OutgoingMessage
from tasks.bucket.directory import DirectoryBucket
from tasks.errors import GenerationMismatchError
from tasks.operations.doctor_bucket import bucket_findings
from tasks.operations.doctor_machine import disk_finding, disk_findings, engine_findings, kernel_cache_finding
from tasks.operations.doctor_queue import queue_findings
from tests.broker.test_rabbitmq_faults import memory_alarm
from tests.services.processes import free_port
from tests.support.buckets import FakeBucket, FlakyBucket
from tests.support.queues import queue_under_test, receive

GIB = 2**30


def verdicts(findings):
    return {finding.about: finding.verdict for finding in findings}


def test_a_bucket_that_keeps_its_promises_is_fine_and_is_left_as_it_was(bucket):
    bucket.write("thor_jobs/v1/jobs-a/manifest.json", b"{}")

    findings = bucket_findings(bucket)

    assert verdicts(findings) == {"bucket": "ok", "conditional writes": "ok", "bucket listing": "ok"}
    assert [info.name for info in bucket.list("")] == ["thor_jobs/v1/jobs-a/manifest.json"]


def test_the_fake_bucket_is_fine_too():
    assert set(verdicts(bucket_findings(FakeBucket())).values()) == {"ok"}


class IgnoresConditions(FakeBucket):
    def write(self, name, body, *, if_generation=None):
        return super().write(name, body)


class IgnoresConditionsBut(FakeBucket):
    """Honours one kind of condition only, as some emulators do."""

    def __init__(self, honoured):
        super().__init__()
        self._honoured = honoured

    def write(self, name, body, *, if_generation=None):
        is_honoured = self._honoured == ("create" if if_generation == 0 else "replace")
        return super().write(name, body, if_generation=if_generation if is_honoured else None)


class RefusesEverything(FakeBucket):
    def write(self, name, body, *, if_generation=None):
        raise GenerationMismatchError("No.")


class CountsFromOne(FakeBucket):
    """Begins its generations anew after a delete: an old compare-and-swap could hit a new object."""

    def delete(self, name):
        super().delete(name)
        self._generations = iter(range(1, 100))


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (IgnoresConditions(), "a create-only write replaced an object"),
        (IgnoresConditionsBut("create"), "an outdated generation was accepted"),
        (IgnoresConditionsBut("replace"), "a create-only write replaced an object"),
        (RefusesEverything(), "could not be created"),
        (CountsFromOne(), "a deleted object's generation came back"),
    ],
    ids=["none", "create only", "replace only", "refuses", "forgets"],
)
def test_a_bucket_that_does_not_enforce_conditions_is_a_problem(broken, word):
    finding = {each.about: each for each in bucket_findings(broken)}["conditional writes"]

    assert finding.verdict == "problem"
    assert word in finding.found
    assert "two workers could own one task" in finding.advice


def test_a_race_without_exactly_one_winner_is_a_problem():
    class LetsAllIn(FakeBucket):
        """Checks the condition, but not at the same moment as it writes."""

        def write(self, name, body, *, if_generation=None):
            if if_generation == 0 or len([1 for _, seen in self.history if seen == name]) < 12:
                return super().write(name, body, if_generation=if_generation)
            return super().write(name, body)

    finding = bucket_findings(LetsAllIn())[1]

    assert "of 8 writers with one generation won" in finding.found


def test_a_listing_that_lags_behind_is_a_problem():
    class ListsNothing(FakeBucket):
        def list(self, prefix, *, ending=""):
            return iter(())

    assert verdicts(bucket_findings(ListsNothing()))["bucket listing"] == "problem"


def test_a_bucket_out_of_reach_is_a_problem_that_says_so():
    (finding,) = bucket_findings(FlakyBucket(FakeBucket(), seed=1, failing=1.0))

    assert (finding.about, finding.verdict) == ("bucket", "problem")


def test_a_directory_that_can_not_be_made_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")

    (finding,) = bucket_findings(DirectoryBucket(tmp_path / "file" / "bucket"))

    assert finding.verdict == "problem"


def look_at(url):
    with queue_under_test(url) as queue:
        return queue_findings(url, ca_file=None, publisher=queue.publisher())


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def queue_url(request, tmp_path):
    return f"sqlite:///{tmp_path}/q" if request.param == "sqlite" else request.getfixturevalue("rabbitmq_url")


def test_a_queue_that_works_has_no_problem(queue_url):
    assert "problem" not in verdicts(look_at(queue_url)).values()


def test_dead_messages_are_a_warning(queue_url):
    with queue_under_test(queue_url) as queue:
        queue.publisher().publish([OutgoingMessage(b"rubbish")])
        consumer = queue.consumer()
        consumer.dead_letter(receive(consumer), "Nobody can read it.")

    findings = {finding.about: finding for finding in look_at(queue_url)}

    assert findings["dead queue"].verdict == "warning"
    assert "drain_dead" in findings["dead queue"].advice


@pytest.mark.rabbitmq
def test_an_alarm_is_a_problem(rabbitmq, rabbitmq_url):
    with memory_alarm(rabbitmq):
        assert verdicts(look_at(rabbitmq_url))["alarm"] == "problem"


def test_a_broker_that_is_not_there_is_a_problem_without_its_password():
    (finding,) = look_at(f"amqp://thor:secret@127.0.0.1:{free_port()}/")

    assert (finding.about, finding.verdict) == ("broker", "problem")
    assert "secret" not in finding.found


def test_a_queue_file_that_can_not_be_made_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")

    assert "problem" in verdicts(look_at(f"sqlite:///{tmp_path}/file/queue")).values()


@pytest.mark.parametrize(
    ("free_bytes", "verdict"),
    [(0, "problem"), (GIB // 4, "problem"), (GIB, "warning"), (4 * GIB, "warning"), (5 * GIB, "ok"), (900 * GIB, "ok")],
)
def test_free_space_is_judged_by_what_a_job_needs(free_bytes, verdict):
    assert disk_finding(Path("/data"), free_bytes).verdict == verdict


def test_each_file_system_is_looked_at_once_also_where_nothing_is_yet(tmp_path):
    findings = disk_findings([tmp_path, tmp_path / "not" / "there", tmp_path / "neither"])

    assert len(findings) == 1
    assert str(tmp_path) in findings[0].found


def test_a_place_that_can_not_be_looked_at_is_a_problem(tmp_path):
    (finding,) = disk_findings([tmp_path / ("x" * 300)])

    assert (finding.verdict, "too long" in finding.found) == ("problem", True)


def test_the_engine_of_this_checkout_works():
    findings = engine_findings(None)

    assert findings[0].found.startswith("builtin ")
    assert {finding.verdict for finding in findings if finding.about == "engine"} == {"ok"}


def test_an_interpreter_without_upstream_thor_is_a_problem(tmp_path):
    findings = engine_findings(tmp_path / "no-python")

    assert [finding.verdict for finding in findings if finding.about == "engine"][-1] == "problem"


def test_an_empty_kernel_cache_is_a_warning_and_a_filled_one_is_fine(tmp_path):
    assert kernel_cache_finding(tmp_path).verdict == "warning"
    assert kernel_cache_finding(tmp_path / "not-there-yet").verdict == "warning"

    (tmp_path / "two_body.stumpff-81.py311.nbi").touch()

    assert kernel_cache_finding(tmp_path).verdict == "ok"


def test_a_publisher_is_only_counted_with_when_the_queue_works(tmp_path):
    path = tmp_path / "queue"
    path.write_bytes(b"no database at all" * 200)
    publisher = open_publisher(f"sqlite:///{path}")

    findings = queue_findings(f"sqlite:///{path}", ca_file=None, publisher=publisher)

    assert [finding.verdict for finding in findings] == ["problem"]
    publisher.close()
