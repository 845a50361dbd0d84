"""What this product keeps on a Prefect server besides deployments: work pools, their limits, blocks, an automation.

Every step looks first and changes only what differs: running it again is safe, and leaves alone what people have added.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from prefect.automations import AutomationCore, EventTrigger, Posture, ResourceSpecification
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import BlockDocumentCreate, BlockDocumentUpdate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.exceptions import ObjectNotFound
from prefect_gcp import GcpCredentials, GcsBucket

from tasks.errors import BadInputError

QUEUE_BLOCK = "thor-queue"
"""The Secret that holds the queue's URL with its password."""
BUCKET_BLOCK = "thor-bucket"
CREDENTIALS_BLOCK = "thor-credentials"

HEARTBEATS_MISSED_SECONDS = 600.0
"""Prefect's flow runs send a heartbeat every 180 s; three that are missed mean that the process is gone."""
MOST_WORKERS = 16
"""Most flow runs of workers at a time in a new pool: a mistake must not hire a whole data centre."""

Verdict = Literal["made", "changed", "as it was"]


@dataclass(frozen=True)
class Step:
    """One thing on the server, and what was done about it."""

    what: str
    name: str
    verdict: Verdict


@dataclass(frozen=True)
class Wanted:
    """What the flow runs of this product are to use. None: what was set up before stays."""

    #: gs://NAME or file:///PATH.
    bucket_url: str | None = None
    #: amqp://..., amqps://... or sqlite:///PATH; a secret.
    queue_url: str | None = None
    #: A Google service account's key file, parsed; a secret. None: the machines' own credentials.
    service_account: Mapping[str, Any] | None = None
    #: Flow runs of workers at a time.
    most_workers: int | None = None

    @property
    def is_in_the_cloud(self) -> bool:
        """Whether the bucket is one of Google Cloud Storage."""
        return self.bucket_url is not None and self.bucket_url.startswith("gs://")


@dataclass(frozen=True)
class Pool:
    """A work pool that `prefect.yaml` names."""

    name: str
    kind: str
    description: str


POOLS = (
    Pool("thor", "process", "Jobs and operator's verbs, as processes of the machine where its Prefect worker runs."),
    Pool("thor-workers", "process", "THOR's workers, as processes of the machines where its Prefect workers run."),
    Pool("thor-kubernetes", "kubernetes", "THOR's workers or flows, each in a job of a Kubernetes cluster."),
    Pool("thor-cloud-run", "cloud-run-v2", "THOR's workers or flows, each in a Cloud Run job."),
)
LIMITED_POOLS = frozenset({"thor-workers", "thor-kubernetes", "thor-cloud-run"})
"""Flow runs at a time in the pools in which workers run."""


def set_up(wanted: Wanted) -> list[Step]:
    """Make or correct everything that deployments need. Idempotent.

    Raises
    ------
    BadInputError
        If a work pool of our name is of another type.
    """
    with get_client(sync_client=True) as client:
        return [*_blocks(client, wanted), *_pools(client, wanted), _zombie_automation(client)]


def environment_of_runs(wanted: Wanted) -> dict[str, str | None]:
    """Return the variables that flow runs get from their pool; None: one that they no longer get. Pure.

    The queue's URL stays in its block: Prefect fills it in when it starts the process.
    """
    environment: dict[str, str | None] = {}
    if wanted.bucket_url is not None:
        environment["THOR_BUCKET"] = wanted.bucket_url
        if not wanted.is_in_the_cloud:
            environment["THOR_GCS_BUCKET_BLOCK"] = None
    if wanted.service_account is not None:
        environment["THOR_GCS_BUCKET_BLOCK"] = BUCKET_BLOCK
    if wanted.queue_url is not None:
        environment["THOR_QUEUE"] = f"{{{{ prefect.blocks.secret.{QUEUE_BLOCK} }}}}"
    return environment


def template_with_environment(template: Mapping[str, Any], environment: Mapping[str, str | None]) -> dict[str, Any]:
    """Return a pool's base job template with these variables as defaults of every run, beside those it has. Pure."""
    changed = copy.deepcopy(dict(template))
    variable = changed["variables"]["properties"]["env"]
    both = {**(variable.get("default") or {}), **environment}
    variable["default"] = {name: value for name, value in both.items() if value is not None}
    return changed


def _pools(client: SyncPrefectClient, wanted: Wanted) -> Iterator[Step]:
    kinds = {
        kind: description
        for collection in client.read_worker_metadata().values()
        for kind, description in collection.items()
    }
    for pool in POOLS:
        template = kinds[pool.kind]["default_base_job_configuration"]
        yield Step("work pool", pool.name, _pool(client, pool, template, wanted))


