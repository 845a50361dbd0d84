from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tasks.engines.builtin.astrodynamics.elements import keplerian_from_states
from tasks.engines.builtin.initial_orbit_determination import initial_orbit_determination
from tasks.engines.builtin.orbit_determination import orbit_determination
from tasks.engines.settings import EngineSettings, OrbitDeterminationSettings
from tasks.engines.tables import OD_ORBIT_MEMBERS, OD_ORBITS
from tests.engines.fit_stages import cluster_tables, covariances_of, sets_of, small_sky, states_of


@pytest.fixture(scope="module")
def truth():
    return small_sky()


def run(truth, clusters, settings=None):
    problem = truth.problem(settings)
    tables = cluster_tables(truth.survey, clusters)
    tables |= initial_orbit_determination(problem, tables).tables
    result = orbit_determination(problem, tables)
    return result.tables["od_orbits"], result.tables["od_orbit_members"], result.counts


@pytest.fixture(scope="module")
def determined(truth):
    return run(truth, list(truth.findable.values()))


def test_every_true_cluster_passes_the_gate_with_all_of_its_detections(truth, determined):
    orbits, members, counts = determined

    assert len(orbits) == len(truth.findable) == counts["od_orbits"] == counts["n_body"]
    assert sets_of(members) == [set(rows.tolist()) for rows in truth.findable.values()]


def test_tables_have_their_schemas_and_name_force_model_and_software(determined):
    orbits, members, _ = determined

    assert orbits.schema.equals(OD_ORBITS)
    assert members.schema.equals(OD_ORBIT_MEMBERS)
    assert "DE440" in orbits["force_model"][0].as_py()
    assert orbits["software"][0].as_py().startswith("thor-taskqueue builtin ")


def test_states_are_the_truth_by_assist_within_their_covariances(truth, determined):
    orbits, _, _ = determined
    expected = truth.states_at(orbits["epoch"][0].as_py())
    errors = states_of(orbits) - np.array([expected[name] for name in truth.findable])

    distances = [e @ np.linalg.solve(c, e) for e, c in zip(errors, covariances_of(orbits), strict=True)]

    # Squared Mahalanobis distances, 6 expected; the mean of n scatters by sqrt(12 / n)
    assert np.mean(distances) == pytest.approx(6.0, abs=3.5 * np.sqrt(12 / len(distances)))
    assert np.max(distances) < 35.0


def test_derived_columns_follow_from_the_state(determined):
    orbits, _, _ = determined
    states, covariances = states_of(orbits), covariances_of(orbits)

    np.testing.assert_allclose(orbits["r"], np.linalg.norm(states[:, :3], axis=1))
    np.testing.assert_allclose(orbits["v_sigma"], np.sqrt(np.einsum("cii->c", covariances[:, 3:, 3:])))
    np.testing.assert_allclose(
        np.column_stack([orbits[name] for name in ("a", "e", "i", "raan", "ap", "M")]), keplerian_from_states(states)
    )
    np.testing.assert_allclose(orbits["q"], orbits["a"].to_numpy() * (1 - orbits["e"].to_numpy()))
    np.testing.assert_allclose(orbits["rchi2"], orbits["chi2"].to_numpy() / (2 * orbits["num_obs"].to_numpy() - 6))


def test_counts_nights_and_arcs_are_those_of_the_members(truth, determined):
    orbits, members, _ = determined
    survey = truth.survey

    for row, own in enumerate(sets_of(members)):
        exposure = survey.exposure[sorted(own)]
        times = survey.exposure_mjd_utc[exposure]
        assert orbits["num_obs"][row].as_py() == len(own)
        assert orbits["num_nights"][row].as_py() == len(np.unique(survey.exposure_night[exposure]))
        assert orbits["num_sky_nights"][row].as_py() == len(np.unique(survey.exposure_sky_night[exposure]))
        assert orbits["arc_length"][row].as_py() == pytest.approx(np.ptp(times))
        assert orbits["first_mjd_utc"][row].as_py() == times.min()


