"""Bringing results home: checked, whole, resumable, and nothing leaves the output directory."""

import dataclasses
import stat
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from tasks.bucket.checksum import crc32c_from_bytes
from tasks.bucket.layout import JobLayout
from tasks.engines.tables import RECOVERED_ORBIT_MEMBERS, RECOVERED_ORBITS
from tasks.errors import BadInputError, BucketUnavailableError
from tasks.jobs.checkpoints import parquet_from_table
from tasks.jobs.collect import collect_outputs, make_own, require_writable
from tasks.jobs.monitor import JobWatch
from tasks.records.ids import JobId
from tasks.records.manifest import Manifest
from tasks.records.status import OutputObject, Status, status_from_bytes
from tasks.results import job_results as results
from tasks.results.ades_file import AdesFiles
from tasks.results.job_results import CollectOptions, collect_results
from tests.services.small_disk import small_disk
from tests.support.buckets import FakeBucket
from tests.support.jobs import NOW

LAYOUT = JobLayout(JobId("survey-07"))


def put_task(bucket, task_id, files, *, state="succeeded", claims=None, error="it went wrong"):
    """Write outputs and a status that names them, or that claims something else about them."""
    task = LAYOUT.task(task_id)
    for name, body in files.items():
        bucket.write(task.output(name), body)
    outputs = tuple(
        OutputObject(name=name, size=len(body), crc32c=crc32c_from_bytes(body)) for name, body in files.items()
    )
    status = Status(state=state, outputs=claims or outputs, error=error if state == "failed" else None)
    bucket.write(task.status, status.to_bytes())
    return status


def collect(bucket, statuses, output):
    orbit_ids = {task_id: task_id for task_id in statuses}
    return collect_outputs(bucket, LAYOUT, statuses=statuses, orbit_ids=orbit_ids, output=output)


def reads(bucket):
    return [name for verb, name in bucket.history if verb == "read"]


def test_outputs_come_home_under_their_task(tmp_path):
    bucket = FakeBucket()
    statuses = {
        "a": put_task(bucket, "a", {"thor.log": b"one", "clusters.csv": b"two"}),
        "b": put_task(bucket, "b", {"error_message.txt": b"why"}, state="failed"),
    }

    tasks = collect(bucket, statuses, tmp_path)

    assert (tmp_path / "tasks/a/outputs/thor.log").read_bytes() == b"one"
    assert (tmp_path / "tasks/a/outputs/clusters.csv").read_bytes() == b"two"
    assert (tmp_path / "tasks/b/outputs/error_message.txt").read_bytes() == b"why"
    assert [task.read("thor.log") for task in tasks] == [b"one", None]
    assert stat.S_IMODE((tmp_path / "tasks/a/outputs/thor.log").stat().st_mode) == 0o644


def test_a_task_that_has_not_come_to_its_end_brings_nothing(tmp_path):
    bucket = FakeBucket()
    status = put_task(bucket, "a", {"thor.log": b"half"}, state="in_progress")

    collect(bucket, {"a": status}, tmp_path)

    assert list(tmp_path.rglob("*.log")) == []


def test_what_is_at_home_and_the_same_is_not_downloaded_again(tmp_path):
    bucket = FakeBucket()
    statuses = {"a": put_task(bucket, "a", {"thor.log": b"one", "clusters.csv": b"two"})}
    collect(bucket, statuses, tmp_path)
    (tmp_path / "tasks/a/outputs/clusters.csv").write_bytes(b"owt")
    bucket.history.clear()

    collect(bucket, statuses, tmp_path)

    assert reads(bucket) == [LAYOUT.task("a").output("clusters.csv")]
    assert (tmp_path / "tasks/a/outputs/clusters.csv").read_bytes() == b"two"


@pytest.mark.parametrize("wrong", [{"size": 4}, {"crc32c": "AAAAAA=="}], ids=["another size", "another checksum"])
def test_an_output_that_is_not_what_its_status_says_is_refused_and_not_kept(tmp_path, wrong):
    bucket = FakeBucket()
    claim = OutputObject(name="thor.log", size=3, crc32c=crc32c_from_bytes(b"one")).model_copy(update=wrong)
    status = put_task(bucket, "a", {"thor.log": b"one"}, claims=(claim,))

    with pytest.raises(BucketUnavailableError, match=r"thor.log.*found 3 bytes"):
        collect(bucket, {"a": status}, tmp_path)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_output_that_is_missing_is_named(tmp_path):
    bucket = FakeBucket()
    claim = OutputObject(name="gone.csv", size=3, crc32c="AAAAAA==")
    status = put_task(bucket, "a", {}, claims=(claim,))

    with pytest.raises(BucketUnavailableError, match=r"outputs/gone.csv.*missing"):
        collect(bucket, {"a": status}, tmp_path)


