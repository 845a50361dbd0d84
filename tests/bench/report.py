"""The measurements as a table for people, and its place in BENCHMARKS.md."""

import importlib.metadata
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.engines.interface import STAGES

ENGINE, ORCHESTRATION, LARGE_FILE, WHOLE_SURVEYS = "measured", "orchestration", "large file", "whole surveys"
"""Sections of BENCHMARKS.md that are written here, by the names in their markers."""
PACKAGES = ("adam-core", "adam-assist", "numpy", "numba", "scipy", "pyarrow")

COLUMNS = (
    "case",
    "seed",
    "threads",
    "detections",
    "findable",
    "clusters recovered",
    "orbits recovered",
    "obs. completeness",
    "pure / contaminated / false",
    "one orbit",
    "Mahalanobis² mean (median)",
    "CPU s: range, link, IOD, OD, merge",
    "CPU s",
    "wall s",
    "peak MB",
)


def table(measurements: Sequence[dict[str, Any]]) -> str:
    """Return a markdown table, one row per measurement."""
    lines = [_row(COLUMNS), _row(["---"] * len(COLUMNS))]
    return "\n".join([*lines, *(_row(_cells(measured)) for measured in measurements)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(measured: dict[str, Any]) -> list[str]:
    scores, cpu = measured["scores"], measured["cpu_seconds"]
    last = scores.get(measured["stage"], {})
    return [
        measured["case"],
        str(measured["seed"]),
        str(measured["threads"]),
        f"{measured['detections']:,}".replace(",", " "),
        str(last.get("findable", "")),
        _found(scores.get("cluster_and_link")),
        _found(scores.get("merge_and_extend")),
        _percent(last.get("observation_completeness")),
        " / ".join(str(last.get(verdict, "")) for verdict in ("pure", "contaminated", "false")),
        str(last.get("one_orbit", "")),
        "{mean:.2f} ({median:.2f})".format(**measured["covariance"]) if measured["covariance"] else "",
        ", ".join(f"{cpu[stage]:.3g}" for stage in STAGES if stage in cpu),
        f"{sum(cpu.values()):.3g}",
        f"{sum(measured['wall_seconds'].values()):.3g}",
        f"{measured['peak_memory_mb']:.0f}",
    ]


def _found(score: dict[str, Any] | None) -> str:
    return f"{score['recovered']} ({_percent(score['completeness'])})" if score else ""


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.1f} %"


def cold_start_table(measured: dict[str, dict[str, float]]) -> str:
    """Return a markdown table of how long a start takes."""
    lines = [_row(["start", "CPU s", "wall s"]), _row(["---"] * 3)]
    rows = (_row([name, str(times["cpu_seconds"]), str(times["wall_seconds"])]) for name, times in measured.items())
    return "\n".join([*lines, *rows])


def machine() -> str:
    """Return what ran it: processor, system, Python and the versions that matter."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return f"{_processor()}; Python {platform.python_version()}; {versions}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {len(models)} cores"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def text_with_section(text: str, section: str, *, name: str = ENGINE) -> str:
    """Return the document with what stands between the markers of that name replaced."""
    begin, end = (f"<!-- {name}: {which} -->" for which in ("begin", "end"))
    head, _, rest = text.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise ValueError(f"Cannot write measurements: the document has no lines {begin!r} and {end!r}.")
    return f"{head}{begin}\n{section}\n{end}{tail}"
