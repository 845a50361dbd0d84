import numpy as np
import pytest

from tasks.engines.builtin.astrodynamics.constants import SPEED_OF_LIGHT
from tasks.engines.builtin.astrodynamics.n_body import propagate
from tasks.engines.builtin.fitting.attribution import attribute
from tasks.engines.builtin.fitting.n_body_shifts import n_body_shifts
from tasks.engines.builtin.fitting.sky_index import sky_index
from tests.engines.fit_stages import small_sky

ARCSEC = np.radians(1 / 3600)


@pytest.fixture(scope="module")
def truth():
    return small_sky()


@pytest.fixture(scope="module")
def orbits(truth):
    """True states of all objects, and some fast ones that see the whole sky pass."""
    epoch = truth.bench.truth_states["epoch"][0].as_py()
    true = np.array(list(truth.states_at(epoch).values()))
    fast = true[:5] * np.array([0.45, 0.45, 0.45, -1.6, 1.6, 1.6])
    return np.concatenate([true, fast]), epoch


def found_by(truth, orbits, *, low=-np.inf, high=np.inf, radius=ARCSEC, sigmas=0.0):
    states, epoch = orbits
    survey = truth.survey
    count = len(states)
    first, last = survey.exposure_mjd_tdb[0], survey.exposure_mjd_tdb[-1]
    shifts = n_body_shifts(
        states, np.full(count, epoch), np.full(count, first - 0.1), np.full(count, last + 0.1), "n-body", 10
    )
    windows = np.full(count, max(low, first)), np.full(count, min(high, last))
    members = attribute(survey, sky_index(survey), states, np.full(count, epoch), shifts, *windows, radius, sigmas)
    return set(zip(members.owner.tolist(), members.obs_index.tolist(), strict=True))


def by_brute_force(truth, orbits, radius=ARCSEC):
    """Every orbit at every exposure against every detection of it."""
    states, epoch = orbits
    survey, found = truth.survey, set()
    delay = np.zeros((len(states), survey.n_exposures))
    for _ in range(4):
        positions = np.array(
            [
                propagate(state[None], epoch, survey.exposure_mjd_tdb - late)[0, :, :3]
                for state, late in zip(states, delay, strict=True)
            ]
        )
        delay = np.linalg.norm(positions - survey.observer_position, axis=2) / SPEED_OF_LIGHT
    toward = positions - survey.observer_position
    toward /= np.linalg.norm(toward, axis=2)[..., None]
    for exposure in range(survey.n_exposures):
        rows = np.flatnonzero(survey.exposure == exposure)
        gaps = np.linalg.norm(survey.line_of_sight[rows][None] - toward[:, exposure][:, None], axis=2)
        for orbit in np.flatnonzero(gaps.min(axis=1) <= radius):
            found.add((int(orbit), int(rows[gaps[orbit].argmin()])))
    return found


@pytest.mark.parametrize("radius_arcsec", [1.0, 120.0])
def test_it_finds_what_a_search_through_everything_finds(truth, orbits, radius_arcsec):
    expected = by_brute_force(truth, orbits, radius_arcsec * ARCSEC)

    assert found_by(truth, orbits, radius=radius_arcsec * ARCSEC) == expected
    assert len(expected) > 300


def test_true_orbits_find_all_of_their_own_detections(truth, orbits):
    names = list(truth.states_at(orbits[1]))
    found = found_by(truth, orbits)

    own = {(row, int(i)) for row, name in enumerate(names) for i in np.flatnonzero(truth.objects == name)}
    assert own <= found


def test_nothing_is_found_outside_the_window(truth, orbits):
    times = truth.survey.exposure_mjd_tdb
    low, high = times[40], times[120]

    found = found_by(truth, orbits, low=low, high=high)

    seen = times[truth.survey.exposure[[i for _, i in found]]]
    assert seen.min() >= low
    assert seen.max() <= high
    assert found == {(k, i) for k, i in found_by(truth, orbits) if low <= times[truth.survey.exposure[i]] <= high}


def test_the_radius_in_sigmas_counts_where_it_is_larger(truth, orbits):
    # sigma is 0.1 arcsec: half a sigma of radius misses most, 4.5 sigmas find nearly all
    assert len(found_by(truth, orbits, radius=0.05 * ARCSEC)) < 0.4 * len(found_by(truth, orbits))
    assert len(found_by(truth, orbits, radius=0.05 * ARCSEC, sigmas=4.5)) > 0.99 * len(found_by(truth, orbits))


def test_a_wide_radius_takes_one_detection_of_each_exposure(truth, orbits):
    states, epoch = orbits
    one = states[:1], epoch
    everything = found_by(truth, one, radius=np.radians(3.0))

    assert len(everything) <= truth.survey.n_exposures
    assert everything == by_brute_force(truth, one, np.radians(3.0))
