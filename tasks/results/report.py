"""`report.html`: a job on one page that opens without a network; pictures are inside, links lead to files beside.

Text from files and from the bucket is escaped: it may hold anything.
"""

import base64
import importlib.metadata
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pyarrow as pa

from tasks.engines.builtin.astrodynamics.orbit_classes import CLASSES
from tasks.jobs.collect import CollectedTask
from tasks.jobs.finish import ERROR_MESSAGE
from tasks.records.manifest import Manifest
from tasks.records.status import Status
from tasks.results.job_detections import JobDetections
from tasks.results.merge_results import MergedResults
from tasks.results.plots import Picture
from tasks.results.recovered_tables import FLAGS

REPORT_FILE = "report.html"

LOG_FILE = "thor.log"

MOST_ORBITS = 200
"""The page shows so many of the recovered orbits; the csv has all."""

OPEN_ROWS = 60
"""A longer table is folded up at first."""

PACKAGES = ("thor-taskqueue", "adam-core", "numpy", "scipy", "numba", "pyarrow", "matplotlib")
"""Packages whose versions on this machine the page states."""

CSS = """
:root{--ink:#1b1f24;--soft:#5c6670;--line:#d9dee3;--accent:#0072B2;--bad:#B3400A}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);margin:0 auto;max-width:62rem;padding:1.5rem}
h1{font-size:1.6rem;margin:0 0 .2rem}h2{font-size:1.2rem;margin:2.2rem 0 .6rem;border-bottom:1px solid var(--line)}
p.lead,figcaption,.soft{color:var(--soft)}figure{margin:0 0 1.6rem}figure img{width:100%;height:auto}
figcaption{font-size:.87rem}a{color:var(--accent)}.scroll{overflow-x:auto}
.note{border-left:3px solid var(--accent);padding-left:.7rem}
table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums}
th,td{padding:.18rem .6rem;border-bottom:1px solid var(--line);text-align:left;white-space:nowrap}
td.n,th.n{text-align:right}td.wrap{white-space:normal;overflow-wrap:anywhere}.failed{color:var(--bad);font-weight:600}
dl.totals{display:flex;flex-wrap:wrap;gap:.4rem 2.2rem;margin:1rem 0}dl.totals div{display:flex;flex-direction:column}
dl.totals dt{order:2;font-size:.8rem;color:var(--soft)}dl.totals dd{margin:0;font-size:1.45rem;font-weight:600}
summary{cursor:pointer;color:var(--accent);margin:.4rem 0}
@media print{body{max-width:none;padding:0}figure{break-inside:avoid}.scroll{overflow:visible}
details::details-content{content-visibility:visible}
table{font-size:.5rem}th,td{padding:.1rem .25rem;white-space:normal}td{overflow-wrap:anywhere}td.n{white-space:nowrap}}
"""

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
    #: Other totals, such as completeness: heading -> value.
    totals: Mapping[str, str]
    #: Files of results beside the page, with what each is.
    files: Mapping[str, str]
    #: Sentences that a reader must see, such as why a file was not written.
    notes: Sequence[str]


def report_page(matter: ReportMatter) -> bytes:
    """Return the page, UTF-8. The same results give the same page on the same machine."""
    job = escape(matter.manifest.job_id)
    body = "\n".join(
        [
            f"<h1>Job {job}</h1>",
            _lead(matter),
            _totals(matter),
            *(f'<p class="note">{escape(note)}</p>' for note in matter.notes),
            _section("Files", _files(matter.files)),
            _section("Pictures", "\n".join(map(_figure, matter.pictures)) or "<p>No orbit was recovered.</p>"),
            _section("Recovered orbits", _orbits(matter.merged.orbits)),
            _section("Tasks", _tasks(matter.tasks)),
            _section("Configuration", _folded(len(matter.config), _pairs(matter.config, ("key", "value")))),
            _section("Versions", _pairs(_versions(matter), ("what", "version"))),
        ]
    )
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{job}</title>'
    page = f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{CSS}</style></head>\n<body>{body}</body></html>\n'
    return page.encode()


def seconds_of(status: Status) -> float | None:
    """Return the time from claim to end by the worker's clock: for people, nothing is decided on it."""
    if status.started_at is None or status.updated_at is None:
        return None
    return round((status.updated_at - status.started_at).total_seconds(), 2)


def _lead(matter: ReportMatter) -> str:
    manifest = matter.manifest
    submitted = manifest.submitted_at or manifest.created_at
    where = ", ".join(f"{escape(code)} ({count})" for code, count in matter.detections.n_of_observatory.items())
    return (
        f'<p class="lead">Submitted {submitted:%Y-%m-%d %H:%M} UTC to {escape(manifest.bucket)}; engine '
        f"{escape(manifest.engine_name)} {escape(manifest.engine_version)}. Detections by observatory: "
        f"{where or 'not known'}.</p>"
    )


