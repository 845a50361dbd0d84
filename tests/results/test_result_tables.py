"""The tables a client is given: complete, readable by adam-core, and the same in every collect."""

import numpy as np
import pyarrow as pa
import pytest
from adam_core.coordinates import CometaryCoordinates
from adam_core.orbit_determination import FittedOrbitMembers
from adam_core.orbits import Orbits
from hypothesis import given
from hypothesis import strategies as st

from tasks.engines.orbit_catalogue import covariances_from_table
from tasks.engines.tables import OBSERVATIONS
from tasks.inputs.csv_text import csv_from_table
from tasks.inputs.job_inputs import InputFiles, read_inputs
from tasks.inputs.orbits_file import read_orbits
from tasks.jobs.checkpoints import parquet_from_table
from tasks.results.adam_core_tables import adam_core_members, adam_core_orbits
from tasks.results.job_detections import detections_from_csv
from tasks.results.merge_results import MergedResults
from tasks.results.recovered_tables import complete_tables, trk_subs
from tests.support.job_inputs import whole_demo
from tests.support.recovered import merged_demo

AXES = ("x", "y", "z", "vx", "vy", "vz")


@pytest.fixture(scope="module")
def completed():
    merged, observations = merged_demo()
    detections = detections_from_csv(csv_from_table(observations), merged.members["obs_id"])
    return complete_tables(merged, detections)