def test_chi2_of_members_adds_up_to_that_of_the_orbit(determined):
    orbits, members, _ = determined
    sums = np.bincount(members["orbit_index"].to_numpy(), members["chi2"].to_numpy())

    np.testing.assert_allclose(sums, orbits["chi2"], rtol=1e-9)


def test_residuals_in_arcseconds_scatter_as_the_noise(determined):
    _, members, _ = determined
    for name in ("residual_ra_arcsec", "residual_dec_arcsec"):
        assert members[name].to_numpy().std() == pytest.approx(0.1, rel=0.2)


def test_h_is_the_median_over_the_magnitudes(determined):
    orbits, _, _ = determined

    assert orbits["num_mag"].to_pylist() == orbits["num_obs"].to_pylist()
    # magnitudes are drawn between 18 and 24; at 3 au from the Sun and 2 from us that is 4 to 5 less
    assert np.median(orbits["H"].to_numpy()) == pytest.approx(21.0 - 4.5, abs=1.5)


def test_a_false_detection_among_true_ones_is_an_outlier(truth):
    clusters = list(truth.findable.values())
    contaminated = clusters[0].copy()
    wrong = np.flatnonzero((truth.survey.exposure == truth.survey.exposure[contaminated[3]]) & (truth.objects == ""))[0]
    contaminated[3] = wrong

    _, members, counts = run(truth, [contaminated])

    outliers = members.filter(pa.compute.equal(members["outlier"], 1))
    assert outliers["obs_index"].to_pylist() == [wrong]
    assert counts["outliers"] == 1


def test_a_mixture_of_two_objects_is_dropped(truth):
    one, other = list(truth.findable.values())[:2]
    mixture = np.unique(np.concatenate([one[::2], other[::2]]))
    mixture = mixture[np.argsort(truth.survey.exposure[mixture], kind="stable")]

    orbits, members, _ = run(truth, [mixture])

    assert (len(orbits), len(members)) == (0, 0)


def test_without_magnitudes_there_is_no_h(truth, monkeypatch):
    monkeypatch.setitem(vars(truth.survey), "mag", np.full(truth.survey.n_detections, np.nan))

    orbits, _, _ = run(truth, list(truth.findable.values())[:3])

    assert orbits["H"].to_pylist() == [None] * 3
    assert orbits["num_mag"].to_pylist() == [0] * 3


def test_the_same_input_gives_the_same_bytes(truth, determined):
    again = run(truth, list(truth.findable.values()))

    assert again[0].equals(determined[0])
    assert again[1].equals(determined[1])


def test_two_bodies_can_be_chosen(truth):
    settings = EngineSettings(orbit_determination=OrbitDeterminationSettings(force_model="2-body"))

    orbits, _, counts = run(truth, list(truth.findable.values())[:3], settings)

    assert orbits["force_model"].to_pylist() == ["2-body"] * 3
    assert counts["n_body"] == 0


def test_no_first_orbits_give_empty_tables(truth):
    orbits, members, _ = run(truth, [])

    assert orbits.schema.equals(OD_ORBITS)
    assert (len(orbits), len(members)) == (0, 0)


def test_a_star_that_does_not_move_has_no_orbit(truth):
    """Far and fast enough, an orbit would go along with the Earth and stay where the star is."""
    survey = truth.survey
    rows = max(truth.findable.values(), key=len)
    star = survey.line_of_sight[rows[0]].copy()
    still = [np.array(getattr(survey, name)) for name in ("line_of_sight", "east", "north")]
    for values in still:
        values[rows] = values[rows[0]]
    frozen = replace(truth, survey=replace(survey, line_of_sight=still[0], east=still[1], north=still[2]))

    orbits, _, _ = run(frozen, [rows])

    np.testing.assert_array_equal(frozen.survey.line_of_sight[rows[-1]], star)
    assert len(orbits) == 0
