"""Scores against tables small enough to count by hand, and against plain sets."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.engines.builtin.survey import prepare_survey
from tasks.engines.score import CONTAMINATED, FALSE, PURE, Score, score_orbits
from tasks.engines.settings import ClusterAndLinkSettings, EngineSettings
from tasks.engines.tables import OBSERVATIONS

SETTINGS = ClusterAndLinkSettings(min_observations=6, min_nights=3, min_arc_days=1.0)


def sky(seen: dict[str | None, list[float]]) -> tuple[pa.Table, pa.Table]:
    """Observations at the days given for each object: ids like 'a0', 'a1'."""
    rows = [
        (f"{object_id or 'x'}{number}", 60000.2 + day, object_id)
        for object_id, days in seen.items()
        for number, day in enumerate(days)
    ]
    ids, mjd, objects = zip(*rows, strict=True)
    columns = {name: pa.nulls(len(ids), OBSERVATIONS.field(name).type) for name in OBSERVATIONS.names}
    columns |= {
        "obs_id": pa.array(ids),
        "mjd_utc": pa.array(mjd),
        "RA_deg": pa.array(np.linspace(10, 11, len(ids))),
        "Dec_deg": pa.array(np.zeros(len(ids))),
        "observatory_code": pa.array(["X05"] * len(ids)),
    }
    return pa.table(columns, schema=OBSERVATIONS), pa.table(
        {"obs_id": ids, "object_id": pa.array(objects, pa.string())}
    )


def members(orbits: dict[str, list[str]]) -> pa.Table:
    rows = [(orbit, obs) for orbit, observations in orbits.items() for obs in observations]
    return pa.table(
        {
            "orbit_id": pa.array([orbit for orbit, _ in rows], pa.string()),
            "obs_id": pa.array([obs for _, obs in rows], pa.string()),
        }
    )


def ids(name: str, *numbers: int) -> list[str]:
    return [f"{name}{number}" for number in numbers]


def score(seen: dict[str | None, list[float]], orbits: dict[str, list[str]]) -> Score:
    observations, truth = sky(seen)
    return score_orbits(observations, truth, members(orbits), settings=SETTINGS)


EIGHT = [0, 0.02, 1, 1.02, 2, 2.02, 3, 3.02]


@pytest.mark.parametrize(
    ("days", "findable"),
    [
        pytest.param(EIGHT, True, id="eight in four nights"),
        pytest.param([0, 0.02, 1, 1.02, 2], False, id="five"),
        pytest.param([0, 0.01, 0.02, 1, 1.01, 1.02], False, id="two nights"),
        pytest.param([0, 0.02, 1, 1.02, 2, 2.02], True, id="six in three nights"),
    ],
)
def test_an_object_is_findable_by_observations_nights_and_arc(days, findable):
    result = score({"a": days}, {})

    assert result.objects["findable"].to_pylist() == [findable]


def test_an_arc_shorter_than_the_settings_ask_is_not_findable():
    observations, truth = sky({"a": EIGHT})
    long_arc = ClusterAndLinkSettings(min_arc_days=4.0)

    assert score_orbits(observations, truth, members({}), settings=long_arc).findable == 0


def test_a_night_id_wins_over_the_computed_night():
    observations, truth = sky({"a": EIGHT})
    position = observations.schema.get_field_index("night_id")
    one_night = observations.set_column(position, OBSERVATIONS.field("night_id"), pa.array(["n"] * 8))

    assert score_orbits(one_night, truth, members({}), settings=SETTINGS).findable == 0


@pytest.mark.parametrize("names", [None, ["59999", "59999", *[None] * 6], ["a", "b"] * 4])
def test_nights_are_those_that_the_engine_counts(names):
    observations, truth = sky({"a": [0, 0.02, 0.04, 0.06, 1, 1.02, 2, 2.02]})
    columns = {"observatory_code": ["X05", "W84"] * 4, "night_id": names or [None] * 8}
    for name, values in columns.items():
        field = OBSERVATIONS.field(name)
        observations = observations.set_column(
            observations.schema.get_field_index(name), field, pa.array(values, field.type)
        )

    result = score_orbits(observations, truth, members({}), settings=SETTINGS)

    counted = len(set(prepare_survey(observations, EngineSettings()).exposure_sky_night.tolist()))
    assert result.objects["num_nights"].to_pylist() == [counted]


def test_without_orbits_nothing_is_recovered_and_nothing_fails():
    result = score({"a": EIGHT, None: [0, 1]}, {})

    assert (result.findable, result.recovered, result.observation_completeness) == (1, 0, 0.0)
    assert result.orbits.num_rows == 0
    assert np.isnan(result.purity)


def test_a_pure_orbit_recovers_its_object():
    result = score({"a": EIGHT, "b": EIGHT}, {"o1": ids("a", *range(7))})

    row = result.objects.to_pylist()[0]
    assert (row["recovered"], row["orbit_id"], row["recovered_obs"], row["expected_obs"]) == (True, "o1", 7, 8)
    assert (result.recovered, result.findable, result.count(PURE)) == (1, 2, 1)
    assert result.observation_completeness == pytest.approx(7 / 16)


def test_one_detection_of_another_contaminates_an_orbit_and_its_object_does_not_count_as_recovered():
    result = score({"a": EIGHT, None: [0.01]}, {"o1": [*ids("a", *range(8)), "x0"]})

    assert result.count(CONTAMINATED) == 1
    assert result.recovered == 0
    assert result.objects["recovered_obs"].to_pylist() == [8]


def test_a_detection_that_the_fit_rejected_does_not_count():
    observations, truth = sky({"a": EIGHT, None: [0.01]})
    rows = members({"o1": [*ids("a", *range(8)), "x0"]})
    outlier = pa.array([0] * 8 + [1], pa.int8())

    result = score_orbits(observations, truth, rows.append_column("outlier", outlier), settings=SETTINGS)

    assert (result.count(PURE), result.recovered) == (1, 1)


def test_an_orbit_of_several_objects_none_of_which_has_enough_is_false():
    result = score({"a": EIGHT, "b": EIGHT}, {"o1": [*ids("a", 0, 2, 4), *ids("b", 1, 3, 5)]})

    assert result.count(FALSE) == 1
    assert result.objects["num_orbits"].to_pylist() == [0, 0]


def test_an_orbit_of_false_detections_only_has_no_object():
    result = score({None: EIGHT, "a": [0]}, {"o1": ids("x", *range(8))})

    assert result.orbits.to_pylist() == [
        {"orbit_id": "o1", "num_obs": 8, "object_id": None, "object_obs": 0, "contamination": 100.0, "verdict": FALSE}
    ]


def test_a_second_orbit_of_an_object_is_counted_and_the_larger_one_stands_for_it():
    result = score({"a": [*EIGHT, 4, 4.02, 5, 5.02]}, {"o1": ids("a", *range(6)), "o2": ids("a", *range(5, 12))})

    row = result.objects.to_pylist()[0]
    assert (row["num_orbits"], row["orbit_id"], row["recovered_obs"]) == (2, "o2", 7)
    assert result.objects_with_one_orbit == 0


def test_observations_outside_the_cell_may_be_linked_but_are_not_expected():
    observations, truth = sky({"a": EIGHT})
    in_cell = observations.slice(0, 6)

    result = score_orbits(in_cell, truth, members({"o1": ids("a", *range(8))}), settings=SETTINGS)

    assert result.observation_completeness == 1.0
    assert result.count(PURE) == 1


def test_verdicts_agree_with_plain_sets_on_random_orbits():
    rng = np.random.default_rng(11)
    seen = {f"n{k}-": np.sort(rng.uniform(0, 6, rng.integers(3, 12))).tolist() for k in range(25)}
    observations, truth = sky(seen)
    every = observations["obs_id"].to_pylist()
    orbits = {
        f"o{number:02d}": {obs for obs in every if obs.startswith(name)}
        | set(rng.choice(every, size=int(rng.integers(0, 3)), replace=False).tolist())
        for number, name in enumerate(seen)
    }

    result = score_orbits(
        observations, truth, members({name: sorted(own) for name, own in orbits.items()}), settings=SETTINGS
    )

    nights = {name: {int(np.floor(60000.2 + day - 70.8 / 360 - 0.5)) for day in days} for name, days in seen.items()}
    findable = [
        len(days) >= 6 and len(nights[name]) >= 3 and max(days) - min(days) >= 1 for name, days in sorted(seen.items())
    ]
    pure = {name for name, own in orbits.items() if len({obs.split("-")[0] for obs in own}) == 1}
    assert result.objects["findable"].to_pylist() == findable
    assert {row["orbit_id"] for row in result.orbits.to_pylist() if row["verdict"] == PURE} == pure
    assert 0 < len(pure) < len(orbits)
    assert 0 < sum(findable) < len(seen)
