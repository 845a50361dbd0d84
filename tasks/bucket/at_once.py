"""Several bucket operations at one time: it is the network that is waited for, not the processor."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

AT_ONCE = 16
"""Operations at one time. Well below the connections that a bucket of Google Cloud Storage keeps open."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def for_each(items: Iterable[Item], act: Callable[[Item], Result]) -> list[Result]:
    """Act on several items at a time; return the results in the order of the items. The first error ends it.

    When it returns or raises, no operation is under way any more.
    """
    threads = ThreadPoolExecutor(AT_ONCE)
    try:
        return list(threads.map(act, items))
    finally:
        # After an error thousands of others would wait for the same bucket, each to its deadline.
        threads.shutdown(cancel_futures=True)
