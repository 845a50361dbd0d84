from dataclasses import replace

import numpy as np
import pytest

from tasks.engines.builtin.astrodynamics import assist
from tasks.engines.builtin.astrodynamics.n_body import propagate
from tasks.engines.builtin.astrodynamics.planets import planet_positions
from tasks.engines.builtin.astrodynamics.two_body import positions_of_many
from tasks.engines.builtin.fitting.determination import FitStart, determine_orbits
from tasks.engines.builtin.fitting.n_body_shifts import n_body_shifts
from tasks.engines.builtin.fitting.shared_epochs import shared_epochs
from tasks.engines.settings import OrbitDeterminationSettings
from tests.engines.fitting_sky import EPOCH, KINDS, nights, rows_of

SETTINGS = OrbitDeterminationSettings()


def determine(rows, start, settings=SETTINGS):
    first = np.array([0, len(rows)])
    return determine_orbits(rows, first, FitStart(start[None], np.array([EPOCH])), settings, min_observations=6)


@pytest.mark.parametrize("state", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("every", [2.0, 8.0])
def test_n_body_astrometry_is_fitted_by_the_n_body_orbit(state, every):
    rows = rows_of(state, nights(8, every=every), model="n-body")

    determined = determine(rows, state * 1.003)

    sigma = np.sqrt(np.diag(determined.fitted.covariance[0]))
    assert determined.shifts.is_n_body.all()
    assert determined.fitted.chi2[0] < 1e-2
    assert (np.abs(determined.fitted.state[0] - state) < 0.05 * sigma).all()


def test_two_bodies_do_not_fit_two_months_near_the_earth_but_n_bodies_do():
    state = KINDS["near Earth"]
    rows = rows_of(state, nights(15, every=4.0), model="n-body", sigma_rad=np.radians(0.02 / 3600))

    with_two = determine(rows, state, replace(SETTINGS, force_model="2-body"))
    with_all = determine(rows, state)

    assert with_two.fitted.chi2[0] > 100 * max(with_all.fitted.chi2[0], 0.1)
    assert with_two.force_models(replace(SETTINGS, force_model="2-body")) == ["2-body"]
    assert "DE440" in with_all.force_models(SETTINGS)[0]


@pytest.mark.skipif(not assist.is_available(), reason="the extra nbody is not installed")
def test_assist_gives_the_same_orbit():
    state = KINDS["main belt"]
    rows = rows_of(state, nights(7), model="n-body")

    ours, theirs = determine(rows, state), determine(rows, state, replace(SETTINGS, force_model="assist"))

    sigma = np.sqrt(np.diag(ours.fitted.covariance[0]))
    assert (np.abs(ours.fitted.state - theirs.fitted.state)[0] < 0.01 * sigma).all()
    assert "adam-assist" in theirs.force_models(replace(SETTINGS, force_model="assist"))[0]


@pytest.mark.parametrize("state", KINDS.values(), ids=KINDS)
def test_interpolated_shifts_are_those_that_are_integrated(state):
    times = np.linspace(EPOCH - 29.0, EPOCH + 29.0, 37)
    shifts = n_body_shifts(state[None], np.array([EPOCH]), times[:1], times[-1:], "n-body", SETTINGS.n_body_times)

    interpolated = shifts.at(np.zeros(37, np.int64), times)

    exact = propagate(state[None], EPOCH, times)[0, :, :3] - positions_of_many(state[None], times - EPOCH)[0]
    # 1e-9 au at 1 au is two milliarcseconds, a fiftieth of a good ground-based sigma
    np.testing.assert_allclose(interpolated.values, exact, atol=1e-9)


def test_orbits_of_several_epochs_have_spans_of_their_own():
    states = np.array([KINDS["main belt"]] * 3)
    epochs = np.array([EPOCH, EPOCH + 400.0, EPOCH])

    shifts = n_body_shifts(
        states, epochs, epochs - np.array([7.0, 6.0, 3.0]), epochs + np.array([3.0, 6.0, 7.0]), "n-body", 6
    )

    assert shifts.low.tolist() == [EPOCH - 7.0, EPOCH + 394.0, EPOCH - 7.0]
    assert shifts.high.tolist() == [EPOCH + 7.0, EPOCH + 406.0, EPOCH + 7.0]
    np.testing.assert_array_equal(shifts.values[0], shifts.values[2])


def test_an_orbit_that_cannot_be_integrated_moves_in_two_bodies_and_says_so():
    states = np.array([KINDS["main belt"], [np.nan] * 6])

    shifts = n_body_shifts(states, np.full(2, EPOCH), np.full(2, EPOCH - 5), np.full(2, EPOCH + 5), "n-body", 6)

    assert shifts.is_n_body.tolist() == [True, False]
    assert not shifts.values[1].any()


def test_arcs_close_in_time_share_the_epoch_in_the_middle_of_all():
    first, last = np.array([59000.0, 59004.0, 59001.0]), np.array([59010.0, 59013.2, 59002.0])

    assert shared_epochs(first, last, 60.0).tolist() == [59006.6] * 3


def test_arcs_years_apart_have_epochs_of_their_own():
    first, last = np.array([59000.0, 50000.0, 59020.0]), np.array([59010.0, 50014.0, 59030.0])

    assert shared_epochs(first, last, 60.0).tolist() == [59015.0, 50007.0, 59015.0]


def test_no_arcs_have_no_epochs():
    assert len(shared_epochs(np.empty(0), np.empty(0), 60.0)) == 0


# A third of an au from Jupiter at EPOCH, going along with it.
BESIDE_JUPITER = planet_positions(np.array([EPOCH]))[0, 5] + np.array([-0.2, -0.3, 0.05])
STRETCHED = np.concatenate([BESIDE_JUPITER, 1.02 * np.array([0.0067, 0.0031, -0.00016])])


def shifts_over_two_weeks(state, model="n-body"):
    return n_body_shifts(state[None], np.array([EPOCH]), np.array([EPOCH - 7]), np.array([EPOCH + 7]), model, 10)


def test_slopes_say_how_the_shifts_of_an_orbit_beside_jupiter_change():
    nudge = 2e-4 * np.array([5.0, -3.0, 1.0, 0.006, 0.004, -0.002])
    times = np.linspace(EPOCH - 7.0, EPOCH + 7.0, 8)
    owner = np.zeros(8, np.int64)
    here, there = (shifts_over_two_weeks(state).at(owner, times) for state in (STRETCHED, STRETCHED + nudge))

    predicted = here.values + here.slopes @ nudge

    assert np.abs(there.values - here.values).max() > 1e-7
    np.testing.assert_allclose(predicted, there.values, atol=0.02 * np.abs(there.values - here.values).max())


def test_only_orbits_that_a_planet_stretches_have_slopes():
    states = np.array([KINDS["main belt"], STRETCHED, KINDS["distant"], STRETCHED])
    epochs, low, high = np.full(4, EPOCH), np.full(4, EPOCH - 7), np.full(4, EPOCH + 7)

    shifts = n_body_shifts(states, epochs, low, high, "n-body", 6)

    assert shifts.slopes.row.tolist() == [-1, 0, -1, 1]
    swapped = shifts.of(np.array([3, 0])).joined(shifts.of(np.array([1])))
    assert swapped.slopes.row.tolist() == [0, -1, 1]
    np.testing.assert_array_equal(swapped.slopes.values, shifts.slopes.values[[1, 0]])
    replaced = shifts.with_replaced(np.array([1, 2]), shifts.of(np.array([0, 3])))
    assert replaced.slopes.row.tolist() == [-1, -1, 0, 1]
    np.testing.assert_array_equal(replaced.origins, states[[0, 0, 3, 3]])
    two_bodies = n_body_shifts(states, epochs, low, high, "2-body", 6)
    assert not len(two_bodies.slopes.values)


def test_an_orbit_beside_jupiter_is_fitted_in_one_go():
    rows = rows_of(STRETCHED, nights(8, every=2.0), model="n-body", sigma_rad=np.radians(0.02 / 3600))

    once = determine(rows, STRETCHED * 1.0001, replace(SETTINGS, max_n_body_passes=2))

    sigma = np.sqrt(np.diag(once.fitted.covariance[0]))
    assert once.fitted.chi2[0] < 1e-2
    assert (np.abs(once.fitted.state[0] - STRETCHED) < 0.05 * sigma).all()
