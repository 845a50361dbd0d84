"""A task as a worker and its child do it, in this process and on any bucket."""

from tasks.jobs.finish import finish_task
from tasks.jobs.run_attempt import Attempt
from tasks.records.message import TaskMessage
from tasks.records.status import Succeeded
from workers.reception import look_and_claim


def do_task(bucket, job, task_id, surveys, engines):
    """Claim the task, compute it and finish it."""
    message = TaskMessage(job_id=job.job_id, bucket=bucket.url, task_id=task_id)
    claimed = look_and_claim(bucket, message, {}, worker="w:1", renew_seconds=60.0, engines=engines)
    attempt = Attempt(
        claimed.assignment,
        bucket=bucket,
        tell=lambda _: None,
        await_lease=lambda: None,
        surveys=surveys,
        checkpoint_seconds=3600.0,  # however slow the machine is at this moment
    )
    attempt.run()
    finish_task(claimed.file, Succeeded(outputs=attempt.ending.outputs), may_leave=attempt.ending.has_leftovers)
