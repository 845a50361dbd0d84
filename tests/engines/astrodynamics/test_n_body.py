"""Propagation against JPL Horizons positions (adam-core ships 90 for each of 28 objects) and against ASSIST."""

from importlib.resources import files

import numpy as np
import pytest
from adam_core.orbits import Orbits
from adam_core.utils.helpers import make_real_orbits

from tasks.engines.builtin.astrodynamics import assist, encke, n_body, planets
from tasks.engines.builtin.astrodynamics.n_body import force_model_named, propagate
from tasks.engines.builtin.astrodynamics.planets import planet_positions, planetary_shifts
from tasks.engines.builtin.astrodynamics.two_body import propagate_two_body
from tasks.engines.errors import EngineInputError, EngineMissingError

KM_PER_AU = 149_597_870.7

LARGER_ERRORS_KM = {
    # Horizons integrates from the epoch of its own solution, 586 days away, with an encounter of the Earth between.
    "3753 Cruithne (1986 TO)": 200.0,
    # Comet-like outgassing, which no gravity explains (Micheli et al. 2018).
    "1I/'Oumuamua (A/2017 U1)": 6000.0,
}


def horizons_states() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Object -> times (MJD TDB) and states of Horizons."""
    table = Orbits.from_parquet(files("adam_core.utils.helpers.data").joinpath("propagated_orbits.parquet"))
    names = np.array([name.replace("(2010 TK7)", "706765 (2010 TK7)") for name in table.object_id.to_pylist()])
    names = np.array([name.replace("706765 706765", "706765") for name in names])
    times, states = table.coordinates.time.rescale("tdb").mjd().to_numpy(), table.coordinates.values
    return {str(name): (times[names == name], states[names == name]) for name in np.unique(names)}


HORIZONS = horizons_states()
ORBITS = make_real_orbits()


@pytest.mark.parametrize("name", ORBITS.object_id.to_pylist())
def test_it_goes_where_horizons_says(name):
    row = ORBITS.object_id.to_pylist().index(name)
    epoch = ORBITS.coordinates.time.rescale("tdb").mjd().to_numpy()[row]
    times, states = HORIZONS[name]

    moved = propagate(ORBITS.coordinates.values[row : row + 1], epoch, times)[0]

    error_km = np.linalg.norm(moved[:, :3] - states[:, :3], axis=1).max() * KM_PER_AU
    assert error_km < LARGER_ERRORS_KM.get(name, 20.0)


@pytest.mark.parametrize("name", [name for name in HORIZONS if "Oumuamua" not in name])
def test_two_weeks_from_a_state_of_horizons_are_good_to_a_hundred_meters(name):
    times, states = HORIZONS[name]
    fortnight = times < times[0] + 14.0

    moved = propagate(states[:1], times[0], times[fortnight])[0]

    assert np.linalg.norm(moved[:, :3] - states[fortnight, :3], axis=1).max() * KM_PER_AU < 0.1


@pytest.mark.skipif(not assist.is_available(), reason="the extra nbody is not installed")
def test_it_agrees_with_assist_to_a_billionth_of_an_arcsecond_over_two_weeks():
    rng = np.random.default_rng(3)
    a, angle = rng.uniform(0.7, 40.0, 60), rng.uniform(0.0, 2 * np.pi, 60)
    speed = np.sqrt(n_body.planets.MU_SUN / a) * rng.uniform(0.8, 1.5, 60)
    states = np.stack(
        [a * np.cos(angle), a * np.sin(angle), 0.1 * a, -speed * np.sin(angle), speed * np.cos(angle), 0.05 * speed], 1
    )
    times = 59000.0 + np.array([-7.0, -3.3, 0.0, 0.01, 4.0, 7.0])

    ours, theirs = (propagate(states, 59000.0, times, model) for model in ("n-body", "assist"))

    # 16 asteroids and the figures of Sun and Earth are what ASSIST has more.
    np.testing.assert_allclose(ours[..., :3], theirs[..., :3], atol=1e-9)
    np.testing.assert_allclose(ours[..., 3:], theirs[..., 3:], atol=1e-10)


@pytest.mark.skipif(not assist.is_available(), reason="the extra nbody is not installed")
def test_it_agrees_with_assist_over_decades():
    names = ORBITS.object_id.to_pylist()
    row = next(row for row, name in enumerate(names) if "Eros" in name)
    epoch = ORBITS.coordinates.time.rescale("tdb").mjd()[row].as_py()
    times = epoch + np.array([-7305.0, 3652.0])

    ours, theirs, two_bodies = (
        propagate(ORBITS.coordinates.values[row : row + 1], epoch, times, model)
        for model in ("n-body", "assist", "2-body")
    )

    # What remains is the pull of the 16 asteroids that ASSIST knows.
    assert np.abs(ours - theirs).max() < 1e-6
    assert np.abs(two_bodies - theirs)[0, :, :3].max() > 1e-3


@pytest.mark.skipif(not assist.is_available(), reason="the extra nbody is not installed")
def test_an_asteroid_of_assists_own_does_not_stall_it():
    row = next(row for row, name in enumerate(ORBITS.object_id.to_pylist()) if "Pallas" in name)
    epoch = ORBITS.coordinates.time.rescale("tdb").mjd().to_numpy()[row]

    distance = np.linalg.norm(assist.asteroid_positions(epoch) - ORBITS.coordinates.values[row, :3], axis=1)
    moved = propagate(ORBITS.coordinates.values[row : row + 1], epoch, np.array([epoch + 14.0]), "assist")

    assert distance.argmin() == assist.ASTEROIDS_OF_ASSIST.index(2)
    assert distance.min() < 1e-4
    assert moved.shape == (1, 1, 6)


def test_a_passage_by_the_earth_is_the_same_there_and_back():
    earth = planet_positions(np.array([59000.0, 59000.01]))[:, 2]
    # 0.003 au above the Earth, a little beyond the Moon's distance (0.0026 au), at 12 km/s
    state = np.concatenate([earth[0] + [0.0, 0.0, 0.003], (earth[1] - earth[0]) / 0.01 + [0.007, 0.0, 0.0]])

    after = propagate(state[None], 59000.0, np.array([59010.0]))[0, 0]
    back = propagate(after[None], 59010.0, np.array([59000.0]))[0, 0]

    unperturbed = propagate_two_body(state, np.array([10.0]))[0]
    assert np.linalg.norm(after[:3] - unperturbed[:3]) > 1e-4
    np.testing.assert_allclose(back, state, atol=1e-9)


def test_in_two_parts_it_goes_as_in_one():
    state = np.array([[1.1, 0.4, 0.02, -0.006, 0.0145, 0.001]])

    at_once = propagate(state, 58000.0, np.array([58400.0]))
    half_way = propagate(state, 58000.0, np.array([58170.0]))[:, 0]

    np.testing.assert_allclose(propagate(half_way, 58170.0, np.array([58400.0])), at_once, atol=1e-10)


def test_relativity_turns_the_perihelion_of_mercury_by_43_arcseconds_a_century():
    """42.98 arcsec a century (Will 2018, Phys. Rev. Lett. 120, 191101), from what one revolution adds."""
    q, a, e = 0.3075, 0.3871, 0.2056
    state = np.array([q, 0.0, 0.0, 0.0, np.sqrt(n_body.planets.MU_SUN / a * (1 + e) / (1 - e)), 0.0])
    period = 2 * np.pi * np.sqrt(a**3 / n_body.planets.MU_SUN)
    times = np.linspace(0.0, period, 2000)

    shifts = sun_alone(state, times)

    moved = propagate_two_body(state, times) + shifts
    direction = runge_lenz(moved[-1])
    turned = np.arctan2(direction[1], direction[0])
    assert np.degrees(turned) * 3600 * 36525 / period == pytest.approx(42.98, rel=0.01)


def sun_alone(state: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The integrator with planets that weigh nothing."""
    count = int(np.ceil(times[-1] / 2.0))
    length = times[-1] / count
    nowhere = np.full((count, encke.POINTS, 1, 3), 50.0)
    out = np.full((1, len(times), 6), np.nan)
    segments = (0.0, length, nowhere, np.zeros(1), encke.quadrature())
    encke.integrate_each(state[None], times, *segments, np.zeros((1, 6)), out)
    out[:, times == 0.0] = 0.0
    return out[0]


