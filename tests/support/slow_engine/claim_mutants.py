"""Children with one promise about claims broken each: the fault tests must fail on every one, or they prove nothing."""

from collections.abc import Callable

from tasks.jobs import claims, run_attempt


def claims_count_before_the_status() -> None:
    """Believes a claim as soon as it lies there."""
    claims.claim_counts = lambda _status, **_: True


def claims_of_any_attempt_count() -> None:
    """Believes every claim of a task that has succeeded, whichever attempt wrote it."""
    claims.claim_counts = lambda status, **_: status.state == "succeeded"


def each_attempt_makes_its_own_note() -> None:
    """Notes anew which claims count, whatever the first attempt noted."""
    begin = run_attempt.begin_claims

    def forgetful(bucket, task, settings, **options):
        bucket.delete(task.checkpoint("claims", "used.json"))
        return begin(bucket, task, settings, **options)

    run_attempt.begin_claims = claims.begin_claims = forgetful


CLAIM_MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant
    for mutant in (
        claims_count_before_the_status,
        claims_of_any_attempt_count,
        each_attempt_makes_its_own_note,
    )
}
