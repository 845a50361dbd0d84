"""A job from Python: the notebook of the documents as it stands, and the functions that it calls."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flows import notebook
from flows.notebook import open_results, run_job
from tasks.errors import BadInputError
from tests.support.job_inputs import observations_of, orbits_of

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/examples/from_detections_to_orbits.py"
PAGE = (ROOT / "docs/python-api.md").read_text()


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The notebook, run anew in a process of its own: (its cells, the directory of its results)."""
    folder = tmp_path_factory.mktemp("notebook")
    made = (
        f"import pathlib, tests.notebooks as n; print(n.made_from(pathlib.Path({str(EXAMPLE)!r}), pathlib.Path.cwd()))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", made],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)["cells"], folder / "notebook"


def test_the_notebook_finds_its_three_objects(ran):
    printed = "".join(output.get("text", "") for cell in ran[0] for output in cell.get("outputs", ()))
    tables = "".join(
        output.get("data", {}).get("text/html", "") for cell in ran[0] for output in cell.get("outputs", ())
    )

    assert "3 tasks, failed: {}" in printed
    assert "completeness 100%, purity 100%" in printed
    assert len(re.findall(r"<td>T\w{7}</td>", tables)) == 3


def test_the_notebook_in_the_documents_is_its_source_as_it_ran(ran):
    """If this fails: `python -m tests.notebooks`."""
    kept = json.loads(EXAMPLE.with_suffix(".ipynb").read_text())["cells"]

    assert [what_is_in(cell) for cell in kept] == [what_is_in(cell) for cell in ran[0]]
    assert sum(kind == "image/png" for cell in kept for kind in what_is_in(cell)[1]) == 3


def what_is_in(cell):
    """A cell's source, and what kinds of output it has: numbers may differ in their last digits."""
    outputs = cell.get("outputs", ())
    return cell["source"], [kind for output in outputs for kind in output.get("data", {output["output_type"]: None})]


def test_the_results_of_any_output_directory_can_be_opened(ran):
    results = open_results(ran[1])

    assert len(results.orbits) == len(results.truth_orbits) == 3
    assert set(results.members["orbit_id"].to_pylist()) == set(results.orbits["orbit_id"].to_pylist())
    assert results.truth_objects["recovered"].to_pylist().count(True) == 3
    assert results.ades == []
    assert {path.stem for path in results.plots} >= {"sky", "a_e", "a_i", "residuals", "completeness"}
    assert results.task_table("Hebe", "clusters").num_rows >= 1
    assert results.report.is_file()


def test_names_that_look_like_numbers_stay_text(tmp_path):
    (tmp_path / "truth_objects.csv").write_text("object_id,expected_obs,orbit_id\n433,7,\n070,8,r1\n")

    truth = open_results(tmp_path).truth_objects

    assert truth.to_pydict() == {"object_id": ["433", "070"], "expected_obs": [7, 8], "orbit_id": [None, "r1"]}


def test_a_directory_without_results_says_how_to_get_some(tmp_path):
    with pytest.raises(BadInputError, match=r"recovered_orbits.parquet.*flows\.collect JOB"):
        _ = open_results(tmp_path).orbits


def test_wrong_input_is_an_error_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setenv("THOR_HOME", str(tmp_path / "home"))
    wrong = observations_of(("Hebe",)).drop_columns("Dec_deg")

    with pytest.raises(BadInputError, match="Dec_deg"):
        run_job(wrong, orbits_of(("Hebe",)), output=tmp_path / "found")

    assert list(tmp_path.iterdir()) == []


def test_the_page_names_every_public_name():
    results = [name for name in vars(notebook.ResultFiles) if not name.startswith("_")]
    run = [name for name in notebook.JobRun.__annotations__ if not name.startswith("_")]
    parameters = run_job.__kwdefaults__

    assert [name for name in (*results, *run, "failed", *parameters) if f"`{name}" not in PAGE] == []