@pytest.mark.parametrize("claim", [("gone.csv", 3), ("thor.log", 4), ("my notes.txt", 3), ("../escaped", 3)])
def test_an_output_of_a_failed_task_that_is_not_as_its_status_says_is_left_out_and_named(tmp_path, caplog, claim):
    bucket = FakeBucket()
    claims = [
        OutputObject(name=name, size=size, crc32c=crc32c_from_bytes(b"log")) for name, size in [claim, ("why", 3)]
    ]
    statuses = {
        "a": put_task(bucket, "a", {"thor.log": b"log", "why": b"log"}, state="failed", claims=tuple(claims)),
        "b": put_task(bucket, "b", {"thor.log": b"one"}),
    }

    collect(bucket, statuses, tmp_path / "output")

    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"output/tasks/a/outputs/why", "output/tasks/b/outputs/thor.log"}
    assert "failed task a" in caplog.text
    assert claim[0] in caplog.text


@pytest.mark.parametrize("name", ["../../../escaped", "/etc/escaped", "a/../../escaped", "..", "", "a\\b", "a\x00b"])
def test_no_name_in_a_status_leaves_the_output_directory(tmp_path, name):
    bucket = FakeBucket()
    status = put_task(bucket, "a", {}, claims=(OutputObject(name=name, size=0, crc32c="AAAAAA=="),))

    with pytest.raises(BadInputError, match="relative path of safe names"):
        collect(bucket, {"a": status}, tmp_path / "output")

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_error_message_of_a_former_attempt_goes_when_the_task_has_succeeded(tmp_path):
    bucket = FakeBucket()
    failed = put_task(bucket, "a", {"error_message.txt": b"why"}, state="failed")
    collect(bucket, {"a": failed}, tmp_path)
    succeeded = put_task(bucket, "a", {"thor.log": b"one"})

    collect(bucket, {"a": succeeded}, tmp_path)

    assert [path.name for path in (tmp_path / "tasks/a/outputs").iterdir()] == ["thor.log"]


def test_an_output_directory_that_cannot_be_is_refused(tmp_path):
    bucket = FakeBucket()
    status = put_task(bucket, "a", {"thor.log": b"one"})
    (tmp_path / "tasks").write_bytes(b"a file in the way")

    with pytest.raises(BadInputError, match=r"Cannot write .*Choose another --output"):
        collect(bucket, {"a": status}, tmp_path)


def test_an_error_message_of_a_former_attempt_that_cannot_be_removed_is_told(tmp_path):
    bucket = FakeBucket()
    (tmp_path / "tasks/a/outputs/error_message.txt").mkdir(parents=True)

    with pytest.raises(BadInputError, match=r"Cannot remove .*error_message.txt.*by hand"):
        collect(bucket, {"a": put_task(bucket, "a", {"thor.log": b"one"})}, tmp_path)


def test_a_report_of_an_earlier_collect_may_be_removed_by_two_at_once(tmp_path, monkeypatch):
    stale = tmp_path / "ades_X05.psv"
    stale.write_bytes(b"of an earlier collect")
    listed = list(tmp_path.glob("ades_*.psv"))
    monkeypatch.setattr(type(tmp_path), "glob", lambda *_: listed)
    stale.unlink()  # the other was faster

    results._write_ades(AdesFiles({}, ()), tmp_path)


def test_results_can_go_home_twice_at_once(tmp_path):
    bucket = FakeBucket()
    statuses = {
        f"t{number}": put_task(bucket, f"t{number}", {"thor.log": b"log" * 10_000, "clusters.csv": b"rows" * 10_000})
        for number in range(20)
    }

    with ThreadPoolExecutor(4) as collectors:
        for each in [collectors.submit(collect, bucket, statuses, tmp_path) for _ in range(4)]:
            each.result()

    assert {path.read_bytes() for path in tmp_path.rglob("thor.log")} == {b"log" * 10_000}
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 40


