"""Chosen test orbits: what they promise is what the engine then finds."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.engines.errors import EngineInputError
from tasks.engines.orbit_selection.choice import SelectionSettings, select_test_orbits
from tasks.engines.orbit_selection.detectability import Candidate, detectable
from tasks.engines.orbit_selection.footprint import footprint_of_observations
from tasks.engines.orbit_selection.objects_in_field import Catalogue
from tasks.engines.orbit_selection.populations import GROUPS
from tasks.engines.orbit_selection.sightings import sightings_of_states
from tasks.engines.registry import engine_by_name
from tasks.engines.score import score_orbits
from tasks.engines.settings import EngineSettings, settings_from_items
from tests.bench.cases import CASES
from tests.bench.survey import generate_survey
from tests.support.linking import run_prepared
from tests.support.sky import AXES

DEFAULTS = EngineSettings()
NARROW = settings_from_items({"range_and_shift.cell_radius_deg": "2.5"})
"""Cells so small that some objects are outside of all: otherwise everything is found, and nothing is compared."""

MAIN_BELT = SelectionSettings(number=3, groups=("main_belt",), objects_per_group=400)
FEW = SelectionSettings(objects_per_group=120)


@pytest.fixture(scope="module")
def survey():
    return generate_survey(replace(CASES["20k"], name="small", orbits=150, detections=6000), seed=2)


@pytest.fixture(scope="module")
def truth(survey):
    states = np.stack([survey.truth_states[name].to_numpy() for name in AXES], axis=1)
    return Catalogue(states, survey.truth_states["epoch"].to_numpy())


@pytest.fixture(scope="module")
def of_all_groups(survey):
    return select_test_orbits(survey.observations, settings=DEFAULTS, selection=FEW)


def found_by_engine(survey, orbits, settings):
    """Objects that were recovered, and of those that could be the share."""
    engine = engine_by_name("builtin", thor_python=None)
    prepared = engine.prepare(survey.observations, settings)
    found, findable = set(), set()
    for row in range(len(orbits)):
        members = run_prepared(engine, prepared, orbits.slice(row, 1), settings)["recovered_orbit_members"]
        score = score_orbits(survey.observations, survey.truth, members, settings=settings.cluster_and_link)
        objects = score.objects.to_pandas()
        findable = set(objects[objects.findable].object_id)
        found |= set(objects[objects.findable & objects.recovered].object_id)
    return found, findable


def promised(survey, truth, orbits, settings):
    """Objects that at least one of the orbits should catch."""
    footprint = footprint_of_observations(survey.observations, smallest_radius_deg=0.5)
    sightings = sightings_of_states(truth.states, truth.epochs_mjd_tdb[0], footprint)
    rows = np.zeros(len(truth.states), dtype=bool)
    for row in orbits.to_pylist():
        rows |= detectable(
            Candidate(np.array([row[name] for name in AXES]), row["epoch"]), sightings, footprint, settings
        )
    ids = np.array(survey.truth_states["orbit_id"].to_pylist())
    return set(ids[rows])


def test_the_coverage_told_is_what_the_engine_finds(survey, truth):
    selection = select_test_orbits(survey.observations, settings=NARROW, selection=MAIN_BELT)

    found, findable = found_by_engine(survey, selection.table, NARROW)

    assert 0.2 < selection.coverage < 0.8
    assert len(found) / len(findable) == pytest.approx(selection.coverage, abs=0.12)
    should = promised(survey, truth, selection.table, NARROW) & findable
    assert len(should & found) >= 0.95 * len(should)


def test_one_orbit_for_each_few_au_covers_all_groups(of_all_groups):
    shares = {group.group: group.share for group in of_all_groups.groups}

    assert set(shares) == set(GROUPS)
    # What comes so near that it crosses the field within days needs a test orbit of its own.
    near_earth = shares.pop("neo")
    assert near_earth >= 0.4
    assert all(share is None or share >= 0.85 for share in shares.values()), shares
    assert 2 <= len(of_all_groups.orbits) <= 30
    assert of_all_groups.coverage >= 0.95


def test_the_total_counts_objects_and_not_groups(of_all_groups):
    groups = [group for group in of_all_groups.groups if group.share is not None]

    found = sum(group.share * group.expected for group in groups)
    assert of_all_groups.coverage == pytest.approx(found / sum(group.expected for group in groups))
    assert max(groups, key=lambda group: group.expected).group == "main_belt"


def test_no_test_orbit_is_chosen_that_adds_nothing(survey):
    selection = select_test_orbits(
        survey.observations, settings=DEFAULTS, selection=replace(MAIN_BELT, number=50, objects_per_group=100)
    )

    assert len(selection.orbits) < 20
    assert all(orbit.covered <= 1.0 for orbit in selection.orbits)
    assert selection.notes == (
        f"Chose {len(selection.orbits)} test orbits, not 50: no other finds enough of what these do not.",
    )


def test_the_same_observations_give_the_same_orbits(survey, of_all_groups):
    again = select_test_orbits(survey.observations, settings=DEFAULTS, selection=FEW)

    assert again.table.equals(of_all_groups.table)
    assert again.orbits == of_all_groups.orbits


def test_fewer_orbits_are_the_first_of_more(survey):
    more, fewer = (
        select_test_orbits(
            survey.observations,
            settings=NARROW,
            selection=replace(MAIN_BELT, number=number, objects_per_group=100),
        )
        for number in (4, 2)
    )

    assert len(more.orbits) == 4
    assert more.table.slice(0, 2).equals(fewer.table)
    covered = [orbit.covered for orbit in more.orbits]
    assert covered == sorted(covered)
    assert covered[-1] == pytest.approx(sum(orbit.gained for orbit in more.orbits))
    assert covered[-1] == pytest.approx(more.coverage)


def test_ids_tell_group_window_and_cell(of_all_groups):
    first = of_all_groups.orbits[0]

    assert first.orbit_id.startswith(f"t001-{first.group}-w1-lon")
    row = of_all_groups.table.to_pylist()[0]
    assert first.orbit_id.endswith(f"-r{np.linalg.norm([row[axis] for axis in 'xyz']):.2f}")


def test_a_catalogue_is_the_population_when_there_is_one(survey, truth):
    selection = select_test_orbits(
        survey.observations, settings=NARROW, selection=replace(MAIN_BELT, number=None), catalogue=truth
    )

    (group,) = selection.groups
    assert group.group == "catalogue"
    assert 60 < group.in_field < 150
    assert group.share >= 0.9
    assert promised(survey, truth, selection.table, NARROW) >= set()
    assert len(promised(survey, truth, selection.table, NARROW)) >= group.covered


def test_a_long_survey_is_chosen_for_window_by_window(survey):
    selection = select_test_orbits(
        survey.observations,
        settings=NARROW,
        selection=replace(MAIN_BELT, number=6, objects_per_group=60, window_days=7.0),
    )

    assert len(selection.windows) == 2
    assert {orbit.window for orbit in selection.orbits} == {1, 2}
    first, second = (
        [
            row["epoch"]
            for row, orbit in zip(selection.table.to_pylist(), selection.orbits, strict=True)
            if orbit.window == w
        ]
        for w in (1, 2)
    )
    assert max(first) < selection.windows[0][1] < selection.windows[1][0] < min(second)


def test_a_survey_that_can_find_nothing_is_refused(survey):
    one_night = survey.observations.slice(0, 300)

    with pytest.raises(EngineInputError, match="none is in 6 exposures of 3 nights"):
        select_test_orbits(one_night, settings=DEFAULTS, selection=replace(MAIN_BELT, objects_per_group=10))
