"""A small survey in a bucket, night by night, whose jobs are linked in this process."""

import functools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.bucket.layout import SurveyLayout
from tasks.bucket.store import Bucket
from tasks.engines.interface import STAGES, LinkingProblem
from tasks.engines.registry import engine_by_name
from tasks.engines.settings import settings_from_items
from tasks.engines.tables import OBJECT_ID
from tasks.inputs.ades_settings import without_ades
from tasks.inputs.config_file import items_from_csv
from tasks.inputs.csv_text import csv_from_table
from tasks.inputs.job_inputs import JobInputs
from tasks.inputs.observations_file import observations_from_csv
from tasks.inputs.orbits_file import orbits_from_csv
from tasks.jobs.checkpoints import parquet_from_table
from tasks.records.ids import JobId
from tasks.results.merge_results import MergedResults, merge_results
from tasks.surveys.run import open_survey, run_survey
from tasks.surveys.take_in import night_of_each
from tests.bench.cases import Case
from tests.bench.survey import BenchSurvey, generate_survey

NIGHTS = 8
"""So many of its nights: each run after a late one computes all since again."""

NIGHT_BY_NIGHT = Case("nights", detections=1_600, orbits=60)

NAME = "S1"
LAYOUT = SurveyLayout(NAME)

ADES = """key,value
ades.submitter.name,A. Nobody
ades.observers.name,A. Nobody
ades.measurers.name,A. Nobody
ades.telescope.design,reflector
ades.telescope.aperture,8.4
ades.telescope.detector,CCD
ades.mode,CCD
ades.astCat,Gaia3
"""


@functools.cache
def night_survey() -> BenchSurvey:
    return generate_survey(NIGHT_BY_NIGHT, seed=7)


@functools.cache
def tables_by_night() -> dict[int, bytes]:
    """A csv of each night's observations, with the truth."""
    survey = night_survey()
    names = pc.index_in(survey.observations["obs_id"], survey.truth["obs_id"].combine_chunks())
    truth = survey.truth["object_id"].combine_chunks().take(names.combine_chunks())
    table = survey.observations.append_column(OBJECT_ID, truth)
    nights = night_of_each(table)
    first = np.unique(nights)[:NIGHTS]
    return {int(each): csv_from_table(table.filter(pa.array(nights == each))) for each in first}


def put_settings(bucket: Bucket, *, window_days: int = 6, ades: bool = True) -> None:
    bucket.write(LAYOUT.settings, f'{{"window_days": {window_days}}}'.encode())
    bucket.write(LAYOUT.orbits, csv_from_table(night_survey().test_orbits))
    if ades:
        bucket.write(LAYOUT.config, ADES.encode())


def put_night(bucket: Bucket, night: int, body: bytes | None = None) -> None:
    bucket.write(f"{LAYOUT.incoming}{night}.csv", tables_by_night()[night] if body is None else body)


def run(bucket: Bucket):
    return run_survey(open_survey(bucket, NAME), linked)


_linked: dict[JobId, MergedResults] = {}


def linked(job_id: JobId, inputs: JobInputs) -> MergedResults:
    """Link a job by the engine in this process; the same job is computed once."""
    if job_id not in _linked:
        _linked[job_id] = _computed(inputs)
    return _linked[job_id]


@dataclass(frozen=True)
class _Task:
    """What `merge_results` wants of a collected task."""

    task_id: str
    orbit_id: str
    tables: dict[str, pa.Table]

    def read(self, file_name: str) -> bytes:
        return parquet_from_table(self.tables[file_name.removesuffix(".parquet")])


def _computed(inputs: JobInputs) -> MergedResults:
    engine = engine_by_name("builtin")
    settings = settings_of(inputs.config_csv)
    survey = engine.prepare(observations_from_csv(inputs.observations.opened(), name="observations.csv"), settings)
    tasks = []
    for task_id, orbit_id, body in zip(inputs.task_ids, inputs.orbit_ids, inputs.orbit_csvs, strict=True):
        test_orbit = orbits_from_csv(body, name="orbits.csv")
        problem = LinkingProblem(survey=survey, test_orbit=test_orbit, settings=settings)
        tables: dict[str, pa.Table] = {}
        for stage in STAGES:
            tables |= getattr(engine, stage)(problem, tables).tables
        tasks.append(_Task(task_id, orbit_id, tables))
    return merge_results(tasks)


def settings_of(body: bytes):
    return settings_from_items(without_ades(items_from_csv(body, name="config.csv")))
