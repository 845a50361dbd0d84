"""A survey night by night against linking all of it at once in windows: `python -m tests.bench.nights`.

30 nights of the main belt about opposition. Night by night, each window of 15 nights is linked with one test orbit,
after the survey's own objects have taken their detections; at once, nights 1 to 15 and 16 to 30 are, with the same one.
Bucket in memory, jobs in this process: CPU seconds are those of attribution, linking and tables together.
"""

import json
import resource
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.settings import EngineSettings
from tasks.engines.tables import OBJECT_ID
from tasks.inputs.csv_text import csv_from_table
from tasks.inputs.job_inputs import inputs_from_tables
from tasks.records.ids import JobId
from tasks.surveys.run import open_survey, run_survey
from tasks.surveys.survey_files import objects_in
from tasks.surveys.take_in import night_of_each
from tests.bench import survey as bench_survey
from tests.bench.cases import Case
from tests.support.buckets import FakeBucket
from tests.support.night_survey import LAYOUT, NAME, linked

NIGHTS = 30
WINDOW = 15
CASE = Case("nights-30", detections=60_000, orbits=1_000)


def observations() -> tuple[pa.Table, pa.Table]:
    """Return the observations with their truth, and the test orbit at the middle of the field."""
    bench_survey.NIGHTS = NIGHTS
    survey = bench_survey.generate_survey(CASE, seed=1)
    rows = pc.index_in(survey.observations["obs_id"], survey.truth["obs_id"].combine_chunks())
    truth = survey.truth["object_id"].combine_chunks().take(rows.combine_chunks())
    return survey.observations.append_column(OBJECT_ID, truth), survey.test_orbits


def findable(table: pa.Table, nights: np.ndarray) -> set[str]:
    """Objects with 6 observations in 3 nights over a day within some window."""
    frame = pd.DataFrame({"id": table[OBJECT_ID.name].to_pylist(), "night": nights, "mjd": table["mjd_utc"]}).dropna()
    found: set[str] = set()
    for last in range(nights.min() + 2, nights.max() + 1):
        window = frame[(frame.night > last - WINDOW) & (frame.night <= last)].groupby("id")
        arc = window.mjd.max() - window.mjd.min()
        counts = pd.DataFrame({"obs": window.size(), "nights": window.night.nunique(), "arc": arc})
        found |= set(counts.index[(counts.obs >= 6) & (counts.nights >= 3) & (counts.arc >= 1.0)])
    return found


def judged(groups: Iterable[list[str | None]], of: set[str]) -> dict[str, object]:
    """Completeness and purity of orbits, each given by the truth of its detections in use."""
    names = list(groups)
    pure = [each[0] for each in names if len(set(each)) == 1 and each[0] is not None and len(each) >= 6]
    return {
        "findable": len(of),
        "found": len(of & set(pure)),
        "orbits": len(names),
        "pure": len(pure),
        "second orbits": len(pure) - len(set(pure)),
    }


def groups_of(orbit_rows: np.ndarray, names: list[str | None], count: int) -> list[list[str | None]]:
    groups: list[list[str | None]] = [[] for _ in range(count)]
    for row, name in zip(orbit_rows.tolist(), names, strict=True):
        groups[row].append(name)
    return groups


def night_by_night(table: pa.Table, nights: np.ndarray, test_orbits: pa.Table, of: set[str]) -> dict[str, object]:
    bucket = FakeBucket()
    bucket.write(LAYOUT.settings, json.dumps({"window_days": WINDOW}).encode())
    bucket.write(LAYOUT.orbits, csv_from_table(test_orbits))
    seconds, sizes = [], []
    for night in np.unique(nights):
        bucket.write(f"{LAYOUT.incoming}{night}.csv", csv_from_table(table.filter(pa.array(nights == night))))
        before = cpu_seconds()
        outcome = run_survey(open_survey(bucket, NAME), linked)
        seconds.append(cpu_seconds() - before)
        sizes.append(sum(info.size for info in bucket.list(f"{LAYOUT.prefix}nights/")))
    objects = objects_in(open_survey(bucket, NAME), outcome.nights[-1].folder).confirmed()
    used = objects.members.filter(pc.equal(objects.members["outlier"], 0))
    groups = groups_of(used["orbit_index"].to_numpy(), used[OBJECT_ID.name].to_pylist(), len(objects.ids))
    in_orbits = sum(len(each) for each in groups)
    return judged(groups, of) | {
        "observations in orbits": in_orbits,
        "CPU s, median night": round(float(np.median(seconds)), 2),
        "CPU s, all": round(sum(seconds), 1),
        "MB of nights' tables": round(sizes[-1] / 1e6, 1),
        "MB, last night": round((sizes[-1] - sizes[-2]) / 1e6, 2),
    }


def at_once(table: pa.Table, nights: np.ndarray, test_orbits: pa.Table, of: set[str]) -> dict[str, object]:
    groups: list[list[str | None]] = []
    before = cpu_seconds()
    for first in (nights.min(), nights.min() + WINDOW):
        part = table.filter(pa.array((nights >= first) & (nights < first + WINDOW)))
        inputs = inputs_from_tables(observations=part, orbits=test_orbits, settings=EngineSettings())
        found = linked(JobId(f"at-once-{first}"), inputs)
        used = found.members.filter(pc.equal(found.members["outlier"], 0))
        rows = pc.index_in(used["obs_id"], part["obs_id"].combine_chunks()).combine_chunks()
        truth = part[OBJECT_ID.name].combine_chunks().take(rows).to_pylist()
        groups += groups_of(used["orbit_index"].to_numpy(), truth, len(found.orbits))
    spent = {"CPU s, all": round(cpu_seconds() - before, 1)}
    return judged(groups, of) | {"observations in orbits": sum(map(len, groups))} | spent


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    whole, orbits = observations()
    when = night_of_each(whole)
    there = findable(whole, when)
    print(json.dumps({"night by night": night_by_night(whole, when, orbits, there)}), flush=True)
    print(json.dumps({"at once": at_once(whole, when, orbits, there)}), flush=True)