def runge_lenz(state: np.ndarray) -> np.ndarray:
    r, v = state[:3], state[3:]
    return np.cross(v, np.cross(r, v)) / n_body.planets.MU_SUN - r / np.linalg.norm(r)


def test_times_may_come_in_any_order_and_be_repeated():
    state = np.array([[2.5, 0.1, 0.0, 0.0, 0.0105, 0.001]])
    times = np.array([59003.0, 58990.0, 59000.0, 59003.0])

    moved = propagate(state, 59000.0, times)

    np.testing.assert_array_equal(moved[:, 0], moved[:, 3])
    np.testing.assert_array_equal(moved[0, 2], state[0])
    np.testing.assert_allclose(moved[:, 1], propagate(state, 59000.0, times[1:2])[:, 0], atol=1e-13)


def test_an_orbit_that_is_not_finite_does_not_harm_the_others():
    states = np.array([[np.nan] * 6, [2.5, 0.1, 0.0, 0.0, 0.0105, 0.001]])

    shifts = planetary_shifts(states, 59000.0, np.array([59005.0]))

    assert np.isnan(shifts[0]).all()
    assert np.isfinite(shifts[1]).all()


def test_without_orbits_or_times_there_is_nothing():
    assert propagate(np.empty((0, 6)), 59000.0, np.array([59001.0])).shape == (0, 1, 6)
    assert propagate(np.ones((2, 6)), 59000.0, np.empty(0)).shape == (2, 0, 6)