def _pool(client: SyncPrefectClient, pool: Pool, template: Mapping[str, Any], wanted: Wanted) -> Verdict:
    environment = environment_of_runs(wanted)
    is_limited = pool.name in LIMITED_POOLS
    try:
        found = client.read_work_pool(pool.name)
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(
                name=pool.name,
                type=pool.kind,
                description=pool.description,
                base_job_template=template_with_environment(template, environment),
                concurrency_limit=(wanted.most_workers or MOST_WORKERS) if is_limited else None,
            )
        )
        return "made"
    if found.type != pool.kind:
        raise BadInputError(
            f"Cannot use work pool {pool.name!r}: it is of type {found.type!r}, expected {pool.kind!r}. Delete it "
            f"(`prefect work-pool delete {pool.name}`) and run this again."
        )
    limit = wanted.most_workers if is_limited and wanted.most_workers is not None else found.concurrency_limit
    # A pool that was made by hand has an empty template until its first Prefect worker starts.
    changed = template_with_environment(found.base_job_template or template, environment)
    if (changed, limit) == (found.base_job_template, found.concurrency_limit):
        return "as it was"
    client.update_work_pool(pool.name, WorkPoolUpdate(base_job_template=changed, concurrency_limit=limit))
    return "changed"


def _blocks(client: SyncPrefectClient, wanted: Wanted) -> Iterator[Step]:
    if wanted.queue_url is not None:
        verdict, _ = _block(client, Secret, QUEUE_BLOCK, {"value": wanted.queue_url})
        yield Step("Secret block", QUEUE_BLOCK, verdict)
    if wanted.bucket_url is not None and wanted.is_in_the_cloud:
        # The blocks are written as data: making their objects would ask Google for credentials, here.
        key = {} if wanted.service_account is None else {"service_account_info": dict(wanted.service_account)}
        verdict, credentials = _block(client, GcpCredentials, CREDENTIALS_BLOCK, key)
        yield Step("GcpCredentials block", CREDENTIALS_BLOCK, verdict)
        bucket = {"bucket": wanted.bucket_url.removeprefix("gs://").rstrip("/"), "bucket_folder": ""}
        verdict, _ = _block(client, GcsBucket, BUCKET_BLOCK, bucket, refers_to={"gcp_credentials": credentials})
        yield Step("GcsBucket block", BUCKET_BLOCK, verdict)


def _block(
    client: SyncPrefectClient,
    kind: type[Block],
    name: str,
    data: Mapping[str, Any],
    *,
    refers_to: Mapping[str, UUID] | None = None,
) -> tuple[Verdict, UUID]:
    """Save a block of these values, unless it has them already; return what was done, and its id."""
    links = dict(refers_to or {})
    references = {field: {"$ref": {"block_document_id": str(linked)}} for field, linked in links.items()}
    slug = kind.get_block_type_slug()
    try:
        found = client.read_block_document_by_name(name, slug, include_secrets=True)
    except ObjectNotFound:
        kind.register_type_and_schema(_sync=True)  # type: ignore[call-arg]
        if kind._block_type_id is None or kind._block_schema_id is None:
            raise RuntimeError(f"Prefect has registered no block type {slug!r}.") from None
        made = client.create_block_document(
            BlockDocumentCreate(
                name=name,
                block_type_id=kind._block_type_id,
                block_schema_id=kind._block_schema_id,
                data={**data, **references},
            )
        )
        return "made", made.id
    linked = {field: UUID(str(each["block_document"]["id"])) for field, each in found.block_document_references.items()}
    if all(found.data.get(field) == value for field, value in data.items()) and linked == links:
        return "as it was", found.id
    client.update_block_document(found.id, BlockDocumentUpdate(data={**data, **references}))
    return "changed", found.id


def zombie_automation() -> AutomationCore:
    """Return the automation that marks flow runs as Crashed whose process sends no more heartbeats. Pure.

    It is for people, and for the count of workers that `flows.autoscale` makes: tasks are looked after by their leases.
    """
    endings = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
    return AutomationCore(
        name="thor: flow runs without a heartbeat",
        description="Marks runs of deployments with the tag thor as Crashed whose process has sent no heartbeat.",
        tags=["thor"],
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *endings},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            # Only ours: a server may have other flows than these.
            match_related=ResourceSpecification(
                {"prefect.resource.role": ["tag"], "prefect.resource.id": ["prefect.tag.thor"]}
            ),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=HEARTBEATS_MISSED_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(state=StateType.CRASHED, message="Its process has sent no heartbeat for ten minutes.")
        ],
    )


def _zombie_automation(client: SyncPrefectClient) -> Step:
    wanted = zombie_automation()
    same_name = client.read_automations_by_name(wanted.name)
    if not same_name:
        client.create_automation(wanted)
        return Step("automation", wanted.name, "made")
    found = same_name[0]
    if _meaning(found) == _meaning(wanted):
        return Step("automation", wanted.name, "as it was")
    client.update_automation(found.id, wanted.model_copy(update={"enabled": found.enabled}))
    return Step("automation", wanted.name, "changed")


def _meaning(automation: AutomationCore) -> dict[str, Any]:
    """Return what an automation does. Whether it is enabled is for people to say."""
    trigger = automation.trigger.model_dump(mode="python", exclude={"id"})
    return {"trigger": trigger, "actions": [action.model_dump(mode="python") for action in automation.actions]}
