"""What supervisor and child say to each other survives the pipe."""

import pytest
from pydantic import ValidationError

from tasks.records.assignment import (
    Assignment,
    AttemptFailed,
    AttemptReleased,
    AttemptSucceeded,
    ChildReady,
    FlowRunStarted,
    LeaseRenewed,
    ReadyToUpload,
    StageBegan,
    from_child_from_line,
    line_from_record,
    to_child_from_line,
)
from tasks.records.status import OutputObject

ASSIGNMENT = Assignment(job_id="job", task_id="task", bucket_url="file:///b", attempt=1, worker="here:1")
TO_CHILD = [ASSIGNMENT, LeaseRenewed()]
FROM_CHILD = [
    ChildReady(),
    FlowRunStarted(prefect_flow_run_id="run"),
    StageBegan(stage="range_and_shift", engine="builtin 1"),
    ReadyToUpload(),
    AttemptSucceeded(outputs=(OutputObject(name="thor.log", size=1, crc32c="x"),)),
    AttemptFailed(error_kind="task_error", error="Traceback\n  two lines\n"),
    AttemptReleased(error="no bucket"),
]


@pytest.mark.parametrize("record", TO_CHILD)
def test_the_child_hears_what_was_said_to_it(record):
    assert to_child_from_line(line_from_record(record)) == record


@pytest.mark.parametrize("record", FROM_CHILD)
def test_the_supervisor_hears_what_the_child_said(record):
    assert from_child_from_line(line_from_record(record)) == record


@pytest.mark.parametrize("record", TO_CHILD + FROM_CHILD)
def test_a_record_is_one_line_whatever_it_holds(record):
    line = line_from_record(record)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1


@pytest.mark.parametrize("line", [b"", b"{}", b"computing...", b'{"kind":"assignment"}', b'{"kind":"ready","x":1}'])
def test_anything_else_is_no_report(line):
    with pytest.raises(ValidationError):
        from_child_from_line(line)


def test_an_assignment_with_an_unsafe_id_is_refused():
    with pytest.raises(ValidationError):
        Assignment(**{**ASSIGNMENT.model_dump(), "task_id": "../escape"})
