"""How the engine compiles its numerical kernels. The one home of numba's options; it may not compute anything."""

import fcntl
import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])

_PACKAGE = Path(__file__).parent

LOCK = "kernels.lock"
"""Beside the cached machine code: who holds it compiles, or reads what others compiled."""

_own_lock = threading.RLock()

_depth = 0
"""How many compilations of this process are under way, one inside the other: a kernel compiles those it calls."""

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
    compiled.compile = _one_process_at_a_time(compiled.compile, compiled._cache)
    compiled._cache.save_overload = _as_well_as_it_can(compiled._cache.save_overload)
    return cast("Function", compiled)


def _one_process_at_a_time(compile_: Callable[..., object], own_cache: Any) -> Callable[..., object]:
    """Let one process at a time compile or load kernels of a cache.

    Several that start on an empty cache would compile everything each for themselves, and write the same files. So
    the others wait, and find on the disk what the first one made.
    """

    @wraps(compile_)
    def locked(*arguments: object) -> object:
        with _locked(_folder_of_lock(Path(own_cache.cache_path))):
            return compile_(*arguments)

    return locked


def _folder_of_lock(folder: Path) -> Path:
    """Return one folder for the caches of all modules: kernels call each other across them."""
    return _PACKAGE / "__pycache__" if folder.name == "__pycache__" else folder.parent


def _as_well_as_it_can(save: Callable[..., object]) -> Callable[..., object]:
    """Let a kernel be used that cannot be saved: it is compiled again by the next process.

    numba refuses with "no compiled object yet" to save machine code that LLVM did not hand over to it.
    """

    @wraps(save)
    def saved(*arguments: object) -> object:
        try:
            return save(*arguments)
        except RuntimeError as error:
            if "no compiled object" not in str(error):
                raise
            return None

    return saved


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a cache; threads of one process share it, one after the other."""
    global _depth  # noqa: PLW0603 (a process has one set of kernels)
    with _own_lock:
        _depth += 1
        try:
            if _depth > 1:
                yield
                return
            try:
                folder.mkdir(parents=True, exist_ok=True)
                file = (folder / LOCK).open("ab")
            except OSError:  # nobody can write there, nor can numba
                yield
                return
            with file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        finally:
            _depth -= 1


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
