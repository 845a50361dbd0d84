"""From a survey's ADES file to ADES for the Minor Planet Center in one command, with test orbits that are chosen."""

import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from tasks.inputs.observations_file import read_detections
from tasks.inputs.readers.ades_psv import PsvSource
from tests.support.ades_schema import schema_faults
from tests.support.ades_survey import ades_survey
from tests.support.documents import blocks_of, commands_of

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "docs/worked-example.md").read_text()

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def config_of_the_example():
    return re.search(r"```\n(key,value\n.+?)```", EXAMPLE, flags=re.DOTALL)[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The worked example's own command: (its report, its output directory, the survey's file, the truth)."""
    folder = tmp_path_factory.mktemp("survey")
    text, truth = ades_survey(seed=1)
    (folder / "survey.psv").write_text(text)
    (folder / "who.csv").write_text(config_of_the_example())
    command = re.search(r"-m flows\.submit (--observations .+?)```", EXAMPLE, flags=re.DOTALL)[1]
    ended = subprocess.run(
        [sys.executable, "-m", "flows.submit", *command.replace("\\\n", " ").split(), "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "THOR_HOME": str(folder / "home"), "THOR_INSTRUMENTATION": "off"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Warning" not in ended.stderr
    return json.loads(ended.stdout), folder / "example", folder / "survey.psv", truth


def test_what_the_page_does_next_works_as_it_stands(run):
    """Its Python, and its check of the submission in an environment with iau-ades: that of these tests."""
    _, output, *_ = run
    checks = [command for command in commands_of(ROOT / "docs/worked-example.md") if "-m ades." in command]
    python = blocks_of(ROOT / "docs/worked-example.md", "python")
    lines = [[sys.executable, *command.split()[1:]] for command in checks]

    printed = [
        subprocess.run(line, cwd=output.parent, capture_output=True, text=True, check=True, timeout=120).stdout
        for line in [*lines, *([sys.executable, "-c", block] for block in python)]
    ]

    assert len(lines) == 2
    assert "submit is OK" in printed[1]
    assert "quality_flags" in printed[2]


def table(path):
    return pyarrow.csv.read_csv(path).to_pylist()


def test_the_objects_of_the_survey_are_recovered_and_the_report_counts_them_right(run):
    report, output, _, truth = run
    objects = defaultdict(Counter)
    for row in table(output / "recovered_orbit_members.csv"):
        if row["outlier"] == 0:
            objects[row["orbit_id"]][truth[row["obs_id"]]] += 1
    pure = {min(found) for found in objects.values() if len(found) == 1 and None not in found}

    totals = report["totals"]
    assert totals["succeeded"] == totals["tasks"] == 4
    assert totals["recovered_objects"] == len(pure)
    assert totals["findable_objects"] > 80
    assert totals["completeness"] > 0.97
    assert totals["purity"] > 0.98
    assert len(objects) == totals["recovered_orbits"]


def test_what_goes_out_is_a_valid_submission_of_what_came_in(run):
    report, output, survey, _ = run
    (path,) = report["ades"]
    sent = Path(path)

    assert sent == output / "ades_X05.psv"
    assert schema_faults(sent.read_text()) == []
    shown = re.findall(r"^T\w{7}\|.+$", EXAMPLE, flags=re.MULTILINE)
    assert len(shown) == 3
    assert set(shown) <= set(sent.read_text().splitlines())
    came = {row["obs_id"]: row for row in read_detections(survey).table.to_pylist()}
    went = read_detections(sent).table.to_pylist()
    for row in went:
        own = came[row["obs_id"]]
        assert abs(row["mjd_utc"] - own["mjd_utc"]) < 1e-8
        np.testing.assert_allclose(
            [row["RA_deg"], row["Dec_deg"]], [own["RA_deg"], own["Dec_deg"]], rtol=0, atol=0.011 / 3600
        )
        assert row["RA_sigma_deg"] == pytest.approx(own["RA_sigma_deg"])
        assert [row[name] for name in ("observatory_code", "mag", "mag_sigma", "filter")] == [
            own[name] for name in ("observatory_code", "mag", "mag_sigma", "filter")
        ]


def test_each_name_in_it_is_one_object_and_each_object_without_a_flag_has_one(run):
    report, output, _, truth = run
    with Path(report["ades"][0]).open("rb") as file, ThreadPoolExecutor(1) as pool:
        rows = pa.concat_tables([block.file.table for block in PsvSource(file, "ades_X05.psv").blocks(pool)])
    objects = defaultdict(Counter)
    for name, obs_id in zip(rows["trkSub"].to_pylist(), rows["obsSubID"].to_pylist(), strict=True):
        objects[name][truth[obs_id]] += 1

    orbits = {row["trkSub"]: row for row in table(output / "recovered_orbits.csv")}
    assert all(orbits[name]["num_obs"] == found.total() for name, found in objects.items())
    assert {name for name, row in orbits.items() if not row["quality_flags"]} <= set(objects) <= set(orbits)
    named = Counter(found.most_common(1)[0][0] for found in objects.values())
    assert named.most_common(1)[0][1] == 1


def test_a_browser_shows_the_report_without_a_network(run, chromium, tmp_path):
    report, *_ = run
    page = chromium.text_of(Path(report["report"]).as_uri())

    chromium.screenshot(Path(report["report"]).as_uri(), tmp_path / "report.png", size="1100,4000")

    assert f"{report['totals']['recovered_objects']} of {report['totals']['findable_objects']}" in page
    assert page.count('src="data:image/svg+xml;base64,') == 7
    assert re.search(r'(?:src|href)="(?:https?:)?//', page) is None
    assert (tmp_path / "report.png").stat().st_size > 50_000
