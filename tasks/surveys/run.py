"""A survey's run: take in what is new, go through the nights that were not computed yet, report.

Idempotent, and safe when two run: what a night is computed from is in its key, what came of it is written by creation
only, and its record last. Killed anywhere, the next run does what is missing, and gives the same bytes.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.bucket.layout import SurveyLayout
from tasks.bucket.store import Bucket
from tasks.engines.orbit_selection.choice import SelectionSettings
from tasks.engines.settings import EngineSettings
from tasks.engines.tables import OBJECT_ID, OBSERVATIONS
from tasks.inputs.choose_orbits import choose_for_observations
from tasks.inputs.csv_text import csv_from_table
from tasks.inputs.job_inputs import JobInputs, inputs_from_tables
from tasks.inputs.orbits_file import read_orbits
from tasks.jobs.checkpoints import parquet_from_table
from tasks.records.ids import JobId, job_id_from_text
from tasks.records.survey import NightRecord, SurveySettings, SurveyState
from tasks.results.merge_results import MergedResults
from tasks.surveys.morning import survey_page, tables_of_morning, whole_files
from tasks.surveys.night_step import Window, attributed_to_objects, with_found
from tasks.surveys.objects import SurveyObjects, no_objects
from tasks.surveys.plan import KEY_LENGTH, Night, nights_of_survey
from tasks.surveys.report import Report, report_what_is_new
from tasks.surveys.survey_files import MEMBERS_LEAF, ORBITS_LEAF, SurveyFiles, objects_in
from tasks.surveys.take_in import Taken, night_of_each, read_table, take_in
from tasks.surveys.truth import truth_of_window

Link = Callable[[JobId, JobInputs], MergedResults | None]
"""Has a job linked, and returns its recovered orbits, merged; None: it is not complete: look again later."""

RECORD_LEAF = "night.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SurveyOutcome:
    """What a run did."""

    survey: str
    taken: tuple[Taken, ...]
    #: Every night of the survey that was computed, and how many of them by this run.
    nights: tuple[NightRecord, ...]
    n_computed: int
    #: Night whose job is not complete; None: all are.
    waits_for: int | None
    report: Report | None


def open_survey(bucket: Bucket, survey_id: str) -> SurveyFiles:
    """Return a survey's files; raises BadInputError when its name can't be one."""
    job_id_from_text(survey_id)
    return SurveyFiles(bucket, SurveyLayout(survey_id))


def run_survey(files: SurveyFiles, link: Link) -> SurveyOutcome:
    """Bring a survey up to date.

    Order: tables and the state, then night after night (orbits, members, what a person looks at, the record), then the
    report to the Minor Planet Center and the page.

    Raises
    ------
    BadInputError
        If settings, catalogue or test orbits of the survey can't be used.
    """
    settings, config = files.read_settings(), files.read_config()
    taken = take_in(files, config)
    state = files.read_state()
    nights = nights_of_survey(state, window_days=settings.window_days)
    records: list[NightRecord] = []
    objects: SurveyObjects | None = no_objects()
    n_computed, waits_for = 0, None
    for night in nights:
        body = files.read(files.layout.night(night.folder, RECORD_LEAF))
        if body is not None:
            records.append(NightRecord.from_bytes(body))
            objects = None
            continue
        if objects is None:
            objects = read_objects(files, records[-1])
        computed = _NightRun(files, state, night, objects, settings, config.settings).run(link)
        if computed is None:
            waits_for = night.night
            break
        record, objects = computed
        records.append(record)
        n_computed += 1
    report = None
    if nights and waits_for is None:
        objects = objects if objects is not None else read_objects(files, records[-1])
        report = report_what_is_new(files, objects, records[-1].folder, config.ades)
    page = survey_page(files.layout.survey_id, records)
    if records and files.read(files.layout.page) != page:
        objects = objects if objects is not None else read_objects(files, records[-1])
        for leaf, body in whole_files(objects.completed()).items():
            files.bucket.write(files.layout.whole(leaf), body)
        files.bucket.write(files.layout.page, page)
    return SurveyOutcome(files.layout.survey_id, tuple(taken), tuple(records), n_computed, waits_for, report)


def read_objects(files: SurveyFiles, record: NightRecord) -> SurveyObjects:
    """Return the objects after a night that was computed."""
    return objects_in(files, record.folder)


def window_of_night(files: SurveyFiles, night: Night) -> pa.Table:
    """Return the observations of a night and of those that are linked with it; each id once, of the first table."""
    parts = [OBSERVATIONS.empty_table()]
    for version in night.versions:
        table = read_table(files, version)
        nights = night_of_each(table)
        parts.append(table.filter(pa.array((nights >= night.first) & (nights <= night.night))))
    window = pa.concat_tables(parts, promote_options="default").combine_chunks()
    numbers = window["obs_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    _, first = np.unique(numbers, return_index=True)
    window = window.take(pa.array(np.sort(first)))
    truth = OBJECT_ID.name
    if truth in window.column_names and window[truth].null_count == len(window):
        window = window.drop_columns([truth])
    return window


class _NightRun:
    """One night that was not computed yet."""

    def __init__(
        self,
        files: SurveyFiles,
        state: SurveyState,
        night: Night,
        before: SurveyObjects,
        survey: SurveySettings,
        settings: EngineSettings,
    ) -> None:
        self._files = files
        self._state = state
        self._night = night
        self._before = before
        self._survey = survey
        self._settings = settings

    def run(self, link: Link) -> tuple[NightRecord, SurveyObjects] | None:
        """Compute the night and write what came of it; None: its job is not complete."""
        night = self._night
        observations = window_of_night(self._files, night)
        window = attributed_to_objects(self._before, observations, night.night, self._settings)
        inputs = self._inputs(window, observations)
        found, job_id = None, ""
        if inputs is not None:
            job_id = self._job_id(inputs)
            found = link(job_id, inputs)
            if found is None:
                return None
        objects = with_found(self._before, window, found, night.night)
        record = self._record(observations, window, objects, job_id, 0 if inputs is None else len(window.left))
        record = self._write(objects, record)
        logger.info("Night %d of %s: %d objects.", night.night, self._files.layout.survey_id, record.n_objects)
        return record, read_objects(self._files, record)

    def _inputs(self, window: Window, observations: pa.Table) -> JobInputs | None:
        """Return the inputs of the night's job; None: what is left is too little to be linked."""
        limits = self._settings.cluster_and_link
        nights = len(np.unique(night_of_each(window.left))) if len(window.left) else 0
        if len(window.left) < limits.min_observations or nights < limits.min_nights:
            return None
        with self._files.fetched(self._files.layout.orbits) as path:
            orbits = read_orbits(path) if path is not None else self._chosen(observations)
        return inputs_from_tables(observations=window.left, orbits=orbits, settings=self._settings)

    def _chosen(self, observations: pa.Table) -> pa.Table:
        selection = SelectionSettings(number=self._survey.number)
        name = f"night {self._night.night} of {self._files.layout.survey_id}"
        return choose_for_observations(observations, settings=self._settings, selection=selection, name=name).table

    def _job_id(self, inputs: JobInputs) -> JobId:
        """Return the job's id: its own for other inputs, should settings change while it is on its way."""
        text = "\n".join([self._night.key, inputs.engine_version, *sorted(inputs.sha256.values())])
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        return JobId(f"{self._files.layout.survey_id[:80]}-{self._night.night}-{digest}")

    def _record(
        self, observations: pa.Table, window: Window, objects: SurveyObjects, job_id: str, n_linked: int
    ) -> NightRecord:
        night = self._night.night
        before, after = set(self._before.confirmed().ids), set(objects.confirmed().ids)
        candidates_before, candidates = set(self._before.candidates().ids), set(objects.candidates().ids)
        own = [table for table in self._state.tables.values() if night in table.nights]
        return NightRecord(
            night=night,
            key=self._night.key,
            job_id=job_id,
            n_observations=int((night_of_each(observations) == night).sum()),
            n_known=sum(table.n_known for table in own),
            n_linked=n_linked,
            n_objects=len(after),
            new=tuple(sorted(after - before)),
            grown=window.grown,
            candidates=tuple(sorted(candidates)),
            fell_away=tuple(sorted(candidates_before - candidates - after)),
            truth=truth_of_window(observations, objects, self._settings.cluster_and_link),
        )

    def _write(self, objects: SurveyObjects, record: NightRecord) -> NightRecord:
        """Write what came of the night, each version of it below its own name, then the record that one of them holds.

        Returns the record that counts.
        """
        files, folder = self._files, self._night.folder
        complete = objects.completed()
        bodies = {
            ORBITS_LEAF: parquet_from_table(objects.orbits),
            MEMBERS_LEAF: parquet_from_table(objects.members),
            **{
                name: csv_from_table(table) for name, table in tables_of_morning(complete, self._before, record).items()
            },
        }
        digest = hashlib.sha256(b"".join(hashlib.sha256(body).digest() for body in bodies.values()))
        record = record.model_copy(update={"content": digest.hexdigest()[:KEY_LENGTH]})
        for leaf, body in bodies.items():
            files.create(files.layout.night(f"{folder}/{record.content}", leaf), body)
        if files.create(files.layout.night(folder, RECORD_LEAF), record.to_bytes()):
            return record
        # Another run was faster. Settings may have changed between the two: what it wrote counts.
        return NightRecord.from_bytes(files.bucket.read(files.layout.night(folder, RECORD_LEAF)).body)
