"""How the engine compiles its numerical kernels. The one home of numba's options; it may not compute anything."""

import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])

_PACKAGE = Path(__file__).parent

_IMPORT = re.compile(r"^from tasks\.engines\.builtin\.([\w.]+) import", re.MULTILINE)


def kernel(function: Function) -> Function:
    """Compile a function of numbers and arrays to machine code, cached on disk and free of Python's global lock.

    Division by zero gives infinity or nan as in numpy, and is for the caller to look at. Operations are never
    reordered (no fastmath): the same input gives the same bits.
    """
    compiled: Any = njit(cache=True, nogil=True, error_model="numpy")(function)
    # numba looks at a kernel's own file only, and would go on with machine code that has an older version of the
    # kernels it calls inside. So what its cache is good for is said here: the source of all modules it stands on.
    compiled._cache._cache_file._source_stamp = _stamp_of_sources(Path(function.__code__.co_filename))
    return cast("Function", compiled)


@cache
def _stamp_of_sources(path: Path) -> str:
    """Digest the text of a module and of all that it imports from this package, directly or not."""
    seen: set[Path] = set()
    to_do = [path]
    while to_do:
        each = to_do.pop()
        if each not in seen and each.is_file():
            seen.add(each)
            imported = _IMPORT.findall(each.read_text(encoding="utf-8"))
            to_do += [_PACKAGE.joinpath(*name.split(".")).with_suffix(".py") for name in imported]
    digest = hashlib.sha256()
    for each in sorted(seen):
        digest.update(each.read_bytes())
    return digest.hexdigest()
