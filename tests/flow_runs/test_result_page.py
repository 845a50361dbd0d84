"""The page of results that people see beside the run of a job."""

import pyarrow as pa
import pytest

from flows.shown.result_page import SHOWN_ORBITS, SHOWN_PICTURE_BYTES, chosen_pictures, text_of_results
from tasks.jobs.collect import CollectedTask
from tasks.results.ades_file import AdesFiles
from tasks.results.job_results import JobResults
from tasks.results.merge_results import MergedResults
from tasks.results.plots import Picture
from tests.support.jobs import SUCCEEDED, failed, status_after
from tests.support.recovered import OBJECTS, merged_demo


def drawn(name, size):
    picture = Picture(name, f"Title of {name}", "Caption.", png=b"", svg=b"", pdf=b"")
    vars(picture)["small_png"] = b"x" * size
    return picture


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"sky": 90_000, "a_e": 28_000, "a_i": 31_000}, ["a_e", "a_i"]),
        ({"sky": 40_000, "a_e": 28_000, "a_i": 31_000}, ["a_e", "a_i", "sky"]),
        ({"sky": 90_000}, ["sky"]),
        ({"a_e": SHOWN_PICTURE_BYTES + 1, "a_i": 10}, ["a_i"]),
        ({}, []),
    ],
)
def test_the_orbits_are_drawn_on_the_page_before_what_else_fits(sizes, expected):
    pictures = [drawn(name, size) for name, size in sizes.items()]

    assert [each.name for each in chosen_pictures(pictures)] == expected


def results_of(tmp_path, merged, **tasks):
    collected = [CollectedTask(task, task, status_after(events), tmp_path / task) for task, events in tasks.items()]
    return JobResults(tmp_path, collected, merged, [], AdesFiles({}, []))


def test_the_page_has_totals_failures_and_the_recovered_orbits(tmp_path):
    merged, _ = merged_demo()
    results = results_of(tmp_path, merged, Hebe=SUCCEEDED, Eros=failed("task_error", "It | went wrong.\nTraceback"))

    text = text_of_results(results, {"completeness": 0.5}, ["2 observations were left out."])

    assert text.startswith("> 2 observations were left out.")
    assert "| completeness | 50.0% |" in text
    assert r"| Eros | task_error | It \| went wrong. |" in text
    assert f"### {len(OBJECTS)} recovered orbits" in text
    (hebe,) = [line for line in text.splitlines() if line.startswith("| r") and "| 2.4" in line]
    assert len(hebe.split(" | ")) > 5
    assert "None" not in text


def test_of_many_orbits_the_first_are_shown(tmp_path):
    merged, _ = merged_demo()
    many = pa.concat_tables([merged.orbits] * SHOWN_ORBITS)
    results = results_of(tmp_path, MergedResults(many, merged.members, n_before=len(many)), Hebe=SUCCEEDED)

    text = text_of_results(results, {})

    assert f"the first {SHOWN_ORBITS}" in text
    assert sum(line.startswith("| r") and "---" not in line for line in text.splitlines()) <= SHOWN_ORBITS + 1
