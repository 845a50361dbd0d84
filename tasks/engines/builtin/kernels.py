"""How the engine compiles its numerical kernels. The one home of numba's options; it may not compute anything.

Machine code is kept in a folder that is named by a hash of the sources it stands on. numba itself looks at a kernel's
own file only, and would go on with machine code that has an older version of the kernels it calls inside.
"""

import fcntl
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

from numba import config, njit

Function = TypeVar("Function", bound=Callable[..., object])

_ENGINES = Path(__file__).parents[1]
_IMPORT = re.compile(r"^from tasks\.engines\.([\w.]+) import", re.MULTILINE)
_KERNELS = "from tasks.engines.builtin.kernels import"

LOCK = "kernels.lock"
COMPLETE = "complete"
"""Files in the folder: who holds the lock compiles; when all kernels are there, nobody waits for it any more."""
KEPT_FOLDERS = 3
"""Of the last sources: processes of an older checkout may still be at work."""


def kernel(function: Function) -> Function:
    """Compile a function of numbers and arrays to machine code, cached on disk and free of Python's global lock.

    Division by zero gives infinity or nan as in numpy, and is for the caller to look at. Operations are never
    reordered (no fastmath): the same input gives the same bits.
    """
    config.CACHE_DIR = str(folder())  # type: ignore[attr-defined] # numba's settings have no types
    return cast("Function", njit(cache=True, nogil=True, error_model="numpy")(function))


@cache
def folder() -> Path:
    """Return the folder of this version's machine code: below NUMBA_CACHE_DIR, else in the tree, else at home."""
    named = f"kernels-{digest_of_sources(_ENGINES)[:16]}"
    chosen = config.CACHE_DIR  # type: ignore[attr-defined] # of NUMBA_CACHE_DIR
    if chosen:
        return Path(chosen) / named
    in_tree = _ENGINES / "__pycache__" / named
    try:
        in_tree.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path.home() / ".cache" / "thor-taskqueue" / named
    return in_tree


@contextmanager
def compiled_once() -> Iterator[None]:
    """Inside, everything is compiled, or read from the cache: by one process at a time while the cache is not complete.

    Several that start on an empty cache would compile everything each for themselves. So the others wait, and find on
    the disk what the first one made.
    """
    place = folder()
    if (place / COMPLETE).exists():
        yield
        return
    try:
        place.mkdir(parents=True, exist_ok=True)
        file = (place / LOCK).open("ab")
    except OSError:  # nobody can write there, nor can numba
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        (place / COMPLETE).touch()
        remove_outdated(place)


def remove_outdated(present: Path) -> None:
    """Remove the machine code of older sources, but the last few."""
    folders = sorted(present.parent.glob("kernels-*"), key=lambda each: each.stat().st_mtime, reverse=True)
    for outdated in folders[KEPT_FOLDERS:]:
        if outdated != present:
            shutil.rmtree(outdated, ignore_errors=True)


def digest_of_sources(engines: Path) -> str:
    """Digest the text of every module with kernels, and of all that they import from the engines, directly or not."""
    seen: dict[Path, str] = {}
    to_do = [path for path in engines.rglob("*.py") if _KERNELS in path.read_text(encoding="utf-8")]
    while to_do:
        each = to_do.pop()
        if each not in seen and each.is_file():
            seen[each] = each.read_text(encoding="utf-8")
            to_do += [engines.joinpath(*name.split(".")).with_suffix(".py") for name in _IMPORT.findall(seen[each])]
    digest = hashlib.sha256()
    for each in sorted(seen):
        digest.update(seen[each].encode())
    return digest.hexdigest()
