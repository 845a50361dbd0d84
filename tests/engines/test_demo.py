"""The demo problem is real, reproducible and as DESIGN.md describes it."""

import numpy as np
import pandas as pd
import pytest
from adam_core.utils.helpers import make_observations

from tasks.engines.demo import FALSE_RADIUS_DEG, NOISE_DEG, demo_problem
from tasks.engines.tables import OBSERVATIONS, TEST_ORBITS
from tests.support.sky import separation_deg, unit_from_radec


@pytest.fixture(scope="module")
def demo():
    return demo_problem(seed=7)


@pytest.fixture(scope="module")
def detections(demo) -> pd.DataFrame:
    return demo.observations.to_pandas().merge(demo.truth.to_pandas(), on="obs_id")


def test_tables_have_the_schemas_of_the_engine(demo):
    assert demo.observations.schema.equals(OBSERVATIONS)
    assert demo.test_orbits.schema.equals(TEST_ORBITS)


def test_each_of_the_28_objects_is_a_test_orbit_and_is_observed(demo):
    names = demo.test_orbits["orbit_id"].to_pylist()

    assert len(set(names)) == 28
    assert set(names) == set(demo.truth["object_id"].drop_null().to_pylist())
    assert {"2010_TK7", "Oumuamua", "Pallas", "Aylochaxnim", "1993_SB"} <= set(names)


def test_ids_are_safe_as_names_of_files(demo):
    assert all(name.replace("_", "").isalnum() for name in demo.test_orbits["orbit_id"].to_pylist())


def test_observation_ids_are_unique_and_say_nothing_about_the_truth(detections):
    assert detections["obs_id"].is_unique
    first_of_exposure = detections.sort_values("obs_id").drop_duplicates("exposure_id")
    assert 0.4 < first_of_exposure["object_id"].notna().mean() < 0.6


def test_only_the_first_days_of_each_object_are_in(detections):
    true = detections.dropna(subset="object_id").groupby("object_id")["mjd_utc"]

    assert (true.max() - true.min()).max() < 14.0
    assert true.size().between(21, 22).all()


def test_there_is_a_false_detection_for_each_true_one_in_the_same_exposure(detections):
    true, false = detections[detections["object_id"].notna()], detections[detections["object_id"].isna()]

    assert sorted(false["exposure_id"]) == sorted(true["exposure_id"])
    pairs = false.merge(true, on="exposure_id")
    distance = separation_deg(
        unit_from_radec(pairs["RA_deg_x"], pairs["Dec_deg_x"]), unit_from_radec(pairs["RA_deg_y"], pairs["Dec_deg_y"])
    )
    assert distance.max() < 1.1 * FALSE_RADIUS_DEG
    assert np.median(distance) == pytest.approx(FALSE_RADIUS_DEG / np.sqrt(2), rel=0.1)


def test_noise_is_a_tenth_of_an_arcsecond_in_each_coordinate(detections):
    _, horizons, _ = make_observations()
    exact = pd.DataFrame(
        {"mjd_utc": horizons.time.mjd().to_numpy(), "ra": horizons.ra.to_numpy(), "dec": horizons.dec.to_numpy()}
    )
    true = detections.dropna(subset="object_id").merge(exact, on="mjd_utc")
    true = true[np.abs(true["Dec_deg"] - true["dec"]) < 5 / 3600]

    north = (true["Dec_deg"] - true["dec"]) / NOISE_DEG
    east = (true["RA_deg"] - true["ra"]) * np.cos(np.radians(true["dec"])) / NOISE_DEG
    assert len(true) == 601
    assert north.std() == pytest.approx(1.0, abs=0.1)
    assert east.std() == pytest.approx(1.0, abs=0.1)
    assert (true[["RA_sigma_deg", "Dec_sigma_deg"]] == NOISE_DEG).all(axis=None)


def test_the_same_seed_gives_the_same_problem_and_another_seed_another(demo):
    assert demo_problem(seed=7).observations.equals(demo.observations)
    assert not demo_problem(seed=8).observations.equals(demo.observations)


@pytest.mark.parametrize(("days", "false_per_true", "rows"), [(60, 0.0, 2520), (60, 2.5, 8820), (14, 0.0, 601)])
def test_days_and_false_detections_can_be_chosen(days, false_per_true, rows):
    assert demo_problem(seed=1, days=days, false_per_true=false_per_true).observations.num_rows == rows
