"""What becomes of a job whose run was cancelled in Prefect's UI while a Prefect worker ran it.

Prefect ends the process of the run, so that nothing in it can act, and then calls this hook in another one.
"""

import logging
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State

from flows.shown.job_show import give_up, job_of_run
from tasks.bootstrap import open_bucket_from_settings
from tasks.bucket.layout import JobLayout
from tasks.errors import BadInputError
from tasks.operations.cancel import cancel_job
from tasks.settings import settings_from_environment

logger = logging.getLogger(__name__)


def cancel_job_of_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 (as Prefect calls it)
    """Cancel the job, and have its tasks given up. Idempotent.

    Until it returns Prefect shows the job's run as Cancelling, afterwards as Cancelled.
    """
    job_id = job_of_run(flow_run)
    if job_id is None:
        return
    bucket, job = (
        open_bucket_from_settings(settings_from_environment(), flow_run.parameters.get("bucket") or None),
        JobLayout(job_id),
    )
    try:
        cancel_job(bucket, job)
    except BadInputError as error:
        logger.warning("Nothing was submitted before the run was cancelled: %s", error)
        return
    give_up(bucket, job, flow_run.id)