def test_a_full_disk_leaves_no_half_file_and_collecting_again_goes_on(tmp_path):
    bucket = FakeBucket()
    statuses = {f"t{number}": put_task(bucket, f"t{number}", {"thor.log": bytes(40_000)}) for number in range(8)}
    with small_disk(tmp_path / "disk", size="256k") as disk:
        filler = disk / "filler"
        filler.write_bytes(bytes(100_000))

        with pytest.raises(BadInputError, match=r"No space left on device.*flows.collect"):
            collect(bucket, statuses, disk / "output")

        # A thread may end its write after the first error was raised, before the pool is left.
        found = [path for path in (disk / "output").rglob("*") if path.is_file()]
        assert {path.name for path in found} <= {"thor.log"}
        assert all(path.stat().st_size == 40_000 for path in found)
        filler.unlink()
        statuses = dict(list(statuses.items())[:4])
        bucket.history.clear()
        collect(bucket, statuses, disk / "output")
        assert len(reads(bucket)) < len(statuses) or not found
        assert {path.stat().st_size for path in (disk / "output").rglob("thor.log")} == {40_000}


def default_of(field):
    if field.nullable:
        return None
    return "x" if pa.types.is_string(field.type) else False if pa.types.is_boolean(field.type) else 1


def orbits_table(**columns):
    rows = len(next(iter(columns.values())))
    return pa.table(
        {field.name: columns.get(field.name, [default_of(field)] * rows) for field in RECOVERED_ORBITS},
        schema=RECOVERED_ORBITS,
    )


def members_table(orbits):
    pairs = [(orbit, obs) for orbit, observations in orbits.items() for obs in observations]
    values = {
        "orbit_id": [orbit for orbit, _ in pairs],
        "obs_id": [obs for _, obs in pairs],
        "outlier": [0] * len(pairs),
    }
    return pa.table(
        {field.name: values.get(field.name, [default_of(field)] * len(pairs)) for field in RECOVERED_ORBIT_MEMBERS},
        schema=RECOVERED_ORBIT_MEMBERS,
    )


@dataclasses.dataclass
class Found:
    """An orbit: its detections and reduced chi^2."""

    members: str
    rchi2: float = 1.0


def put_results(bucket, task_id, orbits):
    return put_task(
        bucket,
        task_id,
        {
            "recovered_orbits.parquet": parquet_from_table(
                orbits_table(
                    orbit_id=list(orbits),
                    num_obs=[len(each.members) for each in orbits.values()],
                    rchi2=[each.rchi2 for each in orbits.values()],
                    a=[2.5 for _ in orbits],
                    e=[0.1 for _ in orbits],
                    i=[5.0 for _ in orbits],
                )
            ),
            "recovered_orbit_members.parquet": parquet_from_table(
                members_table({name: each.members for name, each in orbits.items()})
            ),
        },
    )


def collected(bucket, task_ids, output, options=None):
    watch = JobWatch(bucket, LAYOUT, task_ids)
    watch.look()
    manifest = Manifest(
        job_id=LAYOUT.job_id,
        task_ids=tuple(task_ids),
        orbit_ids=tuple(f"orbit-{task}" for task in task_ids),
        created_at=NOW,
        bucket=bucket.url,
        engine_name="builtin",
        engine_version="1.0",
        inputs_sha256={},
    )
    return collect_results(watch, manifest=manifest, output=output, options=options)


def test_another_jobs_results_are_refused_where_one_jobs_are_and_nothing_is_touched(tmp_path):
    results = merged(tmp_path, SHARED)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    with pytest.raises(BadInputError, match=r"holds those of job .*Choose another --output"):
        require_writable(results.output, "another-job")
    with pytest.raises(BadInputError, match="holds those of job"):
        make_own(results.output, "another-job")

    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    make_own(results.output, LAYOUT.job_id)


def merged(tmp_path, results, *, order=None):
    bucket = FakeBucket()
    for task_id, orbits in results.items():
        put_results(bucket, task_id, orbits)
    return collected(bucket, order or list(results), tmp_path)


SHARED = {
    "t1": {"x": Found("abcdefg"), "y": Found("mnopqr")},
    "t2": {"z": Found("abcdef")},
    "t3": {"w": Found("abcdefg", rchi2=0.5)},
}


def test_an_object_that_several_test_orbits_found_appears_once_with_all_of_them(tmp_path):
    results = merged(tmp_path, SHARED)

    orbits = results.merged.orbits.select(["orbit_id", "task_id", "found_by", "num_found_by"]).to_pylist()
    assert [tuple(row.values()) for row in orbits] == [
        ("w", "t3", "orbit-t1;orbit-t2;orbit-t3", 3),
        ("y", "t1", "orbit-t1", 1),
    ]
    assert results.merged.n_before == 4


