"""`report.html`: a job on one page that opens without a network; pictures are inside, links lead to files beside.

This module gathers what the page tells; how it looks is in `report.html.j2`, beside it.
"""

import base64
import importlib.metadata
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jinja2
import pyarrow as pa

from tasks.engines.builtin.astrodynamics.orbit_classes import CLASSES
from tasks.jobs.collect import CollectedTask
from tasks.jobs.finish import ERROR_MESSAGE
from tasks.records.manifest import Manifest
from tasks.records.status import Status
from tasks.results.completeness import Completeness
from tasks.results.found_by import ShareOfOrbit, expected_kinds
from tasks.results.job_detections import JobDetections
from tasks.results.merge_results import MergedResults
from tasks.results.plots import Picture
from tasks.results.recovered_tables import FLAGS
from tasks.wording import counted

REPORT_FILE = "report.html"

TEMPLATE = "report.html.j2"
"""The page, beside this module; it escapes what it is given."""

Cell = tuple[str, bool]
"""Text of a cell, and whether it is a number."""

LOG_FILE = "thor.log"

MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)

MOST_ORBITS = 200
"""Recovered orbits that the page shows; the csv has all."""

OPEN_ROWS = 60
"""A longer table is folded up at first."""

PACKAGES = ("thor-taskqueue", "adam-core", "numpy", "scipy", "numba", "pyarrow", "matplotlib")
"""Packages whose versions on this machine the page states."""

ORBIT_COLUMNS = {
    "orbit_id": ("orbit", ""), "trkSub": ("trkSub", ""), "orbit_class": ("class", ""), "num_obs": ("obs", "d"),
    "num_nights": ("nights", "d"), "arc_length": ("arc [d]", ".2f"), "rms_arcsec": ("RMS [arcsec]", ".3f"),
    "rchi2": ("red. chi²", ".2f"), "a": ("a [au]", ".5f"), "a_sigma": ("sigma a [au]", ".1e"), "e": ("e", ".5f"),
    "i": ("i [deg]", ".4f"), "q": ("q [au]", ".5f"), "H": ("H", ".2f"), "uncertainty_parameter": ("U", "d"),
    "known_object": ("known object", ""), "known_separation_arcsec": ("separation [arcsec]", ".2f"),
    "quality_flags": ("flags", ""), "found_by": ("found by", ""),
}  # fmt: skip
"""Column of the table -> its heading on the page and the format of its numbers."""


@dataclass(frozen=True)
class ReportMatter:
    """What the page tells of."""

    manifest: Manifest
    #: Key -> value, as in config.csv.
    config: Mapping[str, str]
    tasks: Sequence[CollectedTask]
    merged: MergedResults
    detections: JobDetections
    pictures: Sequence[Picture]
    #: Completeness by bins, where the truth is known.
    judged: Completeness
    #: What each test orbit found, in the order of the job.
    shares: Sequence[ShareOfOrbit]
    #: Other totals, such as completeness: heading -> value.
    totals: Mapping[str, str]
    #: Files of results beside the page, with what each is.
    files: Mapping[str, str]
    #: Sentences that a reader must see, such as why a file was not written.
    notes: Sequence[str]


def report_page(matter: ReportMatter) -> bytes:
    """Return the page, UTF-8. The same results give the same page on the same machine."""
    heads, rows = _orbit_table(matter.merged.orbits)
    told = {
        **vars(matter),
        "totals": _totals(matter),
        "span": _span_text(matter.detections),
        "orbit_heads": heads,
        "orbits": rows,
        "n_orbits": len(matter.merged.orbits),
        "orbits_key": _key(matter.merged.orbits),
        "flags": _flag_counts(matter.merged.orbits),
        "kinds": expected_kinds(matter.manifest.expected, matter.merged.orbits),
        "share_of": {share.orbit_id: share for share in matter.shares},
        "versions": _versions(matter),
    }
    helpers = {
        "counted": counted,
        "seconds_of": seconds_of,
        "open_rows": OPEN_ROWS,
        "linked_outputs": (LOG_FILE, ERROR_MESSAGE),
    }
    return page_from_template(TEMPLATE, told | helpers)


