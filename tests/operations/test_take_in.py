"""Tables that come in: each becomes a job exactly once, wherever a process ends, and a bad one stops no other."""

import io

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.bucket.layout import INTAKES_PREFIX, IntakeLayout, JobLayout, error_of_table
from tasks.bucket.names import MAX_PART_BYTES
from tasks.bucket.store import ObjectInfo
from tasks.engines.settings import settings_from_items
from tasks.errors import MessageNotPublishedError
from tasks.inputs.config_file import csv_from_settings
from tasks.inputs.csv_text import csv_from_table
from tasks.jobs.manifest_file import read_manifest
from tasks.operations.delete import delete_job
from tasks.operations.find_jobs import find_jobs
from tasks.operations.incoming_tables import find_tables
from tasks.operations.take_in import MOST_POSTPONED, TakeIn
from tasks.records.ids import is_safe_id, job_id_from_object
from tasks.records.message import message_from_bytes
from tests.support.buckets import EndingBucket, FakeBucket, ProcessEndedHere
from tests.support.job_inputs import ONE_BLOCK_A_WEEK, observations_of, orbits_of
from tests.support.jobs import closing_publisher, enqueued_for, states_of

OBSERVATIONS = csv_from_table(observations_of(("Hebe",)))
ORBITS = csv_from_table(orbits_of(("Hebe",)))
TWO_ORBITS = csv_from_table(orbits_of(("Hebe", "Eros")))
NIGHT = "incoming/night/observations.csv"
STANDING = "incoming/orbits.csv"


@given(st.text(min_size=1), st.integers(min_value=1, max_value=2**63))
def test_every_object_and_generation_has_a_job_of_its_own(name, generation):
    job_id = job_id_from_object(name, generation)

    assert is_safe_id(job_id)
    assert job_id == job_id_from_object(name, generation)
    assert len({job_id, job_id_from_object(name, generation + 1), job_id_from_object(f"{name}x", generation)}) == 3


