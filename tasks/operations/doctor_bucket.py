"""Is the bucket fit for the protocol? It is tried out with an object of its own, not believed by its name."""

import contextlib
import json
import uuid
from collections.abc import Callable, Sequence

from tasks.bucket.at_once import for_each
from tasks.bucket.layout import probe_object
from tasks.bucket.store import MUST_NOT_EXIST, Bucket
from tasks.errors import BadInputError, BucketUnavailableError, GenerationMismatchError, ObjectNotFoundError
from tasks.records.finding import Finding, ok, problem

REACHED = "bucket"
CONDITIONAL = "conditional writes"
LISTING = "bucket listing"
RIVALS = 8
"""Writers at one moment on one generation: exactly one may win."""


def bucket_findings(bucket: Bucket) -> list[Finding]:
    """Try the bucket out with a probe object, and take it away again. Safe beside jobs at work."""
    probe = probe_object(uuid.uuid4().hex)
    try:
        bucket.generation(probe)
        try:
            return [ok(REACHED, f"{bucket.url} answers, and can be written"), *_tried_out(bucket, probe)]
        finally:
            # What went wrong before is what people should read; a probe that is left does no harm.
            with contextlib.suppress(BucketUnavailableError, BadInputError):
                bucket.delete(probe)
    except (BucketUnavailableError, BadInputError) as error:
        return [
            problem(REACHED, str(error), "Nothing works without it: look at the URL, the network and the permissions.")
        ]


def _tried_out(bucket: Bucket, probe: str) -> Sequence[Finding]:
    broken = _broken_promises(bucket, probe)
    if broken:
        conditional = problem(
            CONDITIONAL,
            f"{bucket.url} does not keep its word: {'; '.join(broken)}",
            "Don't run jobs on it: two workers could own one task. Use Google Cloud Storage or a directory on a local "
            "disk; not every emulator and network file system honours conditions.",
        )
    else:
        conditional = ok(CONDITIONAL, f"enforced: of {RIVALS} writers at once exactly one wins")
    return [conditional, _listing(bucket, probe)]


def _broken_promises(bucket: Bucket, probe: str) -> list[str]:
    """Return what the bucket did that it must not do; empty: it keeps its promises."""
    first = _write(bucket, probe, MUST_NOT_EXIST)
    if first is None:
        return ["an object that is not there could not be created on that condition"]
    second = _write(bucket, probe, first)
    third = _write(bucket, probe, second if second is not None else first)
    broken = {
        "a create-only write replaced an object": _write(bucket, probe, MUST_NOT_EXIST) is not None,
        "a write with an outdated generation was accepted": _write(bucket, probe, first) is not None,
        "a write with the present generation was refused": second is None or third is None,
        "generations do not grow": second is not None and third is not None and not first < second < third,
    }
    winners = _winners(bucket, probe)
    broken[f"{winners} of {RIVALS} writers with one generation won"] = winners != 1
    last = bucket.generation(probe)
    bucket.delete(probe)
    reborn = _write(bucket, probe, MUST_NOT_EXIST)
    broken["an object could not be created after it was deleted"] = reborn is None
    broken["a deleted object's generation came back"] = reborn is not None and reborn <= last
    return [what for what, is_so in broken.items() if is_so]


def _write(bucket: Bucket, probe: str, if_generation: int) -> int | None:
    """Write a new body; return its generation, or None when it was refused."""
    body = json.dumps({"probe": uuid.uuid4().hex}).encode()
    try:
        return bucket.write(probe, body, if_generation=if_generation)
    except GenerationMismatchError:
        return _own_generation(bucket, probe, body)


def _own_generation(bucket: Bucket, probe: str, body: bytes) -> int | None:
    """Return the generation if what lies there is ours: a write whose answer was lost is refused when sent again."""
    try:
        stored = bucket.read(probe)
    except ObjectNotFoundError:
        return None
    return stored.generation if stored.body == body else None


def _winners(bucket: Bucket, probe: str) -> int:
    present = bucket.generation(probe)
    attempt: Callable[[int], int | None] = lambda _: _write(bucket, probe, present)  # noqa: E731 (a type for mypy)
    return sum(generation is not None for generation in for_each(range(RIVALS), attempt))


def _listing(bucket: Bucket, probe: str) -> Finding:
    listed = {info.name: info.generation for info in bucket.list(probe)}
    present = bucket.generation(probe)
    if listed == {probe: present}:
        return ok(LISTING, "shows an object and its generation right after the write")
    return problem(
        LISTING,
        f"{bucket.url} lists {listed} right after {probe!r} was written with generation {present}",
        "Don't run jobs on it: monitor and repair go by listings.",
    )