def test_an_unknown_force_model_is_refused_by_name():
    with pytest.raises(EngineInputError, match=r"'newton'.*n-body, assist, 2-body"):
        force_model_named("newton")


def test_assist_is_refused_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(assist.importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(EngineMissingError, match="extra 'nbody'"):
        force_model_named("assist")


def test_descriptions_name_what_moves_the_body_and_the_version():
    assert n_body.description("2-body") == "2-body"
    assert "DE440" in n_body.description("n-body")
    assert "thor-taskqueue builtin" in n_body.description("n-body")


# --- long spans

EPOCH = 53800.0
DECADES = np.linspace(48557.0, 59074.0, 601)
"""1991 to 2020, both sides of the epoch."""

SUNGRAZER = np.array([1.0, 0.0, 0.0, 0.0, 0.001, 0.0001])


def beside_planet(number: int, away: list[float]) -> np.ndarray:
    """A state that goes along with a planet."""
    places = planet_positions(np.array([EPOCH, EPOCH + 0.01]))[:, number]
    return np.concatenate([places[0] + away, (places[1] - places[0]) / 0.01])


@pytest.fixture
def looked_up(monkeypatch):
    """How many times of planets each look-up asks for."""
    sizes = []
    real = planets.planet_positions
    monkeypatch.setattr(planets, "planet_positions", lambda times: (sizes.append(len(times)), real(times))[1])
    return sizes


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(SUNGRAZER, id="sungrazer"),
        pytest.param(beside_planet(0, [0.0, 0.0, 0.001]), id="beside Mercury"),
        pytest.param(beside_planet(2, [0.003, 0.0, 0.0]), id="beside the Earth"),
        pytest.param(beside_planet(2, [0.0, 0.0, 0.0]), id="at the Earth"),
    ],
)
def test_steps_and_memory_of_an_orbit_have_a_bound_whatever_the_span(state, looked_up):
    planetary_shifts(state[None], EPOCH, DECADES)

    in_segments = [size for size in looked_up if size % encke.POINTS == 0]
    samples = 2 * (DECADES[-1] - DECADES[0]) + 200
    assert max(looked_up) <= planets.SEGMENTS_AT_ONCE * encke.POINTS
    assert sum(in_segments) <= 2 * planets.MOST_SEGMENTS * encke.POINTS + samples
    assert sum(looked_up) <= 2 * planets.MOST_SEGMENTS * encke.POINTS + 2 * samples


def test_an_orbit_that_has_used_up_its_segments_ends_there_on_both_sides_and_the_others_go_on():
    belt = np.array([2.5, 0.0, 0.0, 0.0, 0.0105, 0.001])

    alone = planetary_shifts(belt[None], EPOCH, DECADES)
    grazing, beside = planetary_shifts(np.stack([SUNGRAZER, belt]), EPOCH, DECADES)

    followed = np.isfinite(grazing).all(axis=1)
    assert np.abs(DECADES[followed] - EPOCH).max() <= planets.MOST_SEGMENTS * planets.SHORTEST_SEGMENT_DAYS
    assert followed[DECADES > EPOCH].any()
    assert followed[DECADES < EPOCH].any()
    np.testing.assert_array_equal(beside, alone[0])


def test_stretches_and_pieces_make_no_difference_to_a_passage_years_away(monkeypatch):
    """0.003 au from the Earth after three years: its short segments are those of one stretch alone."""
    earth = planet_positions(np.array([EPOCH + 1100.0, EPOCH + 1100.01]))[:, 2]
    there = np.concatenate([earth[0] + [0.0, 0.0, 0.003], (earth[1] - earth[0]) / 0.01 + [0.007, 0.0, 0.0]])
    state = propagate(there[None], EPOCH + 1100.0, np.array([EPOCH]))[0]
    times = EPOCH + np.linspace(0.0, 1500.0, 40)

    in_stretches = planetary_shifts(state, EPOCH, times)
    monkeypatch.setattr(planets, "STRETCH_DAYS", 1e6)
    monkeypatch.setattr(planets, "SEGMENTS_AT_ONCE", 10**6)
    monkeypatch.setattr(planets, "MOST_SEGMENTS", 10**6)
    at_once = planetary_shifts(state, EPOCH, times)

    before = times < EPOCH + 1100.0
    np.testing.assert_allclose(in_stretches[0, before], at_once[0, before], atol=1e-10)
    # The passage multiplies what the last bits differ by.
    np.testing.assert_allclose(in_stretches[0], at_once[0], atol=1e-7)