def page_from_template(template: str, told: Mapping[str, object]) -> bytes:
    """Return the page that a template beside this module makes of what it is told; it escapes every value."""
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters["base64"] = lambda body: base64.b64encode(body).decode()
    return pages.get_template(template).render(told).encode()


def seconds_of(status: Status) -> float | None:
    """Return the time from claim to end by the worker's clock: for people, nothing is decided on it."""
    if status.started_at is None or status.updated_at is None:
        return None
    return round((status.updated_at - status.started_at).total_seconds(), 2)


def _span_text(detections: JobDetections) -> str:
    """Return the first and the last date of the detections, UTC, and the days between them."""
    if detections.span_mjd_utc is None:
        return ""
    first, last = detections.span_mjd_utc
    dates = [f"{MJD_ZERO + timedelta(days=time):%Y-%m-%d}" for time in (first, last)]
    return f"{dates[0]} to {dates[1]} UTC ({last - first:.2f} d)"


def _totals(matter: ReportMatter) -> dict[str, str]:
    states = [task.status.state for task in matter.tasks]
    return {
        "recovered orbits": str(len(matter.merged.orbits)),
        "before merging": str(matter.merged.n_before),
        "tasks succeeded": f"{states.count('succeeded')} of {len(states)}",
        "tasks failed": str(states.count("failed")),
        "detections": str(matter.detections.n_detections),
        **matter.totals,
    }


def _orbit_table(orbits: pa.Table) -> tuple[list[Cell], list[list[Cell]]]:
    """Return the headings and rows of the table of recovered orbits."""
    columns = [(name, *heading) for name, heading in ORBIT_COLUMNS.items() if name in orbits.column_names]
    shown = orbits.slice(0, MOST_ORBITS).select([name for name, _, _ in columns]).to_pylist()
    heads = [(heading, bool(form)) for _, heading, form in columns]
    return heads, [[(_number(row[name], form), bool(form)) for name, _, form in columns] for row in shown]


def _key(orbits: pa.Table) -> list[str]:
    """Say what the classes mean that these orbits have."""
    classes = set(_distinct(orbits, "orbit_class"))
    return [f"{name}: {meaning}" for name, meaning in CLASSES.items() if name in classes]


def _flag_counts(orbits: pa.Table) -> list[tuple[str, int, str]]:
    """Return each flag with the number of orbits that have it, and what it says; those without any first."""
    of_orbit = [text.split(";") if text else [] for text in orbits["quality_flags"].to_pylist()]
    counts = Counter(flag for flags in of_orbit for flag in flags)
    rows = [(flag, counts[flag], meaning) for flag, meaning in FLAGS.items() if counts[flag]]
    return [("none", sum(not flags for flags in of_orbit), "nothing speaks against the orbit"), *rows]


def _number(value: object, form: str) -> str:
    if value is None:
        return ""
    return format(value, form) if form else str(value)


def _versions(matter: ReportMatter) -> dict[str, str]:
    orbits = matter.merged.orbits
    return {
        "engine of the job": f"{matter.manifest.engine_name} {matter.manifest.engine_version}",
        **{
            f"engine of the results ({name})": "; ".join(_distinct(orbits, name))
            for name in ("software", "force_model")
        },
        **{f"sha256 of {name}": digest for name, digest in matter.manifest.inputs_sha256.items()},
        "Python here": platform.python_version(),
        **{f"{name} here": version for name in PACKAGES if (version := _version(name))},
    }


def _distinct(orbits: pa.Table, name: str) -> list[str]:
    return sorted(orbits[name].unique().to_pylist())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def files_beside(output: Path, files: Mapping[str, str]) -> dict[str, str]:
    """Return those of the files that are there."""
    return {name: what for name, what in files.items() if (output / name).is_file()}
