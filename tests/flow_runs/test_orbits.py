"""`python -m flows.orbits`: from a file of observations to a file of test orbits."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adam_core.coordinates import CartesianCoordinates, Origin, transform_coordinates
from adam_core.orbits import Orbits
from adam_core.time import Timestamp

from flows.orbits import main
from tasks.inputs.choose_orbits import orbits_csv
from tasks.inputs.orbits_file import read_orbits
from tasks.jobs.checkpoints import parquet_from_table
from tests.bench.cases import CASES
from tests.bench.survey import generate_survey
from tests.support.commands import run_command


@pytest.fixture(scope="module")
def survey():
    return generate_survey(replace(CASES["20k"], name="small", orbits=60, detections=3000), seed=4)


@pytest.fixture(scope="module")
def observations(survey, tmp_path_factory):
    path = tmp_path_factory.mktemp("orbits") / "observations.parquet"
    pq.write_table(survey.observations, path)
    return path


def test_test_orbits_are_written_as_thor_reads_them_and_their_coverage_is_told(observations, tmp_path):
    output = tmp_path / "new" / "orbits.csv"

    ended = run_command(
        main, "--observations", observations, "--groups", "main_belt", "hungaria", "--number", 2, "--output", output
    )

    assert ended.code == 0, ended.err
    lines = output.read_text().splitlines()
    assert lines[0] == "orbit_id,epoch,x,y,z,vx,vy,vz"
    assert lines[1] == "--,mjd [TDB],au,au,au,au / d,au / d,au / d"
    orbits = read_orbits(output)
    assert len(orbits) == 2
    assert [line.split()[0] for line in ended.out.splitlines()[1:3]] == orbits["orbit_id"].to_pylist()
    assert "2 test orbits for 1 window of time; expected coverage" in ended.out
    assert list(output.parent.iterdir()) == [output]


def test_programs_get_one_json_document_and_the_same_orbits_again(observations, tmp_path):
    arguments = ["--observations", observations, "--groups", "main_belt", "--coverage", "0.5", "--json", "--output"]

    first, second = (run_command(main, *arguments, tmp_path / name) for name in ("a.csv", "b.csv"))

    assert first.json["orbits"] == second.json["orbits"]
    assert first.json["groups"][0]["group"] == "main_belt"
    assert first.json["coverage"] >= 0.5
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_what_is_filled_in_of_the_observations_is_told(survey, tmp_path):
    path = tmp_path / "no_sigmas.parquet"
    place = survey.observations.column_names.index("RA_sigma_deg")
    nulls = pa.nulls(len(survey.observations), pa.float64())
    pq.write_table(survey.observations.set_column(place, "RA_sigma_deg", nulls), path)
    arguments = ["--observations", path, "--groups", "main_belt", "--number", 1, "--output", tmp_path / "orbits.csv"]

    person, program = run_command(main, *arguments), run_command(main, *arguments, "--json")

    (note,) = program.json["notes"]
    assert "3000 of 3000 detections" in note
    assert note in person.out


def as_adam_core(orbits):
    """The table that adam-core writes of these states, in its equatorial frame."""
    values = np.column_stack([orbits[name] for name in ("x", "y", "z", "vx", "vy", "vz")])
    coordinates = CartesianCoordinates.from_kwargs(
        **dict(zip(("x", "y", "z", "vx", "vy", "vz"), values.T, strict=True)),
        time=Timestamp.from_mjd(orbits["epoch"].to_numpy(), scale="tdb"),
        origin=Origin.from_kwargs(code=["SUN"] * len(orbits)),
        frame="ecliptic",
    )
    turned = transform_coordinates(coordinates, frame_out="equatorial")
    return parquet_from_table(Orbits.from_kwargs(orbit_id=orbits["orbit_id"], coordinates=turned).table)


@pytest.mark.parametrize(("name", "written"), [("population.csv", orbits_csv), ("population.parquet", as_adam_core)])
def test_a_catalogue_of_ones_own_is_a_file_of_orbits(survey, observations, tmp_path, name, written):
    population = tmp_path / name
    population.write_bytes(written(survey.truth_states))

    ended = run_command(
        main, "--observations", observations, "--population", population, "--json", "--output", tmp_path / "o.csv"
    )

    assert ended.code == 0, ended.err
    assert [group["group"] for group in ended.json["groups"]] == ["catalogue"]
    assert ended.json["coverage"] >= 0.9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--number", "0"], "--number is 0: expected 1 or more"),
        (["--coverage", "1.5"], "--coverage is 1.5: expected at most 1"),
        (["--window-days", "-1"], "--window-days is -1.0: expected more than 0"),
        (["--field-radius", "0"], "--field-radius is 0.0: expected more than 0"),
        (["--window-days", "0.5"], "No object of the population could be found"),
        (["--groups", "vulcans"], 'Invalid value "vulcans" for --groups'),
        (["--population", "nowhere.csv"], "there is no such file"),
    ],
)
def test_wrong_input_ends_with_2_and_writes_nothing(observations, tmp_path, arguments, words):
    output = tmp_path / "orbits.csv"

    ended = run_command(main, "--observations", observations, "--output", output, *arguments)

    assert ended.code == 2
    assert words in ended.err
    assert not output.exists()


def test_an_output_that_cannot_be_written_ends_with_2(observations, tmp_path):
    (tmp_path / "file").write_text("")

    ended = run_command(
        main,
        *("--observations", observations, "--groups", "main_belt", "--number", 1),
        *("--output", tmp_path / "file" / "orbits.csv"),
    )

    assert ended.code == 2
    assert "Give another --output" in ended.err