def _totals(matter: ReportMatter) -> str:
    states = [task.status.state for task in matter.tasks]
    totals = {
        "recovered orbits": str(len(matter.merged.orbits)),
        "before merging": str(matter.merged.n_before),
        "tasks succeeded": f"{states.count('succeeded')} of {len(states)}",
        "tasks failed": str(states.count("failed")),
        "detections": str(matter.detections.n_detections),
        **matter.totals,
    }
    return (
        '<dl class="totals">'
        + "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in totals.items())
        + "</dl>"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{body}\n</section>"


def _files(files: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><td><a href="{escape(name)}">{escape(name)}</a></td><td class="wrap">{escape(what)}</td></tr>'
        for name, what in files.items()
    )
    return f"<table>{rows}</table>"


def _figure(picture: Picture) -> str:
    body = base64.b64encode(picture.svg).decode()
    return (
        f'<figure id="{escape(picture.name)}">'
        f'<img alt="{escape(picture.title)}" src="data:image/svg+xml;base64,{body}">'
        f"<figcaption><strong>{escape(picture.title)}.</strong> {escape(picture.caption)}</figcaption></figure>"
    )


def _orbits(orbits: pa.Table) -> str:
    columns = [(name, *heading) for name, heading in ORBIT_COLUMNS.items() if name in orbits.column_names]
    shown = orbits.slice(0, MOST_ORBITS).select([name for name, _, _ in columns]).to_pylist()
    rows = ([(_number(row[name], form), bool(form)) for name, _, form in columns] for row in shown)
    table = _table([(heading, bool(form)) for _, heading, form in columns], rows)
    more = f" The first {MOST_ORBITS} of {len(orbits)} are shown." if len(orbits) > MOST_ORBITS else ""
    return _folded(len(shown), table) + f'<p class="soft">{escape("; ".join(_key(orbits)))}.{more}</p>'


def _key(orbits: pa.Table) -> list[str]:
    """Say what the classes and flags mean that these orbits have."""
    classes = set(_distinct(orbits, "orbit_class"))
    flags = {flag for text in _distinct(orbits, "quality_flags") for flag in text.split(";")}
    meanings = {**{name: CLASSES[name] for name in CLASSES if name in classes},
                **{name: FLAGS[name] for name in FLAGS if name in flags}}  # fmt: skip
    return [f"{name}: {meaning}" for name, meaning in meanings.items()] or ["No orbit was recovered"]


def _tasks(tasks: Sequence[CollectedTask]) -> str:
    heads = [("task", False), ("test orbit", False), ("state", False), ("attempts", True), ("time [s]", True),
             ("worker", False), ("files", False), ("error", False)]  # fmt: skip
    body = "".join(_task_row(task) for task in tasks)
    return _folded(len(tasks), _table(heads, ()).replace("</table>", f"{body}</table>"))


def _task_row(task: CollectedTask) -> str:
    status, place = task.status, f"tasks/{task.task_id}/outputs"
    names = {output.name for output in status.outputs}
    links = [f'<a href="{place}/{name}">{name}</a>' for name in (LOG_FILE, ERROR_MESSAGE) if name in names]
    error = status.error.splitlines()[0] if status.error else ""
    seconds = seconds_of(status)
    return (
        f"<tr><td>{escape(task.task_id)}</td><td>{escape(task.orbit_id)}</td>"
        f'<td class="{status.state}">{status.state}</td><td class="n">{status.attempt}</td>'
        f'<td class="n">{"" if seconds is None else f"{seconds:.2f}"}</td><td>{escape(status.worker)}</td>'
        f'<td>{" ".join(links)}</td><td class="wrap">{escape(error)}</td></tr>\n'
    )


def _pairs(pairs: Mapping[str, str], heads: tuple[str, str]) -> str:
    rows = ([(escape(key), False), (escape(value), False)] for key, value in pairs.items())
    return _table([(head, False) for head in heads], rows)


def _table(heads: Sequence[tuple[str, bool]], rows: Iterable[Sequence[tuple[str, bool]]]) -> str:
    """Return a table of cells that are escaped already; the flag says that a cell is a number."""

    def cells(tag: str, row: Sequence[tuple[str, bool]]) -> Iterator[str]:
        for text, is_number in row:
            yield f'<{tag} class="n">{text}</{tag}>' if is_number else f"<{tag}>{text}</{tag}>"

    lines = [f"<tr>{''.join(cells('th', heads))}</tr>", *(f"<tr>{''.join(cells('td', row))}</tr>" for row in rows)]
    return '<div class="scroll"><table>' + "\n".join(lines) + "</table></div>"


def _folded(count: int, table: str) -> str:
    opened = "" if count > OPEN_ROWS else " open"
    return f"<details{opened}><summary>{count} {'row' if count == 1 else 'rows'}</summary>{table}</details>"


def _number(value: object, form: str) -> str:
    if value is None:
        return ""
    return escape(format(value, form) if form else str(value))


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
