"""The measurements as people read them."""

import pytest

from tests.bench import large_file
from tests.bench.orchestration import section
from tests.bench.report import ORCHESTRATION, cold_start_table, table, text_with_section
from tests.bench.shown_jobs import section as section_of_shown

MEASURED = {
    "case": "20k",
    "seed": 1,
    "threads": 1,
    "stage": "merge_and_extend",
    "detections": 18326,
    "scores": {
        "cluster_and_link": {"recovered": 419, "completeness": 0.9976},
        "merge_and_extend": {
            "findable": 420,
            "recovered": 418,
            "completeness": 0.9952,
            "observation_completeness": 0.9987,
            "pure": 418,
            "contaminated": 2,
            "false": 1,
            "one_orbit": 417,
        },
    },
    "covariance": {"mean": 6.1, "median": 5.4},
    "cpu_seconds": {"prepare": 0.02, "range_and_shift": 0.01, "cluster_and_link": 0.2},
    "wall_seconds": {"prepare": 0.04, "range_and_shift": 0.02, "cluster_and_link": 0.4},
    "peak_memory_mb": 350.4,
}


def test_a_measurement_is_one_row():
    row = table([MEASURED]).splitlines()[-1]

    assert row == (
        "| 20k | 1 | 1 | 18 326 | 420 | 419 (99.8 %) | 418 (99.5 %) | 99.9 % | 418 / 2 / 1 | 417 | 6.10 (5.40) "
        "| 0.01, 0.2 | 0.23 | 0.46 | 350 |"
    )


def test_a_run_that_ended_after_linking_leaves_the_orbits_out():
    scores = {"cluster_and_link": MEASURED["scores"]["cluster_and_link"] | {"findable": 420}}
    linked = MEASURED | {"stage": "cluster_and_link", "covariance": {}, "scores": scores}

    assert "| 420 | 419 (99.8 %) |  |" in table([linked]).splitlines()[-1]


def test_starts_are_listed():
    assert "| worker | 4.2 | 5.1 |" in cold_start_table({"worker": {"cpu_seconds": 4.2, "wall_seconds": 5.1}})


def test_only_what_stands_between_the_markers_is_replaced():
    text = "before\n<!-- measured: begin -->\n{}\n<!-- measured: end -->\nafter\n"
    other = "<!-- orchestration: begin -->\n{}\n<!-- orchestration: end -->\n"
    both = text + other

    assert text_with_section(both.format("old", "old"), "new") == both.format("new", "old")
    assert text_with_section(both.format("old", "old"), "new", name=ORCHESTRATION) == both.format("old", "new")


SHOWN = {
    "demo": {"stages": 140, "shown": 139, "near": 138, "median_seconds": 0.04, "most_seconds": 0.4},
    "many": {"tasks": 400, "shown": 399, "completed": 398, "level": "each of 400 tasks", "seconds": 90.0},
    "cancel_seconds": {"computing_stopped": 9.8, "tasks_given_up": 9.9, "run_cancelled": 11.4},
}


def test_what_is_seen_of_whole_jobs_stands_beside_what_is_wanted():
    table = section_of_shown(SHOWN)

    assert "| stage runs of the demo | 139 of 140 | all |" in table
    assert "| differ from their stages by at most 0.3 s | 138; median 0.04 s, at most 0.4 s | all |" in table
    assert "| 399, 398; each of 400 tasks; 90.0 s | all |" in table
    assert "| until its tasks are given up | 9.9 | 15 |" in table


def test_what_a_server_sustains_is_a_row_for_each_kind_of_work():
    rates = {work: {"1": 1.5, "2": 2.5, "4": 3.5} for work in ("run", "task", "stages")}
    levels = {"off": {"task_seconds": 0.03, "processor_seconds": 0.04}}

    shown = section({"load": 0.1, "levels": levels, "shown": SHOWN, "sustained": {"SQLite": rates}}, "2026-11-28")

    assert "| off | 0.03 | 0.04 |" in shown
    assert "| SQLite | attempts/s at `stages` | 1.5 | 2.5 | 3.5 |" in shown


def test_a_document_without_markers_is_left_alone():
    with pytest.raises(ValueError, match="has no lines"):
        text_with_section("nothing here", "new")


def test_a_large_file_is_one_row():
    names = {name: dict.fromkeys(role.titles, 1.5) for name, role in large_file.ROLES.items()}
    names["client"]["rows"] = 10_000_000.0

    row = large_file.section([{"size_mb": 899, **names}]).splitlines()[-1]

    assert row == f"| 10 000 000 | 899 |{' 1.5 |' * 14}"


def test_the_rows_of_a_large_file_do_not_depend_on_how_many_are_asked_for():
    assert large_file.made_rows(0, 7)["obs_id"].to_pylist()[-1] == "obs-6"
    assert large_file.made_rows(500_000, 3).equals(large_file.made_rows(500_000, 3))
