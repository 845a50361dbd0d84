"""Object names are a promise to other programs: each of the documented layout, letter by letter."""

import pytest

from tasks.bucket.layout import (
    IntakeLayout,
    JobLayout,
    error_of_table,
    job_id_from_object_name,
    job_id_from_taken_name,
    probe_object,
)
from tasks.bucket.names import is_object_name
from tasks.errors import BadInputError
from tasks.records.ids import MAX_ID_LENGTH, JobId, TaskId

JOB = JobLayout(JobId("survey-07"))
TASK = JOB.task(TaskId("orbit-0042"))
INTAKE = IntakeLayout(JobId("night-01"))
BELOW_JOB = "thor_jobs/v1/jobs-survey-07/"
BELOW_TASK = f"{BELOW_JOB}tasks/orbit-0042/"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (JOB.prefix, BELOW_JOB),
        (JOB.observations, f"{BELOW_JOB}observations.csv"),
        (JOB.config, f"{BELOW_JOB}config.csv"),
        (JOB.manifest, f"{BELOW_JOB}manifest.json"),
        (JOB.cancel, f"{BELOW_JOB}cancel.json"),
        (JOB.tasks_prefix, f"{BELOW_JOB}tasks/"),
        (TASK.prefix, BELOW_TASK),
        (TASK.orbits, f"{BELOW_TASK}inputs/orbits.csv"),
        (TASK.status, f"{BELOW_TASK}status.json"),
        (TASK.checkpoints_prefix, f"{BELOW_TASK}checkpoints/"),
        (
            TASK.checkpoint("cluster_and_link", "clusters.parquet"),
            f"{BELOW_TASK}checkpoints/cluster_and_link/clusters.parquet",
        ),
        (TASK.outputs_prefix, f"{BELOW_TASK}outputs/"),
        (TASK.output("thor.log"), f"{BELOW_TASK}outputs/thor.log"),
        (TASK.output("recovered_orbits.csv"), f"{BELOW_TASK}outputs/recovered_orbits.csv"),
        (TASK.output("clusterandlink.csv"), f"{BELOW_TASK}outputs/clusterandlink.csv"),
        (TASK.output("error_message.txt"), f"{BELOW_TASK}outputs/error_message.txt"),
        (TASK.output("plots/sky.png"), f"{BELOW_TASK}outputs/plots/sky.png"),
        (INTAKE.taken, "thor_jobs/v1/incoming/night-01/taken.json"),
        (INTAKE.submitted, "thor_jobs/v1/incoming/night-01/submitted.json"),
        (error_of_table("incoming/night.csv"), "incoming/night.csv.error.txt"),
    ],
)
def test_every_object_has_its_documented_name(name, expected):
    assert name == expected


@pytest.mark.parametrize(
    "file_name",
    ["", "/thor.log", "..", "../status.json", "a/../../status.json", "a//b", ".hidden", "a\\b", "a\nb", "a/./b", "a/"],
)
def test_a_file_name_that_could_leave_its_prefix_is_refused(file_name):
    with pytest.raises(BadInputError, match="Cannot name an object"):
        TASK.output(file_name)
    with pytest.raises(BadInputError, match="Cannot name an object"):
        TASK.checkpoint("orbit_determination", file_name)


@pytest.mark.parametrize(
    ("name", "task_id"),
    [
        (TASK.status, "orbit-0042"),
        (JOB.task(TaskId("2010_TK7-1a2b3c4d")).status, "2010_TK7-1a2b3c4d"),
        (TASK.orbits, None),
        (TASK.output("status.json"), None),
        (JOB.manifest, None),
        (f"{BELOW_JOB}tasks/status.json", None),
        (f"{BELOW_JOB}tasks/../status.json", None),
        (f"{BELOW_JOB}tasks/a b/status.json", None),
        (JobLayout(JobId("survey-070")).task(TaskId("orbit-0042")).status, None),
        ("status.json", None),
    ],
)
def test_only_a_status_of_the_job_names_a_task(name, task_id):
    assert JOB.task_id_from_status_name(name) == task_id


def test_the_longest_ids_still_make_object_names():
    longest = "x" * MAX_ID_LENGTH
    task = JobLayout(JobId(longest)).task(TaskId(longest))

    assert is_object_name(task.checkpoint("initial_orbit_determination", longest))
    assert is_object_name(task.status)


@pytest.mark.parametrize(
    ("name", "job_id"),
    [
        ("thor_jobs/v1/jobs-survey-07/manifest.json", "survey-07"),
        ("thor_jobs/v1/jobs-a/tasks/b/status.json", "a"),
        ("thor_jobs/v1/jobs-a", None),
        ("thor_jobs/v1/jobs-/manifest.json", None),
        ("thor_jobs/v1/jobs-..a/manifest.json", None),
        ("thor_jobs/v1/doctor/x.json", None),
        ("thor_jobs/v2/jobs-a/manifest.json", None),
        ("jobs-a/manifest.json", None),
    ],
)
def test_an_object_name_tells_its_job(name, job_id):
    assert job_id_from_object_name(name) == job_id


def test_a_probe_object_is_of_no_job():
    assert job_id_from_object_name(probe_object("a1")) is None


def test_a_probe_object_can_not_leave_its_place():
    with pytest.raises(BadInputError):
        probe_object("../a")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (INTAKE.taken, "night-01"),
        (INTAKE.submitted, None),
        ("thor_jobs/v1/incoming/../taken.json", None),
        ("thor_jobs/v1/incoming/a/b/taken.json", None),
        ("incoming/night-01/taken.json", None),
    ],
)
def test_an_intake_is_known_by_its_name(name, expected):
    assert job_id_from_taken_name(name) == expected