class Queue:
    """Lists the tasks it was rung for; it may refuse."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.sent: list[tuple[str, str]] = []
        self._refuse = refuse

    def publish(self, messages) -> None:
        if self._refuse:
            raise MessageNotPublishedError("Nobody is there.")
        read = [message_from_bytes(message.body) for message in messages]
        self.sent += [(message.job_id, message.task_id) for message in read]

    def close(self) -> None:
        pass


def take_in(bucket, queue=None):
    queue = queue or Queue()
    return list(TakeIn(bucket, lambda: queue).run())


def outcomes(arrivals):
    return {arrival.table: arrival.outcome for arrival in arrivals}


def filled(*tables, orbits=ORBITS):
    bucket = FakeBucket()
    bucket.write(STANDING, orbits)
    for table in tables:
        bucket.write(table, OBSERVATIONS)
    return bucket


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), {}),
        (("incoming/a.csv",), {"incoming/a.csv": (None, None)}),
        (("incoming/a.csv", "incoming/orbits.csv"), {"incoming/a.csv": ("incoming/orbits.csv", None)}),
        (
            ("incoming/n/a.parquet", "incoming/n/orbits.parquet", "incoming/orbits.csv", "incoming/config.csv"),
            {"incoming/n/a.parquet": ("incoming/n/orbits.parquet", "incoming/config.csv")},
        ),
        (
            ("incoming/x/y/a.CSV", "incoming/x/config.csv", "incoming/x/z/orbits.csv", "incoming/orbits.pq"),
            {"incoming/x/y/a.CSV": ("incoming/orbits.pq", "incoming/x/config.csv")},
        ),
        (
            ("incoming/a.parq", "incoming/b.psv.gz", "incoming/c", "incoming/orbits.csv.gz"),
            dict.fromkeys(("incoming/a.parq", "incoming/b.psv.gz", "incoming/c"), ("incoming/orbits.csv.gz", None)),
        ),
        (("incoming/a.csv.error.txt", "incoming/README", "incoming/a.csv.tmp", "incoming/Orbits.csv"), {}),
    ],
)
def test_test_orbits_and_settings_are_those_of_the_nearest_folder(names, expected):
    found = find_tables([ObjectInfo(name, 7, 1, "") for name in reversed(names)])

    assert {table.name: (table.orbits, table.config) for table in found} == expected


def test_each_new_table_becomes_a_job_and_none_becomes_two(bucket, queue):
    bucket.write(STANDING, ORBITS)
    bucket.write(NIGHT, OBSERVATIONS)
    sink = io.BytesIO()
    pyarrow.parquet.write_table(observations_of(("Eros",)), sink)
    bucket.write("incoming/eros/detections.parquet", sink.getvalue())
    bucket.write("incoming/eros/orbits.csv", csv_from_table(orbits_of(("Eros",))))
    bucket.write("incoming/eros/config.csv", csv_from_settings(settings_from_items(ONE_BLOCK_A_WEEK)))

    with closing_publisher(queue) as publisher:
        first = list(TakeIn(bucket, lambda: publisher).run())
    with closing_publisher(queue) as publisher:
        second = list(TakeIn(bucket, lambda: publisher).run())

    assert outcomes(first) == {NIGHT: "submitted", "incoming/eros/detections.parquet": "submitted"}
    assert second == []
    assert sorted(enqueued_for(queue)) == ["Eros", "Hebe"]
    jobs = {arrival.table: JobLayout(arrival.job_id) for arrival in first}
    assert set(find_jobs(bucket)) == set(jobs.values())
    assert states_of(bucket, jobs[NIGHT]) == {"Hebe": "requested"}
    assert (
        b"range_and_shift.exposures_per_block,20" in bucket.read(jobs["incoming/eros/detections.parquet"].config).body
    )
    assert all(read_manifest(bucket, job).submitted_at for job in jobs.values())


def test_a_table_that_is_replaced_is_a_new_job():
    bucket = filled(NIGHT)
    (first,) = take_in(bucket)
    bucket.write(NIGHT, OBSERVATIONS)

    (second,) = take_in(bucket)

    assert {first.outcome, second.outcome} == {"submitted"}
    assert first.job_id != second.job_id


def test_a_job_that_was_deleted_is_not_made_again():
    bucket = filled(NIGHT)
    (arrival,) = take_in(bucket)

    delete_job(bucket, JobLayout(arrival.job_id), force=True)

    assert take_in(bucket) == []
    assert find_jobs(bucket) == []


def test_other_test_orbits_later_on_do_not_submit_old_tables_again():
    bucket = filled(NIGHT)
    take_in(bucket)
    bucket.write(STANDING, TWO_ORBITS)

    assert take_in(bucket) == []


BAD = {
    "no orbits": (OBSERVATIONS, None, "there are no test orbits"),
    "no observations": (b"obs_id,mjd_utc\n1,60000\n", ORBITS, "column 'RA_deg' is missing"),
    "no table": (b"\xff\xfe", ORBITS, "Cannot read incoming/night/observations.csv"),
    "bad orbits": (OBSERVATIONS, b"orbit_id\n1\n", "Cannot use incoming/orbits.csv"),
    "one id twice": (OBSERVATIONS, ORBITS + ORBITS.partition(b"\n")[2], "orbit_id"),
}


@pytest.mark.parametrize(("table", "orbits", "why"), BAD.values(), ids=BAD)
def test_what_is_wrong_with_a_table_lies_beside_it_and_stops_no_other(table, orbits, why):
    bucket = FakeBucket()
    if orbits is not None:
        bucket.write(STANDING, orbits)
    bucket.write(NIGHT, table)
    bucket.write("incoming/z/observations.csv", OBSERVATIONS)
    bucket.write("incoming/z/orbits.csv", ORBITS)

    arrivals = take_in(bucket)
    written = bucket.written
    again = take_in(bucket)

    assert outcomes(arrivals) == {NIGHT: "refused", "incoming/z/observations.csv": "submitted"}
    assert why in bucket.read(error_of_table(NIGHT)).body.decode()
    assert why in arrivals[0].fault
    assert outcomes(again) == {NIGHT: "refused"}
    assert bucket.written == written


def test_a_corrected_table_is_submitted_and_its_error_goes():
    bucket = filled()
    bucket.write(NIGHT, b"nothing\n1\n")
    take_in(bucket)

    bucket.write(NIGHT, OBSERVATIONS)
    arrivals = take_in(bucket)

    assert outcomes(arrivals) == {NIGHT: "submitted"}
    assert [info.name for info in bucket.list("incoming/", ending=".error.txt")] == []


def jobs_of(bucket):
    """Everything of every job but its times, and whether it is submitted."""
    jobs = {}
    for job in find_jobs(bucket):
        objects = {info.name: bucket.read(info.name).body for info in list(bucket.list(job.prefix))}
        stable = {name: body for name, body in objects.items() if not name.endswith(".json")}
        jobs[job.job_id] = (stable, states_of(bucket, job), read_manifest(bucket, job).submitted_at is not None)
    return jobs


@pytest.mark.parametrize("meanwhile", ["nothing", "other orbits", "other settings", "table gone"])
def test_stopped_between_any_two_writes_each_table_is_submitted_once_and_whole(meanwhile):
    tables = [NIGHT, "incoming/night/second.csv"]
    whole = filled(*tables)
    take_in(whole)
    n_writes = len(whole.written) - len(tables) - 1 + len(tables)  # all but the inputs; deletions count as well

    for writes in range(n_writes):
        bucket = filled(*tables)
        first, second = Queue(), Queue()
        with pytest.raises(ProcessEndedHere):
            take_in(EndingBucket(bucket, writes=writes), first)
        taken = {info.name.split("/")[-2] for info in bucket.list(INTAKES_PREFIX)}
        begun = {job.job_id for job in find_jobs(bucket)}
        if meanwhile == "other orbits":
            bucket.write(STANDING, TWO_ORBITS)
        elif meanwhile == "other settings":
            bucket.write("incoming/config.csv", csv_from_settings(settings_from_items(ONE_BLOCK_A_WEEK)))
        elif meanwhile == "table gone":
            bucket.delete(NIGHT)

        take_in(bucket, second)

        jobs, expected = jobs_of(bucket), jobs_of(whole)
        assert begun <= set(jobs)
        assert all(is_submitted for _, _, is_submitted in jobs.values())
        assert {job_id for job_id, _ in {*first.sent, *second.sent}} == set(jobs)
        if meanwhile != "table gone":
            assert set(jobs) == set(expected)
        unchanged = set(expected) if meanwhile == "nothing" else begun & taken
        assert {job_id: jobs[job_id] for job_id in unchanged} == {job_id: expected[job_id] for job_id in unchanged}
        assert take_in(bucket) == []


def test_two_processes_at_once_make_one_job():
    bucket = filled(NIGHT)
    queues = Queue(), Queue()
    rival = TakeIn(bucket, lambda: queues[1])

    class MeetsRival(FakeBucket):
        """The bucket of a process that another one overtakes right before it takes the table."""

        def __init__(self) -> None:
            self.__dict__ = bucket.__dict__

        def write(self, name, body, **options):
            if name.endswith("taken.json") and not queues[1].sent:
                assert outcomes(rival.run()) == {NIGHT: "submitted"}
                FakeBucket.write(self, STANDING, TWO_ORBITS)
            return FakeBucket.write(self, name, body, **options)

    (arrival,) = take_in(MeetsRival(), queues[0])

    assert arrival.outcome == "submitted"
    assert [job.job_id for job in find_jobs(bucket)] == [arrival.job_id]
    assert states_of(bucket, JobLayout(arrival.job_id)) == {"Hebe": "requested"}


def test_a_queue_that_is_gone_postpones_and_the_next_run_goes_on():
    names = [f"incoming/{number}.csv" for number in range(MOST_POSTPONED + 1)]
    bucket = filled(*names)

    first = take_in(bucket, Queue(refuse=True))
    second = take_in(bucket)

    assert outcomes(first).keys() == set(names[:MOST_POSTPONED])
    assert {arrival.outcome for arrival in first} == {"postponed"}
    assert outcomes(second) == dict.fromkeys(names, "submitted")
    assert len(find_jobs(bucket)) == len(names)


@pytest.mark.parametrize("act", ["replaced", "taken away", "left"])
def test_a_table_of_which_only_the_intake_was_written_is_taken_anew(act):
    bucket = filled(NIGHT)
    with pytest.raises(ProcessEndedHere):
        take_in(EndingBucket(bucket, writes=1))
    if act == "replaced":
        bucket.write(NIGHT, OBSERVATIONS)
    elif act == "taken away":
        bucket.delete(NIGHT)

    first, second = take_in(bucket), take_in(bucket)

    assert outcomes(first) == ({} if act == "taken away" else {NIGHT: "submitted"})
    assert second == []
    assert len(find_jobs(bucket)) == len(first)


def test_a_table_may_have_columns_of_its_own_and_no_files_of_this_machine(tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("exposure_id,mjd\n1,secret\n")
    renamed = OBSERVATIONS.replace(b"RA_deg", b"ra", 1)
    bucket = filled()
    bucket.write("incoming/own/night.csv", renamed)
    bucket.write("incoming/own/config.csv", b"key,value\ncolumns.ra,ra\n")
    bucket.write("incoming/nosy/night.csv", OBSERVATIONS)
    bucket.write("incoming/nosy/config.csv", f"key,value\ncolumns.exposures,{secret}\n".encode())

    arrivals = take_in(bucket)

    assert outcomes(arrivals) == {"incoming/nosy/night.csv": "refused", "incoming/own/night.csv": "submitted"}
    assert "may read no files of this machine" in arrivals[0].fault
    assert "secret" not in arrivals[0].fault


def test_an_intake_that_cannot_be_read_is_told_and_stops_no_other():
    bucket = filled(NIGHT)
    broken = IntakeLayout(job_id_from_object("x.csv", 1)).taken
    bucket.write(broken, b"{}")

    arrivals = take_in(bucket)

    assert outcomes(arrivals) == {broken: "refused", NIGHT: "submitted"}
    assert "Delete it, and its table is taken anew" in bucket.read(error_of_table(broken)).body.decode()


@pytest.mark.parametrize("body", [OBSERVATIONS, b"nothing\n1\n"])
def test_a_table_whose_name_leaves_no_room_for_an_error_beside_it_stops_no_other(body):
    long_name = f"incoming/{'a' * (MAX_PART_BYTES - 4)}.csv"
    bucket = filled(NIGHT)
    bucket.write(long_name, body)

    arrivals = take_in(bucket)

    assert outcomes(arrivals) == {long_name: "submitted" if body == OBSERVATIONS else "refused", NIGHT: "submitted"}


def test_a_note_that_a_table_was_submitted_is_enough_not_to_submit_it_again():
    bucket = filled(NIGHT)
    (arrival,) = take_in(bucket)
    delete_job(bucket, JobLayout(arrival.job_id), force=True)

    bucket.delete(IntakeLayout(arrival.job_id).taken)

    assert take_in(bucket) == []


class IntakeGoes(FakeBucket):
    """The bucket of a process while another one finds an intake of which nothing was begun, and takes it away."""

    def __init__(self, bucket) -> None:
        self.__dict__ = bucket.__dict__

    def read(self, name):
        if name.endswith("taken.json"):
            self.delete(name)
        return FakeBucket.read(self, name)


@pytest.mark.parametrize("is_seen", [True, False])
def test_an_intake_that_another_process_takes_away_at_this_moment_does_no_harm(is_seen):
    bucket = filled(NIGHT)
    with pytest.raises(ProcessEndedHere):
        take_in(EndingBucket(bucket, writes=1))
    (taken,) = [info.name for info in bucket.list(INTAKES_PREFIX)]
    meets = IntakeGoes(bucket)
    if not is_seen:
        meets.list = lambda prefix, **options: [
            info for info in FakeBucket.list(bucket, prefix, **options) if info.name != taken
        ]

    (arrival,) = take_in(meets)

    assert arrival.outcome == ("submitted" if is_seen else "changed")
    assert [info.name for info in FakeBucket.list(bucket, "", ending=".error.txt")] == []
