import pyarrow as pa
import pyarrow.compute as pc

from tasks.bucket.content import ScratchFile
from tasks.bucket.layout import JobLayout
from tasks.engines.known_detections.tables import KNOWN_ORBITS
from tasks.engines.settings import EngineSettings
from tasks.inputs.csv_text import csv_from_table
from tasks.inputs.known_observations import known_from_csv, without_known
from tasks.records.ids import JobId
from tasks.results.known_of_job import known_of_job
from tests.support.buckets import FakeBucket
from tests.support.job_inputs import observations_of, orbits_of

OBJECTS = ("Hebe", "Eros")
LAYOUT = JobLayout(JobId("J1"))


def catalogue(*objects):
    orbits = orbits_of(objects)
    columns = [orbits[name] if name in orbits.column_names else pa.nulls(len(orbits)) for name in KNOWN_ORBITS.names]
    return [pa.table(columns, names=KNOWN_ORBITS.names).cast(KNOWN_ORBITS)]


def file_of(table):
    file = ScratchFile()
    file.write(csv_from_table(table))
    return file


def divided():
    return without_known(observations_of(OBJECTS), catalogue("Hebe"), EngineSettings(), name="detections.csv")


def test_observations_are_divided_without_loss():
    left = divided()

    known = known_from_csv(left.known_csv)["obs_id"].to_pylist()
    assert sorted([*known, *left.rest["obs_id"].to_pylist()]) == sorted(observations_of(OBJECTS)["obs_id"].to_pylist())
    assert "Left out 21 of " in left.note or "Left out 22 of " in left.note


def test_the_csv_of_known_observations_is_read_as_it_was_written():
    table = known_from_csv(divided().known_csv)

    assert csv_from_table(table) == divided().known_csv


def test_what_was_left_out_and_what_is_found_now_stand_in_one_table():
    bucket, left = FakeBucket(), divided()
    bucket.write(LAYOUT.known_observations, left.known_csv)

    known = known_of_job(
        bucket, LAYOUT, observations=file_of(left.rest), catalogue=catalogue(*OBJECTS), settings=EngineSettings()
    )

    left_out = dict(
        known.observations.select(["known_object", "left_out"])
        .group_by("known_object")
        .aggregate([("left_out", "all")])
        .select(["known_object", "left_out_all"])
        .to_pandas()
        .itertuples(index=False)
    )
    assert left_out == {"Hebe": True, "Eros": False}
    assert pc.all(pc.less(known.observations["prediction_sigma_arcsec"], 1.0)).as_py()


def test_without_a_catalogue_and_nothing_left_out_there_is_no_table():
    known = known_of_job(FakeBucket(), LAYOUT, observations=ScratchFile(), catalogue=None, settings=EngineSettings())

    assert known.observations is None
