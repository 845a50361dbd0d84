"""A survey, night after night: what comes of it, and that the way there does not matter."""

import json
import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.bucket.store import Bucket
from tasks.engines.tables import OBJECT_ID
from tasks.inputs.csv_text import csv_from_table
from tasks.records.survey import NightRecord, SurveyState
from tasks.surveys.plan import nights_of_survey
from tasks.surveys.report import read_registers
from tasks.surveys.run import RECORD_LEAF, open_survey, run_survey
from tasks.surveys.survey_files import objects_in
from tests.support.buckets import EndingBucket, FakeBucket, FlakyBucket, ProcessEndedHere
from tests.support.night_survey import LAYOUT, NAME, linked, night_survey, put_night, put_settings, run, tables_by_night


def files_of(bucket: Bucket):
    return open_survey(bucket, NAME)


def records_of(bucket: Bucket) -> list[NightRecord]:
    """Records of the nights that count now, in their order."""
    files = files_of(bucket)
    nights = nights_of_survey(files.read_state(), window_days=files.read_settings().window_days)
    return [NightRecord.from_bytes(files.read(LAYOUT.night(each.folder, RECORD_LEAF))) for each in nights]


def end_state(bucket: Bucket) -> dict[str, bytes]:
    """Bytes of every table of the nights that count, and of the page."""
    folders = [f"{LAYOUT.prefix}nights/{record.folder}/" for record in records_of(bucket)]
    names = [info.name for folder in folders for info in bucket.list(folder)]
    return {name: bucket.read(name).body for name in (*names, LAYOUT.page)}


@pytest.fixture(scope="module")
def clean() -> FakeBucket:
    """The survey as one run after each night makes it."""
    bucket = FakeBucket()
    put_settings(bucket)
    for night in tables_by_night():
        put_night(bucket, night)
        run(bucket)
    return bucket


def test_objects_are_found_grow_and_keep_their_names(clean):
    records = records_of(clean)

    names = {name for record in records for name in record.new}
    grown = Counter(name for record in records for name in record.grown)
    objects = objects_in(files_of(clean), records[-1].folder).confirmed()
    assert len(records) == len(tables_by_night())
    assert set(objects.ids) <= names
    assert sum(len(record.new) for record in records) == len(names)  # nobody is new twice
    assert len(objects.ids) >= 20
    assert len(grown) >= 0.2 * len(objects.ids)


def test_without_standing_test_orbits_each_window_gets_its_own(clean):
    bucket = FakeBucket()
    bucket.write(LAYOUT.settings, b'{"window_days": 6, "number": 1}')
    nights = list(tables_by_night())[:5]
    chosen = set()

    def noting(job_id, inputs):
        chosen.update(inputs.orbit_csvs)
        return linked(job_id, inputs)

    for night in nights:
        put_night(bucket, night)
    run_survey(open_survey(bucket, NAME), noting)

    names = {name for record in records_of(bucket) for name in record.new}
    expected = {name for record in records_of(clean)[:5] for name in record.new}
    assert len(chosen) >= 2  # no window has that of another
    assert len(names) >= 0.9 * len(expected) > 0


def test_almost_every_object_is_pure_and_has_a_name_of_its_own(clean):
    objects = objects_in(files_of(clean), records_of(clean)[-1].folder).confirmed()

    truth = objects.members[OBJECT_ID.name].to_pylist()
    rows = objects.members["orbit_index"].to_pylist()
    of_each = [{name for name, row in zip(truth, rows, strict=True) if row == each} for each in range(len(objects.ids))]
    pure = [names.pop() for names in of_each if len(names) == 1 and None not in names]
    assert len(pure) >= 0.95 * len(objects.ids)
    assert len(set(pure)) >= 0.95 * len(pure)


def test_nothing_is_reported_twice_and_all_that_is_certain_is_reported(clean):
    reported = [
        obs_id for each in read_registers(files_of(clean)) for ids in each.observations.values() for obs_id in ids
    ]

    objects = objects_in(files_of(clean), records_of(clean)[-1].folder).confirmed()
    assert max(Counter(reported).values()) == 1
    assert {obs_id for ids in objects.used_ids for obs_id in ids} <= set(reported)


def test_each_report_has_the_observations_of_its_register_under_its_names(clean):
    for each in read_registers(files_of(clean)):
        text = clean.read(LAYOUT.report(each.number, "ades_X05.psv")).body.decode()
        rows = [line.split("|") for line in text.splitlines() if "|" in line]
        column = [name.strip() for name in rows[0]].index
        sent = {(row[column("trkSub")].strip(), row[column("obsSubID")].strip()) for row in rows[1:]}
        assert sent == {(name, obs_id) for name, ids in each.observations.items() for obs_id in ids}


def test_completeness_and_purity_are_told_where_the_truth_is_known(clean):
    truth = records_of(clean)[-1].truth

    assert truth["findable_objects"] >= 15
    assert truth["completeness"] >= 0.9
    assert truth["purity"] >= 0.95
    assert b"100.0%" in clean.read(LAYOUT.page).body


def test_the_whole_is_there_after_the_last_night_with_plots(clean):
    whole = clean.read(LAYOUT.whole("recovered_orbits.csv")).body

    assert whole.count(b"\n") - 1 == len(objects_in(files_of(clean), records_of(clean)[-1].folder).ids)
    assert clean.read(LAYOUT.whole("plots/a_e.png")).body.startswith(b"\x89PNG")


