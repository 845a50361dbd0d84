"""What must be true, at rest, of the claims of a job whose tasks ran under faults."""

import csv
import io
from collections import defaultdict
from unittest import mock

from tasks.bucket.layout import JobLayout, TaskLayout
from tasks.bucket.store import Bucket
from tasks.jobs import task_inputs
from tasks.jobs.claims import USED_CLAIMS, Claim, Report, UsedClaims
from tasks.jobs.run_attempt import THOR_LOG, Attempt
from tasks.records.assignment import Assignment
from tasks.records.ids import TaskId
from tasks.records.status import Status, status_from_bytes
from tests.support.buckets import FakeBucket
from tests.support.slow_engine.claiming_engine import N_DETECTIONS, ClaimingEngine, cell, number_of

NOTE = ("claims", "used.json")


class ClaimsAtRest:
    """A job at rest, and what it left: read once, judged by `check`."""

    def __init__(self, bucket: Bucket, job: JobLayout, task_ids: list[str]) -> None:
        self.bucket = bucket
        self.job = job
        self.tasks = {TaskId(task_id): job.task(TaskId(task_id)) for task_id in task_ids}
        self.ended_at: dict[str, int] = {}
        self.statuses: dict[str, Status] = {}
        for task_id, task in self.tasks.items():
            stored = bucket.read(task.status)
            self.statuses[task_id], self.ended_at[task_id] = status_from_bytes(stored.body), stored.generation
        named = (job.claim_from_name(info.name) for info in bucket.list(job.claims_prefix))
        self.claims = {each: self.rows_claimed(*each) for each in named if each is not None}
        self.used = self.used_by_attempts()

    def rows_claimed(self, task_id: str, attempt: int) -> set[int]:
        body = self.bucket.read(self.tasks[TaskId(task_id)].claim(attempt)).body
        return set(Claim.model_validate_json(body).obs_index)

    def used_by_attempts(self) -> dict[str, set[UsedClaims]]:
        """What the executions of each task used, as they told themselves, while the task had not come to an end.

        One that was frozen and began its computing only after another had finished may find the note gone with the
        checkpoints. Its work is dropped, so it may use what it likes.
        """
        used = defaultdict(set)
        for info in self.bucket.list("used/"):
            task_id = info.name.split("/")[1]
            if info.generation < self.ended_at[task_id]:
                used[task_id].add(UsedClaims.model_validate_json(self.bucket.read(info.name).body))
        return used

    def check(self) -> dict[str, int]:
        """Assert every promise; return counts of what there was to be judged."""
        for task_id, all_used in self.used.items():
            assert len(all_used) == 1, f"attempts at {task_id} used different claims: {all_used}"
            self.check_note(task_id, next(iter(all_used)))
        reports = {task_id: self.report(task_id) for task_id in self.tasks if self.has_succeeded(task_id)}
        for task_id, report in reports.items():
            assert {UsedClaims(claims=report.claims)} == self.used[task_id], f"{task_id} tells others than it used"
            self.check_left_out(task_id, report)
            self.check_same_again(task_id, report)
        return {
            "claims_that_count": sum(self.counts(*each) for each in self.claims),
            "claims_that_never_count": sum(not self.counts(*each) for each in self.claims),
            "claims_used": sum(len(report.claims) for report in reports.values()),
            "observations_left_out": sum(report.num_left_out for report in reports.values()),
            "tasks_that_left_some_out": sum(report.num_left_out > 0 for report in reports.values()),
        }

    def has_succeeded(self, task_id: str) -> bool:
        return self.statuses[task_id].state == "succeeded"

    def counts(self, task_id: str, attempt: int) -> bool:
        return self.has_succeeded(task_id) and self.statuses[task_id].attempt == attempt

    def report(self, task_id: str) -> Report:
        return Report.model_validate_json(self.bucket.read(self.tasks[TaskId(task_id)].output(USED_CLAIMS)).body)

    def check_note(self, task_id: str, used: UsedClaims) -> None:
        """A note names attempts of other tasks, that succeeded, and what they claimed."""
        for claim in used.claims:
            assert claim.task_id != task_id
            assert self.counts(claim.task_id, claim.attempt), (
                f"{task_id} used claim {claim.attempt} of {claim.task_id}, whose attempt did not succeed: "
                f"{self.statuses[claim.task_id]}"
            )
            assert claim.num_obs == len(self.claims[claim.task_id, claim.attempt])

    def check_left_out(self, task_id: str, report: Report) -> None:
        """What is in the cell and not in the results was claimed by others; what was claimed is not in the results."""
        names = {f"{row // N_DETECTIONS:02d}-{row % N_DETECTIONS:02d}": row for row in cell(number_of(task_id))}
        body = self.bucket.read(self.tasks[TaskId(task_id)].output("projected_observations.csv")).body
        kept = {names[line["obs_id"]] for line in csv.DictReader(io.StringIO(body.decode()))}
        claimed = set().union(*(self.claims[claim.task_id, claim.attempt] for claim in report.claims))
        assert set(names.values()) - kept == claimed & set(names.values()), f"{task_id} left out what it should not"
        assert (report.num_claimed, report.num_left_out) == (len(claimed), len(names) - len(kept))

    def check_same_again(self, task_id: str, report: Report) -> None:
        """Compute the task anew from its inputs and its note: every output but the log must be the same bytes."""
        task, scratch = self.tasks[TaskId(task_id)], FakeBucket(self.bucket.url)
        for name in self.inputs_of(task, report):
            scratch.write(name, self.bucket.read(name).body)
        scratch.write(task.checkpoint(*NOTE), UsedClaims(claims=report.claims).model_dump_json().encode())
        assignment = Assignment(
            job_id=self.job.job_id, task_id=task.task_id, bucket_url=scratch.url, attempt=1, worker="judge:1"
        )
        with mock.patch.object(task_inputs, "engine_of_job", return_value=ClaimingEngine()):
            Attempt(
                assignment,
                bucket=scratch,
                tell=lambda _: None,
                await_lease=lambda: None,
                surveys=task_inputs.SurveyCache(10**9),
            ).run()
        found, anew = (self.outputs(bucket, task) for bucket in (self.bucket, scratch))
        assert found == anew, f"outputs of {task_id} are others when computed again from its note"

    def inputs_of(self, task: TaskLayout, report: Report) -> list[str]:
        claims = [self.tasks[claim.task_id].claim(claim.attempt) for claim in report.claims]
        return [self.job.observations, self.job.config, task.orbits, *claims]

    def outputs(self, bucket: Bucket, task: TaskLayout) -> dict[str, bytes]:
        names = [info.name for info in bucket.list(task.outputs_prefix) if info.name != task.output(THOR_LOG)]
        return {name: bucket.read(name).body for name in names}
