"""docs/sequence.md against the customer's diagram and against the code."""

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

from tasks.broker import topology
from tasks.bucket.layout import JobLayout
from tasks.records.ids import JobId, TaskId

DOCS = Path(__file__).parents[1] / "docs"
ARROW = re.compile(r"^(\w+)\s*->\s*(\w+)\s*:\s*(\S.*)$")
ROW = re.compile(r"^\| \d+ \| (\w+)->(\w+) \| (.+?) \| `(\S+?)` \|(?: `(\S+)`)? \|$")


def arrows_of_the_diagram():
    lines = (line.strip() for line in (DOCS / "sequence_diagram.txt").read_text().splitlines())
    return [match.groups() for match in map(ARROW.match, lines) if match]


def rows_of_the_document():
    return [match.groups() for match in map(ROW.match, (DOCS / "sequence.md").read_text().splitlines()) if match]


def test_every_arrow_of_the_diagram_is_there_in_its_order():
    assert [row[:3] for row in rows_of_the_document()] == arrows_of_the_diagram()


@pytest.mark.parametrize("function", sorted({row[3] for row in rows_of_the_document()}))
def test_the_function_that_does_it_exists(function):
    module, _, name = function.partition(":")

    assert callable(reduce(getattr, name.split("."), importlib.import_module(module)))


@pytest.mark.parametrize("name", sorted({row[4] for row in rows_of_the_document() if row[4]}))
def test_what_it_touches_is_spelled_as_in_the_code(name):
    job = JobLayout(JobId("<job_id>"))
    task = job.task(TaskId("<task_id>"))
    outputs = [task.output(file) for file in ("thor.log", "clusterandlink.csv", "recovered_orbits.csv")]
    known = {job.observations, job.config, job.manifest, task.orbits, task.status, *outputs, topology.WORK_QUEUE}

    assert name in known
