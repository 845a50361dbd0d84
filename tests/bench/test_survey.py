"""The benchmark's surveys are what they say, and their truth agrees with JPL Horizons."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from adam_core.utils.helpers import make_observations, make_real_orbits

from tasks.engines.tables import OBSERVATIONS, TEST_ORBITS
from tests.bench.cases import CASES
from tests.bench.populations import POPULATIONS
from tests.bench.survey import generate_survey
from tests.support.sky import Exposures, radec_from_unit, separation_deg, sky_of, unit_from_radec

SMALL = replace(CASES["20k"], name="small", orbits=40, detections=2400)


@pytest.fixture(scope="module")
def survey():
    return generate_survey(SMALL, seed=2)


@pytest.fixture(scope="module")
def detections(survey) -> pd.DataFrame:
    return survey.observations.to_pandas().merge(survey.truth.to_pandas(), on="obs_id")


def true_of(survey) -> pd.DataFrame:
    return survey.observations.to_pandas().merge(survey.truth.to_pandas(), on="obs_id").dropna(subset="object_id")


def test_tables_have_the_schemas_of_the_engine(survey):
    assert survey.observations.schema.equals(OBSERVATIONS)
    assert survey.test_orbits.schema.equals(TEST_ORBITS)
    assert survey.test_orbits.num_rows == 1


def test_the_same_seed_gives_the_same_survey(survey):
    assert generate_survey(SMALL, seed=2).observations.equals(survey.observations)
    assert not generate_survey(SMALL, seed=3).observations.equals(survey.observations)


def test_false_detections_fill_up_to_the_number_asked_for(survey, detections):
    assert len(detections) == 2400
    assert 250 < detections["object_id"].notna().sum() < 500


def test_exposures_are_14_a_night_for_14_nights(detections):
    exposures = detections.drop_duplicates("exposure_id")

    assert len(exposures) == 196
    assert np.floor(exposures["mjd_utc"]).value_counts().tolist() == [14] * 14


def test_observations_are_in_order_of_time_and_their_ids_say_nothing_about_the_truth(detections):
    assert detections["mjd_utc"].is_monotonic_increasing
    first = detections.drop_duplicates("exposure_id")["object_id"].isna().mean()
    assert first == pytest.approx(detections["object_id"].isna().mean(), abs=0.12)


@pytest.mark.parametrize("population", POPULATIONS)
def test_each_population_is_seen_about_its_test_orbit(population):
    case = replace(SMALL, population=population)

    survey = generate_survey(case, seed=4)

    nights = true_of(survey).groupby("object_id")["mjd_utc"].apply(lambda times: np.floor(times).nunique())
    assert (nights >= 3).sum() >= 10
    position = np.array([survey.test_orbits[axis][0].as_py() for axis in "xyz"])
    states = np.stack([survey.truth_states[axis].to_numpy() for axis in "xyz"], axis=1)
    ratio = np.linalg.norm(states, axis=1) / np.linalg.norm(position)
    assert 0.5 < ratio.min() < ratio.max() < 1.6


def test_one_per_night_means_one_per_night():
    survey = generate_survey(replace(SMALL, visits=1, one_per_night=True), seed=2)

    true = true_of(survey)
    assert not true.assign(night=np.floor(true["mjd_utc"])).duplicated(["object_id", "night"]).any()
    assert survey.observations["exposure_id"].unique().to_pandas().nunique() == 196


def test_noise_is_as_asked_for():
    quiet, loud = (generate_survey(replace(SMALL, noise_arcsec=noise), seed=2) for noise in (1e-6, 0.3))

    exact, noisy = (
        true_of(survey).set_index(["object_id", "exposure_id"])[["RA_deg", "Dec_deg"]].sort_index()
        for survey in (quiet, loud)
    )
    assert exact.index.equals(noisy.index)
    north = (noisy["Dec_deg"] - exact["Dec_deg"]) * 3600
    assert north.std() == pytest.approx(0.3, rel=0.15)


def test_stationary_sources_come_back_and_ghosts_crowd():
    survey = generate_survey(replace(SMALL, detections=3600, stationary=0.4, ghosts=0.4), seed=2)

    false = survey.observations.to_pandas()[survey.truth["object_id"].to_pandas().isna().to_numpy()]
    unit = unit_from_radec(false["RA_deg"].to_numpy(), false["Dec_deg"].to_numpy())
    near = (unit @ unit.T) > np.cos(np.radians(1.0 / 3600))
    exposure = false["exposure_id"].to_numpy()
    again = (near & (exposure[:, None] != exposure[None])).any(axis=1)
    crowd = ((unit @ unit.T > np.cos(np.radians(0.05))) & (exposure[:, None] == exposure[None])).sum(axis=1)
    assert again.mean() == pytest.approx(0.4, abs=0.08)
    assert (crowd > 10).mean() == pytest.approx(0.4, abs=0.08)


def test_two_observatories_take_turns():
    survey = generate_survey(replace(SMALL, observatories=("X05", "I41")), seed=2)

    assert set(survey.observations["observatory_code"].to_pylist()) == {"X05", "I41"}


def test_distances_say_what_the_cell_holds(survey, detections):
    distances = survey.distances.to_pandas()

    assert distances["obs_id"].tolist() == detections["obs_id"].tolist()
    assert distances["distance_deg"].between(0, 10).all()


def test_true_states_move_to_another_epoch_as_the_objects_do(survey):
    epoch = survey.truth_states["epoch"][0].as_py()

    there = survey.truth_states_at(epoch + 5.0)

    row = survey.truth_states.to_pylist()[0]
    moved = np.array([row[axis] + 5.0 * row[f"v{axis}"] for axis in "xyz"])
    assert np.linalg.norm(there[row["orbit_id"]][:3] - moved) < 2e-3  # what 5 days of the Sun's pull do at 2 au


def test_positions_agree_with_jpl_horizons():
    _, horizons, objects = make_observations()
    name = "1172 Aneas (1930 UA)"
    rows = [k for k, each in enumerate(objects.object_id.to_pylist()) if each == name]
    mjd = horizons.time.mjd().to_numpy()[rows]
    codes = np.array([horizons.exposure_id[k].as_py()[:3] for k in rows], dtype=object)
    orbits = make_real_orbits()
    orbit = orbits.select("object_id", name)

    sky = sky_of(orbit, Exposures(mjd, codes, np.zeros((len(mjd), 3)), 1.0))

    ra, dec = horizons.ra.to_numpy()[rows], horizons.dec.to_numpy()[rows]
    off_arcsec = separation_deg(sky.direction[0], unit_from_radec(ra, dec)) * 3600
    assert off_arcsec.max() < 0.05  # Horizons' orbit and ours differ by about as much in five weeks
    there = radec_from_unit(sky.direction[0])
    assert np.allclose(there[0], ra, atol=1e-4)
    assert np.allclose(there[1], dec, atol=1e-4)