def test_adam_core_reads_the_same_orbits(completed, tmp_path):
    path = tmp_path / "orbits.parquet"
    path.write_bytes(parquet_from_table(adam_core_orbits(completed.orbits)))

    orbits = Orbits.from_parquet(str(path))

    assert orbits.orbit_id.to_pylist() == completed.orbits["orbit_id"].to_pylist()
    assert (orbits.coordinates.frame, orbits.coordinates.time.scale) == ("ecliptic", "tdb")
    np.testing.assert_array_equal(orbits.coordinates.values, np.column_stack([completed.orbits[n] for n in AXES]))
    np.testing.assert_allclose(orbits.coordinates.time.mjd(), completed.orbits["epoch"], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(orbits.coordinates.covariance.to_matrix(), covariances_from_table(completed.orbits))
    assert orbits.physical_parameters.H_v.to_pylist() == completed.orbits["H"].to_pylist()
    assert orbits.coordinates.origin.code.to_pylist() == ["SUN"] * len(orbits)


@pytest.mark.parametrize("name", ["recovered_orbits.csv", "recovered_orbits.parquet", "adam_core.parquet"])
def test_recovered_orbits_are_test_orbits_as_they_are(completed, tmp_path, name):
    bodies = {
        "recovered_orbits.csv": csv_from_table,
        "recovered_orbits.parquet": parquet_from_table,
        "adam_core.parquet": lambda orbits: parquet_from_table(adam_core_orbits(orbits)),
    }
    (tmp_path / name).write_bytes(bodies[name](completed.orbits))

    found = read_orbits(tmp_path / name)

    for column in ("orbit_id", *AXES, "covariance"):
        assert found[column].to_pylist() == completed.orbits[column].to_pylist()
    np.testing.assert_allclose(found["epoch"], completed.orbits["epoch"], rtol=0, atol=1e-9)


def test_cometary_elements_and_sigmas_are_adam_cores(completed, tmp_path):
    path = tmp_path / "orbits.parquet"
    path.write_bytes(parquet_from_table(adam_core_orbits(completed.orbits)))

    theirs = Orbits.from_parquet(str(path)).to_cometary()

    assert isinstance(theirs, CometaryCoordinates)
    bound = completed.orbits["e"].to_numpy() < 0.9
    for name in ("q", "tp"):
        sigma = completed.orbits[f"{name}_sigma"].to_numpy()
        np.testing.assert_allclose(getattr(theirs, f"sigma_{name}")[bound], sigma[bound], rtol=0.01)
        difference = getattr(theirs, name).to_numpy() - completed.orbits[name].to_numpy()
        np.testing.assert_allclose(difference[bound] / sigma[bound], 0.0, atol=1e-4)


def test_adam_core_reads_the_same_members(completed, tmp_path):
    path = tmp_path / "members.parquet"
    path.write_bytes(parquet_from_table(adam_core_members(completed.members)))

    members = FittedOrbitMembers.from_parquet(str(path))

    assert members.obs_id.to_pylist() == completed.members["obs_id"].to_pylist()
    assert members.outlier.to_pylist() == [bool(each) for each in completed.members["outlier"].to_pylist()]
    residuals = np.stack(members.residuals.values.to_numpy(zero_copy_only=False))
    np.testing.assert_allclose(residuals[:, 1] * 3600.0, completed.members["residual_ra_arcsec"], atol=1e-12)
    np.testing.assert_allclose(residuals[:, 2] * 3600.0, completed.members["residual_dec_arcsec"], atol=1e-12)


def test_an_orbit_without_a_covariance_is_written_without_one(completed, tmp_path):
    column = completed.orbits.column_names.index("covariance")
    some = pa.array([None, *completed.orbits["covariance"].to_pylist()[1:]], pa.list_(pa.float64(), 21))
    path = tmp_path / "orbits.parquet"
    path.write_bytes(parquet_from_table(adam_core_orbits(completed.orbits.set_column(column, "covariance", some))))

    orbits = Orbits.from_parquet(str(path))

    known = ~np.isnan(orbits.coordinates.covariance.to_matrix()).all(axis=(1, 2))
    assert known.tolist() == [False] + [True] * (len(orbits) - 1)


def test_members_have_their_detection(completed):
    _, observations = merged_demo()
    rows = {row["obs_id"]: row for row in observations.to_pylist()}

    for member in completed.members.to_pylist():
        row = rows[member["obs_id"]]
        assert (member["mjd_utc"], member["RA_deg"], member["mag"]) == (row["mjd_utc"], row["RA_deg"], row["mag"])
        assert member["chi"] == pytest.approx(member["chi2"] ** 0.5)


def test_quality_says_what_the_residuals_and_times_say(completed):
    members = completed.members.to_pandas()
    for row in completed.orbits.to_pylist():
        used = members[(members["orbit_id"] == row["orbit_id"]) & (members["outlier"] == 0)]
        square = (used["residual_ra_arcsec"] ** 2 + used["residual_dec_arcsec"] ** 2).mean() / 2.0
        assert row["rms_arcsec"] == pytest.approx(square**0.5)
        assert row["num_outliers"] == len(members[members["orbit_id"] == row["orbit_id"]]) - len(used)
        assert (row["num_observatories"], row["num_oppositions"]) == (1, 1)
        assert row["quality_flags"] == ""


def test_a_gap_of_a_season_makes_another_opposition_and_few_nights_are_flagged(completed):
    merged, observations = merged_demo()
    first = merged.members["obs_id"][0].as_py()
    times = [
        mjd - 400.0 if obs_id == first else mjd
        for obs_id, mjd in zip(observations["obs_id"].to_pylist(), observations["mjd_utc"].to_pylist(), strict=True)
    ]
    moved = observations.set_column(1, "mjd_utc", pa.array(times))
    nights = merged.orbits.column_names.index("num_nights")
    two = pa.array([2, *merged.orbits["num_nights"].to_pylist()[1:]], pa.int32())
    merged = MergedResults(merged.orbits.set_column(nights, "num_nights", two), merged.members, merged.n_before)

    found = complete_tables(merged, detections_from_csv(csv_from_table(moved), merged.members["obs_id"]))

    assert found.orbits["num_oppositions"].to_pylist()[:2] == [2, 1]
    assert found.orbits["quality_flags"].to_pylist()[:2] == ["few_nights", ""]


@pytest.mark.parametrize(("dates", "flags"), [(2, "few_nights"), (3, "")])
def test_a_night_at_several_observatories_is_one_night_to_the_flag(dates, flags):
    merged, observations = merged_demo()
    every = range(len(observations))
    # The engine counts each observatory's nights apart; its num_nights stay 7 or 8 here.
    columns = {
        "mjd_utc": [60000.2 + k % dates for k in every],
        "observatory_code": [("X05", "W84", "I41")[k // dates % 3] for k in every],
    }
    for name, values in columns.items():
        observations = observations.set_column(observations.column_names.index(name), name, pa.array(values))

    found = complete_tables(merged, detections_from_csv(csv_from_table(observations), merged.members["obs_id"]))

    assert found.orbits["quality_flags"].to_pylist() == [flags] * len(merged.orbits)


def test_with_a_catalogue_objects_get_their_names():
    merged, observations = merged_demo()
    detections = detections_from_csv(csv_from_table(observations), merged.members["obs_id"])
    catalogue = whole_demo().test_orbits

    named = complete_tables(merged, detections, catalogue).orbits
    unnamed = complete_tables(
        merged, detections, catalogue.filter(pa.compute.equal(catalogue["orbit_id"], "Hebe"))
    ).orbits

    assert named["known_object"].to_pylist() == merged.orbits["found_by"].to_pylist()
    assert max(named["known_separation_arcsec"].to_pylist()) < 0.3
    assert [name for name in unnamed["known_object"].to_pylist() if name] == ["Hebe"]


def test_our_own_table_for_adam_core_is_a_catalogue_and_a_file_of_test_orbits(completed, tmp_path):
    merged, observations = merged_demo()
    path = tmp_path / "recovered_orbits_adam_core.parquet"
    path.write_bytes(parquet_from_table(adam_core_orbits(completed.orbits)))
    (tmp_path / "observations.csv").write_bytes(csv_from_table(observations))

    inputs = read_inputs(InputFiles(tmp_path / "observations.csv", path))
    detections = detections_from_csv(csv_from_table(observations), merged.members["obs_id"])
    named = complete_tables(merged, detections, read_orbits(path)).orbits

    assert list(inputs.orbit_ids) == completed.orbits["orbit_id"].to_pylist()
    assert all(b"cov_vz_vz" in body for body in inputs.orbit_csvs)
    assert named["known_object"].to_pylist() == completed.orbits["orbit_id"].to_pylist()


def test_without_observations_in_the_bucket_what_they_tell_is_null(completed):
    merged, _ = merged_demo()

    found = complete_tables(merged, detections_from_csv(b"", merged.members["obs_id"]))

    assert found.orbits["num_observatories"].null_count == len(found.orbits)
    assert found.members["mjd_utc"].null_count == len(found.members)
    assert found.orbits["trkSub"].to_pylist() == completed.orbits["trkSub"].to_pylist()


@given(st.lists(st.sets(st.text(min_size=1, max_size=5), min_size=1), unique_by=frozenset, max_size=20), st.randoms())
def test_a_set_of_detections_has_one_name_of_8_characters_whatever_the_order(sets, random):
    names = trk_subs([list(each) for each in sets])
    shuffled = list(range(len(sets)))
    random.shuffle(shuffled)
    again = trk_subs([random.sample(sorted(sets[row]), len(sets[row])) for row in shuffled])

    assert len(set(names)) == len(names)
    assert all(len(name) == 8 and name.isalnum() and name[0] == "T" for name in names)
    assert [names[row] for row in shuffled] == again


@pytest.mark.parametrize("count", [0, 1, 3, 50_000])
def test_detections_are_thinned_evenly_and_counted(count):
    table = pa.table(
        {
            "obs_id": [f"o{row}" for row in range(count)],
            "mjd_utc": np.arange(count) / 1000.0,
            "RA_deg": np.linspace(0.0, 359.0, count),
            "Dec_deg": np.zeros(count),
            "observatory_code": ["070"] * count,
        },
        schema=pa.schema(
            [OBSERVATIONS.field(n) for n in ("obs_id", "mjd_utc", "RA_deg", "Dec_deg", "observatory_code")]
        ),
    )

    found = detections_from_csv(csv_from_table(table), pa.chunked_array([["o2", "nobody", "o0"]]))

    assert found.n_detections == count
    assert found.n_of_observatory == ({"070": count} if count else {})
    assert found.asked["obs_id"].to_pylist() == [f"o{row}" if 0 <= row < count else None for row in (2, -1, 0)]
    assert len(found.drawn) == -(-count // found.thinning)
    assert len(found.drawn) <= 25_000
    np.testing.assert_allclose(np.diff(found.drawn["RA_deg"].to_numpy()), found.thinning * 359.0 / max(count - 1, 1))
