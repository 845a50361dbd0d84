"""Which exceptions mean that the process has no memory left, whatever libraries call them."""

import errno
import resource

_WORDS = ("cannot allocate memory", "failed to map segment from shared object")
_NO_THREAD = "can't start new thread"
"""A thread's stack that does not fit below RLIMIT_AS; without that limit it is a matter of too many threads."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether the error, or one that it comes from, says that memory could not be had.

    Libraries say so in many ways: mmap raises OSError, a thread pool RuntimeError, the loader ImportError.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if _says_so(cause):
            return True
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return False


def _says_so(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error).lower()
    is_limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    return any(words in text for words in _WORDS) or (is_limited and _NO_THREAD in text)