def test_a_run_with_nothing_new_writes_nothing(clean):
    before = [entry for entry in clean.history if entry[0] == "write"]

    run(clean)

    assert [entry for entry in clean.history if entry[0] == "write"] == before


@pytest.fixture
def undrawn(monkeypatch):
    """No plots: they take a second of each run, and are no part of the end state."""
    monkeypatch.setattr("tasks.surveys.morning.pictures_of_orbits", lambda _: [])


@settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_any_order_of_nights_and_any_kills_end_in_the_same_bytes(clean, undrawn, seed):
    chance = random.Random(seed)
    nights = list(tables_by_night())
    chance.shuffle(nights)
    replaced = chance.choice(nights)
    bucket = FakeBucket()
    put_settings(bucket)

    for night in nights:
        half = tables_by_night()[night].splitlines(keepends=True)[: chance.randint(2, 40)]
        put_night(bucket, night, b"".join(half) if night == replaced else None)
        if chance.random() < 0.2:
            with_kills(bucket, chance)
    put_night(bucket, replaced)
    with_kills(bucket, chance)

    assert end_state(bucket) == end_state(clean)
    reported = Counter(
        obs_id for each in read_registers(files_of(bucket)) for ids in each.observations.values() for obs_id in ids
    )
    assert max(reported.values()) == 1


def with_kills(bucket, chance):
    """Run, killed a few times before some write, until a run comes to its end."""
    for _ in range(chance.randint(0, 3)):
        try:
            run(EndingBucket(bucket, writes=chance.randint(0, 25)))
        except ProcessEndedHere:
            continue
    run(bucket)


def test_killed_before_every_single_write_of_a_night_it_ends_in_the_same_bytes(clean, undrawn):
    nights = list(tables_by_night())
    bucket = FakeBucket()
    put_settings(bucket)
    for night in nights[:-1]:
        put_night(bucket, night)
    run(bucket)
    put_night(bucket, nights[-1])

    for writes in range(200):
        try:
            run(EndingBucket(bucket, writes=writes))
        except ProcessEndedHere:
            continue
        break

    assert writes > 5
    run(bucket)
    assert dict(end_state(bucket).items()) == end_state(clean)


def test_a_bucket_that_fails_now_and_then_costs_runs_and_nothing_else(clean, undrawn):
    bucket = FakeBucket()
    put_settings(bucket)
    for night in tables_by_night():
        put_night(bucket, night)

    for seed in range(12):
        try:
            run(FlakyBucket(bucket, failing=0.02, seed=seed))
        except Exception:  # noqa: BLE001, S112 (whatever a process may end by)
            continue
    run(bucket)

    assert end_state(bucket) == end_state(clean)


def test_a_table_that_comes_twice_under_two_names_changes_no_object(clean):
    bucket = FakeBucket()
    put_settings(bucket)
    for night in tables_by_night():
        put_night(bucket, night)
        bucket.write(f"{LAYOUT.incoming}again/{night}.csv", tables_by_night()[night])
    run(bucket)

    assert objects_in(files_of(bucket), records_of(bucket)[-1].folder) == objects_in(
        files_of(clean), records_of(clean)[-1].folder
    )


def test_a_table_that_cannot_be_read_is_told_beside_it_and_stops_no_other():
    bucket = FakeBucket()
    put_settings(bucket)
    put_night(bucket, next(iter(tables_by_night())))
    bucket.write(f"{LAYOUT.incoming}bad.csv", b"obs_id,mjd_utc\na,1\n")

    outcome = run(bucket)

    assert {taken.table: taken.outcome for taken in outcome.taken}[f"{LAYOUT.incoming}bad.csv"] == "refused"
    assert b"is missing" in bucket.read(f"{LAYOUT.incoming}bad.csv.error.txt").body
    assert len(outcome.nights) == 1


def test_known_objects_are_taken_out_of_each_table():
    bucket = FakeBucket()
    put_settings(bucket)
    orbits = night_survey().truth_states
    bucket.write(f"{LAYOUT.catalogue}known.csv", csv_from_table(orbits.slice(0, 30)))
    night = max(tables_by_night(), key=lambda each: len(tables_by_night()[each]))
    put_night(bucket, night)

    (record,) = run(bucket).nights

    truth = [row["object_id"] for row in night_survey().truth.to_pylist()]
    assert record.n_known > 0
    assert record.n_known < sum(name is not None for name in truth)
    assert record.n_observations + record.n_known == tables_by_night()[night].count(b"\n") - 1


def test_a_window_that_is_too_wide_is_refused_by_its_name():
    bucket = FakeBucket()
    put_settings(bucket, window_days=400)

    with pytest.raises(Exception, match=f"{LAYOUT.settings}: window_days"):
        run(bucket)


def test_the_state_says_which_version_of_each_table_holds(clean):
    state = SurveyState.from_bytes(clean.read(LAYOUT.state).body)

    assert sorted(state.tables) == sorted(f"{LAYOUT.incoming}{night}.csv" for night in tables_by_night())
    assert json.loads(clean.read(LAYOUT.state).body)["tables"]
