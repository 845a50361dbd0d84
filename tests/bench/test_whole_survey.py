"""Whole surveys: what the generator makes, and what choice, engine and merge make of a small one."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tasks.engines.orbit_selection.choice import SelectionSettings
from tasks.engines.score import CONTAMINATED, FALSE
from tasks.engines.settings import settings_from_items
from tasks.engines.tables import OBSERVATIONS
from tests.bench.sky_groups import GROUPS, jupiter_longitude_deg
from tests.bench.whole import by_group, curve, group_of, reached_as_expected, run_whole, section
from tests.bench.whole_survey import WHOLE, Camera, WholeCase, apparent_mag, make_whole_survey
from tests.support.sky import states_from_elements, unit_from_radec

SMALL = WHOLE["small"]
EPOCH = 59900.0


@pytest.fixture(scope="module")
def survey():
    return make_whole_survey(SMALL, seed=1)


@pytest.fixture(scope="module")
def detections(survey) -> pd.DataFrame:
    return survey.observations.to_pandas().merge(survey.truth.to_pandas(), on="obs_id")


@pytest.fixture(scope="module")
def run(survey):
    return run_whole(survey)


def test_the_table_has_the_schema_of_the_engine_and_ascends_in_time(survey):
    assert survey.observations.schema.equals(OBSERVATIONS)
    assert np.all(np.diff(survey.observations["mjd_utc"].to_numpy()) >= 0)


def test_a_seed_makes_the_same_survey_again_and_another_one_another(survey):
    again, other = (make_whole_survey(SMALL, seed=seed) for seed in (1, 2))

    assert again.observations.equals(survey.observations)
    assert again.truth.equals(survey.truth)
    assert not other.observations.equals(survey.observations)


def test_every_group_is_there_and_most_detections_are_false(detections):
    groups = {group_of(name) for name in detections["object_id"].dropna()}

    assert groups == set(GROUPS) == set(SMALL.objects)
    assert detections["object_id"].isna().mean() == pytest.approx(SMALL.false, abs=0.05)


def test_each_camera_has_its_own_limit_and_faint_detections_are_less_certain(detections):
    deepest = detections.groupby("observatory_code")["mag"].quantile(0.9)
    assert deepest["W84"] == pytest.approx(22.6, abs=0.4)
    assert deepest["I41"] == pytest.approx(20.7, abs=0.4)

    of_camera = detections[detections["observatory_code"] == "W84"]
    bright, faint = of_camera["mag"] < 20.0, of_camera["mag"] > 22.5
    assert of_camera[faint]["Dec_sigma_deg"].median() > 2 * of_camera[bright]["Dec_sigma_deg"].median()


def test_weather_takes_nights_but_leaves_a_survey(detections):
    nights = detections.groupby("observatory_code")["mjd_utc"].apply(lambda times: np.floor(times).nunique())

    assert ((nights >= 3) & (nights < SMALL.nights)).all()


def test_stars_stay_trails_are_lines_and_ghosts_are_clumps(detections):
    false = detections[detections["object_id"].isna()]
    unit = unit_from_radec(false["RA_deg"].to_numpy(), false["Dec_deg"].to_numpy())
    exposure = false["exposure_id"].to_numpy()
    near = unit @ unit.T
    same = exposure[:, None] == exposure[None]

    returns = ((near > np.cos(np.radians(1.5 / 3600))) & ~same).any(axis=1)
    clumped = ((near > np.cos(np.radians(0.1))) & same).sum(axis=1)
    assert returns.mean() == pytest.approx(SMALL.shares["stars"], abs=0.12)
    assert (clumped > 15).mean() == pytest.approx(SMALL.shares["ghosts"], abs=0.08)


@pytest.mark.parametrize("name", GROUPS)
def test_groups_are_bound_orbits(name):
    orbits = GROUPS[name].draw(500, EPOCH, np.random.default_rng(1))

    assert ((orbits["e"] >= 0) & (orbits["e"] < 1) & (orbits["i"] >= 0) & (orbits["i"] <= 180)).all()
    assert np.isfinite(states_from_elements(orbits, EPOCH)).all()


def test_trojans_are_60_degrees_from_jupiter():
    orbits = GROUPS["trojan"].draw(500, EPOCH, np.random.default_rng(1))
    ahead = (orbits["raan"] + orbits["ap"] + orbits["M"] - jupiter_longitude_deg(EPOCH) + 180.0) % 360.0 - 180.0

    assert np.median(np.abs(ahead)) == pytest.approx(60.0, abs=3.0)


def test_an_object_at_one_au_from_both_at_no_phase_angle_is_as_bright_as_its_h():
    """By definition of H, with the observer at the Sun."""
    position = np.array([[1.0, 0.0, 0.0]])

    mag = apparent_mag(np.array([17.0]), position, position, np.ones(1), np.array([False]))

    assert mag[0] == pytest.approx(17.0)


@pytest.mark.slow
def test_a_small_survey_gives_nearly_every_object_of_each_group_and_no_false_orbit(run):
    assert run.score.count(FALSE) == run.score.count(CONTAMINATED) == 0
    assert (run.score.objects["num_orbits"].to_numpy() <= 1).all()
    assert run.score.completeness >= 0.97
    lowest = dict.fromkeys(GROUPS, 0.9) | {"neo": 0.6, "centaur": 0.8, "comet": 0.8}
    for group, (found, of) in by_group(run.score).items():
        assert found >= np.floor(lowest[group] * of), (group, found, of)


@pytest.mark.slow
def test_the_coverage_printed_is_reached_within_three_points(run):
    printed, reached = reached_as_expected(run)

    assert reached == pytest.approx(printed, abs=0.03)


@pytest.mark.slow
def test_the_curve_ends_where_the_run_does(run):
    points = curve(run)

    shares = [point["completeness"] for point in points]
    assert points[-1]["test_orbits"] == len(run.tasks)
    assert shares[-1] == run.score.completeness
    assert shares[0] > 0.5
    assert all(later["cpu_seconds"] > point["cpu_seconds"] for point, later in itertools.pairwise(points))


@pytest.mark.slow
def test_exposures_that_are_not_deep_enough_cost_no_object_its_orbit():
    """They look like misses, eight a night here; 41 of 80 objects were found, not 52, when five ended a track."""
    deep = Camera("W84", 1.5, 22.6, 0.08, fields=5, every=3)
    shallow = Camera("T05", 5.0, 18.0, 0.2, fields=1, every=1, visits=4, minutes=60.0)
    cameras = (deep, shallow, replace(shallow, code="I41", limit_mag=18.5))
    survey = make_whole_survey(WholeCase("mixed", cameras, {"main_belt": 160}, false=0.6, lost=0.1), seed=2)
    one_orbit = SelectionSettings(number=1, groups=("main_belt",), objects_per_group=100)
    ever = settings_from_items({"cluster_and_link.max_misses": "1000"})

    found, most = (run_whole(survey, settings, one_orbit).score for settings in (None, ever))

    assert most.recovered > 40
    assert found.recovered == most.recovered
    assert found.count(FALSE) == 0


def test_a_measurement_is_told_in_three_tables():
    result = {
        "case": "small", "seed": 1, "detections": 5567, "test_orbits": 7, "findable": 172, "recovered": 171,
        "observation_completeness": 0.9996, "orbits": 171, "pure": 171, "contaminated": 0, "false": 0,
        "objects_with_two_orbits": 0, "groups": {"main_belt": (104, 104), "neo": (7, 8)},
        "expected": {"main_belt": 0.998, "neo": None}, "coverage_printed": 0.998, "coverage_reached": 1.0,
        "cpu_seconds": {
            "choose test orbits": 11.9, "prepare": 0.1, "range_and_shift": 0.01, "cluster_and_link": 0.5,
            "initial_orbit_determination": 0.8, "orbit_determination": 0.3, "merge_and_extend": 0.5, "merge tasks": 0.1,
        },
        "curve": [{"test_orbits": 1, "cpu_seconds": 12.2, "completeness": 0.907}],
    }  # fmt: skip

    text = section([result])

    assert "| small | 1 | 5 567 | 7 | 171 of 172 (99.4%) | 100.0% | 171 | 171 / 0 / 0 | 0 | 11.9 |" in text
    assert "| 104 of 104, 100.0% (said 100%) | 7 of 8, 87.5% (said nothing) | 100.0% (said 99.8%) |" in text
    assert "| 90.7% in 12 s |" in text
