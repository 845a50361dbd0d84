"""docs/outputs.md names every column and flag of the results, and nothing that is not there."""

import re
from pathlib import Path

import pytest

from tasks.engines.builtin.astrodynamics.orbit_classes import CLASSES
from tasks.engines.score import OBJECTS, ORBITS
from tasks.inputs.ades_settings import checked_ades, settings_of_observatory
from tasks.inputs.csv_text import csv_from_table
from tasks.inputs.known_observations import KNOWN_FIELDS
from tasks.jobs.output_files import without_row_numbers
from tasks.results.job_detections import detections_from_csv
from tasks.results.job_results import FILES
from tasks.results.known_of_job import LEFT_OUT
from tasks.results.recovered_tables import FLAGS, complete_tables
from tests.support.recovered import merged_demo

DOCUMENT = (Path(__file__).parents[1] / "docs/outputs.md").read_text()


def named_in(section):
    """Names in the first column of the tables of a section."""
    text = DOCUMENT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


@pytest.fixture(scope="module")
def completed():
    merged, observations = merged_demo()
    return complete_tables(merged, detections_from_csv(csv_from_table(observations), merged.members["obs_id"]))


def test_every_column_and_flag_of_recovered_orbits_is_explained(completed):
    assert named_in("recovered_orbits") == {*completed.orbits.column_names, *FLAGS}


def test_every_column_of_the_members_is_explained(completed):
    assert named_in("recovered_orbit_members") == set(without_row_numbers(completed.members).column_names)


def test_every_column_of_known_observations_is_explained():
    assert named_in("known_observations") == {field.name for field in (*KNOWN_FIELDS, LEFT_OUT)}


def test_every_column_of_the_truth_is_explained():
    assert named_in("truth_objects, truth_orbits") == {
        *OBJECTS.names,
        "median_mag",
        "motion_deg_per_day",
        *ORBITS.names,
    }


def test_the_worked_example_sets_every_key_that_ades_needs():
    example = (Path(__file__).parents[1] / "docs/worked-example.md").read_text()
    lines = re.findall(r"^(ades\.[^,\n]+),(.+)$", example, flags=re.MULTILINE)

    settings = settings_of_observatory(checked_ades(dict(lines), name="who.csv"), "X05")

    assert len(lines) == 8
    assert settings.missing == []


def test_every_class_and_file_is_named():
    assert [code for code in CLASSES if code not in DOCUMENT] == []
    assert [name for name in FILES if name.removesuffix("csv").removesuffix("parquet") not in DOCUMENT] == []
