"""The buckets that other tests rely on do what they say."""

import contextlib

import pytest

from tasks.bucket.store import MUST_NOT_EXIST
from tasks.errors import BucketUnavailableError, GenerationMismatchError
from tests.support.buckets import EndingBucket, FakeBucket, FlakyBucket, ProcessEndedHere


def test_a_flaky_bucket_fails_in_every_way_and_never_lies_about_success():
    inner = FakeBucket()
    bucket = FlakyBucket(inner, seed=5)
    seen = set()

    for number in range(200):
        before = inner.generation("a")
        try:
            assert bucket.write("a", b"%d" % number, if_generation=before) == inner.generation("a") > before
            seen.add("written")
        except (BucketUnavailableError, GenerationMismatchError) as error:
            seen.add((type(error), inner.generation("a") > before))

    assert seen == {
        "written",
        (BucketUnavailableError, False),
        (BucketUnavailableError, True),
        (GenerationMismatchError, True),
    }


def test_a_flaky_bucket_fails_alike_with_the_same_seed():
    def failures(seed):
        bucket = FlakyBucket(FakeBucket(), seed=seed)
        outcomes = []
        for number in range(50):
            with contextlib.suppress(BucketUnavailableError):
                bucket.write(str(number), b"")
                outcomes.append(number)
        return outcomes

    assert failures(1) == failures(1) != failures(2)


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_an_ending_bucket_lets_so_many_writes_through_and_then_nothing(writes):
    inner = FakeBucket()
    bucket = EndingBucket(inner, writes=writes)

    for number in range(writes):
        bucket.write(str(number), b"", if_generation=MUST_NOT_EXIST)
    with pytest.raises(ProcessEndedHere):
        bucket.write("one too many", b"")
    with pytest.raises(ProcessEndedHere):
        bucket.generation("0")

    assert inner.written == tuple(str(number) for number in range(writes))
