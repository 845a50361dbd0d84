"""Is this machine fit for work? Disk space, engines, and the cache of compiled kernels."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tasks.engines.errors import EngineMissingError
from tasks.engines.upstream_process import found_upstream
from tasks.records.finding import Finding, ok, problem, warning

DISK = "disk space"
ENGINE = "engine"
KERNELS = "kernel cache"
CLOCK = "clock"

TOO_LITTLE_BYTES = 500 * 2**20
"""Less is no room for a job's outputs and a queue's file."""
RATHER_LITTLE_BYTES = 5 * 2**30

CLOCK_FINDING = ok(CLOCK, "not needed: generations show whether a worker is alive, and the queue times delays")


def disk_findings(places: Iterable[Path]) -> list[Finding]:
    """Look at the free space wherever something is written, once for each file system."""
    found: dict[int, Finding] = {}
    unseen: list[Finding] = []
    for place in places:
        try:
            existing = next(parent for parent in (place, *place.parents) if parent.exists())
            device = existing.stat().st_dev
            found.setdefault(device, disk_finding(existing, shutil.disk_usage(existing).free))
        except OSError as error:
            unseen.append(problem(DISK, f"{place}: {error.strerror}", "See that this user may read and write it."))
    return [*found.values(), *unseen]


def disk_finding(place: Path, free_bytes: int) -> Finding:
    """Judge the free space at a place. Pure."""
    free = f"{free_bytes / 2**30:.1f} GiB free at {place}"
    if free_bytes < TOO_LITTLE_BYTES:
        return problem(DISK, free, "Make room: what can't be written fails. `python -m flows.delete` removes old jobs.")
    if free_bytes < RATHER_LITTLE_BYTES:
        return warning(DISK, free, "Make room before a large job.")
    return ok(DISK, free)


def scratch_directory() -> Path:
    """Return where this machine keeps temporary files."""
    return Path(tempfile.gettempdir())


def engine_findings(thor_python: Path | None) -> list[Finding]:
    """Load the engines, and say what they have."""
    try:
        # 3 s of numerics that no other verb needs.
        from tasks.engines.builtin import kernels  # noqa: PLC0415
        from tasks.engines.builtin.astrodynamics import assist  # noqa: PLC0415
        from tasks.engines.registry import engine_by_name  # noqa: PLC0415

        builtin = engine_by_name("builtin")
    except (ImportError, RuntimeError) as error:
        # numba raises RuntimeError when it finds no place at all for its cache.
        advice = "Install the locked dependencies again (`make run`), and see that ~/.cache can be written."
        return [problem(ENGINE, f"the built-in engine can't be loaded: {error}", advice)]
    extra = (
        f"force model assist: {assist.description()}"
        if assist.is_available()
        else (
            "force model assist is not installed (extra 'nbody'); the default, the engine's own n-body, needs nothing"
        )
    )
    findings = [ok(ENGINE, f"{builtin.name} {builtin.version}"), ok(ENGINE, extra)]
    if thor_python is not None:
        findings.append(_upstream_finding(thor_python))
    return [*findings, kernel_cache_finding(kernels.folder())]


def _upstream_finding(thor_python: Path) -> Finding:
    from tasks.engines.upstream import version_from_found  # noqa: PLC0415 (as above)

    try:
        return ok(ENGINE, f"thor {version_from_found(found_upstream(thor_python))}")
    except EngineMissingError as error:
        return problem(
            ENGINE, str(error), "Correct THOR_PYTHON; workers here leave jobs with engine thor to others until then."
        )


def kernel_cache_finding(cache: Path) -> Finding:
    """Judge the directory in which numba keeps the kernels."""
    compiled = len(list(cache.rglob("*.nbi"))) if cache.exists() else 0
    if not os.access(cache if cache.exists() else cache.parent, os.W_OK):
        return warning(
            KERNELS,
            f"{cache} can't be written",
            "Each new worker process compiles for half a minute: make it writable, or set NUMBA_CACHE_DIR to a "
            "directory that is.",
        )
    if not compiled:
        advice = "Run `python -m tasks.engines.warm_up` once; otherwise the first worker takes half a minute longer."
        return warning(KERNELS, f"{cache} is empty", advice)
    return ok(KERNELS, f"{cache} can be written and holds compiled kernels")