def test_members_are_those_of_the_orbit_that_stands_for_the_object(tmp_path):
    results = merged(tmp_path, SHARED)

    members = results.merged.members
    assert list(zip(members["orbit_id"].to_pylist(), members["obs_id"].to_pylist(), strict=True)) == [
        *(("w", obs) for obs in "abcdefg"),
        *(("y", obs) for obs in "mnopqr"),
    ]


def test_orbits_that_share_few_detections_are_two_objects(tmp_path):
    results = merged(tmp_path, {"t1": {"x": Found("abcdefgh")}, "t2": {"y": Found("ghijklmn")}})

    assert results.merged.orbits["orbit_id"].to_pylist() == ["x", "y"]


def test_merged_files_are_the_same_whatever_the_order_of_the_tasks(tmp_path):
    merged(tmp_path / "one", SHARED)
    merged(tmp_path / "two", SHARED, order=["t3", "t1", "t2"])

    for name in ("recovered_orbits.csv", "recovered_orbit_members.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_pictures_of_the_orbits_are_png_and_drawn_alike_each_time(tmp_path):
    merged(tmp_path / "one", SHARED)
    merged(tmp_path / "two", SHARED)

    for name in ("a_e", "a_i", "residuals", "fits"):
        png, svg = ((tmp_path / "one" / "plots" / f"{name}.{form}").read_bytes() for form in ("png", "svg"))
        assert png.startswith(b"\x89PNG")
        assert b"<svg" in svg
        assert png == (tmp_path / "two" / "plots" / f"{name}.png").read_bytes()
        assert svg == (tmp_path / "two" / "plots" / f"{name}.svg").read_bytes()


def test_a_job_without_orbits_has_empty_tables_with_their_columns_and_no_pictures(tmp_path):
    results = merged(tmp_path, {"t1": {}})

    header, *rows = (tmp_path / "recovered_orbits.csv").read_text().splitlines()
    assert header.startswith("orbit_id,epoch,x,y,z")
    assert header.endswith("task_id,found_by,num_found_by")
    assert (rows, results.pictures) == ([], [])


def test_failed_tasks_are_left_out_of_the_merged_tables(tmp_path):
    bucket = FakeBucket()
    put_results(bucket, "t1", {"x": Found("abcdef")})
    put_task(bucket, "t2", {"error_message.txt": b"why"}, state="failed")

    results = collected(bucket, ["t1", "t2"], tmp_path)

    assert results.merged.orbits["orbit_id"].to_pylist() == ["x"]
    assert [task.status.state for task in results.tasks] == ["succeeded", "failed"]


def test_what_the_merge_needs_alone_gives_the_same_merged_results_and_the_rest_comes_later(tmp_path):
    bucket = FakeBucket()
    put_results(bucket, "t1", {"x": Found("abcdef")})
    bucket.write(LAYOUT.task("t1").output("thor.log"), b"log")
    stored = status_from_bytes(bucket.read(LAYOUT.task("t1").status).body)
    log = OutputObject(name="thor.log", size=3, crc32c=crc32c_from_bytes(b"log"))
    status = stored.model_copy(update={"outputs": (*stored.outputs, log)})
    bucket.write(LAYOUT.task("t1").status, status.to_bytes(), summary=status.summary)
    put_task(bucket, "t2", {"error_message.txt": b"why", "thor.log": b"log"}, state="failed")

    results = collected(bucket, ["t1", "t2"], tmp_path, CollectOptions(merge_only=True))

    assert results.merged.orbits["orbit_id"].to_pylist() == ["x"]
    homes = {task: {path.name for path in (tmp_path / f"tasks/{task}/outputs").iterdir()} for task in ("t1", "t2")}
    assert homes == {
        "t1": {"recovered_orbits.parquet", "recovered_orbit_members.parquet"},
        "t2": {"error_message.txt"},
    }
    table = (tmp_path / "recovered_orbits.csv").read_bytes()
    collected(bucket, ["t1", "t2"], tmp_path)
    assert (tmp_path / "tasks/t1/outputs/thor.log").read_bytes() == b"log"
    assert (tmp_path / "recovered_orbits.csv").read_bytes() == table
