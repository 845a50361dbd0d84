"""Recovered objects as ADES PSV, one file per observatory, ready to be sent to the Minor Planet Center.

A file is written only when the config says who observed with what (`tasks.inputs.ades_settings`) and the text keeps
ADES's rules (`tasks.inputs.ades_rules`); otherwise a sentence says what is missing. The same results, the same bytes.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.tables import OBSERVER_POSITION
from tasks.inputs.ades_rules import LONGEST_OBS_SUB_ID, VALUES, VERSION_LINE, faults_of_psv
from tasks.inputs.ades_settings import AdesSettings, settings_of_observatory
from tasks.results.designations import designation_of
from tasks.results.merge_results import MergedResults
from tasks.wording import counted

NOT_REPORTED = ("few_nights", "large_rms", "poor_fit", "many_outliers")
"""Objects with one of these quality flags are left out: they may be false."""

MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)

AU_KM = 149_597_870.7

MILLISECONDS_PER_DAY = 86_400_000

Row = dict[str, str]


@dataclass(frozen=True)
class AdesFiles:
    """Files by their name, and sentences on what was not written and why."""

    bodies: Mapping[str, bytes]
    notes: Sequence[str]


def ades_files(
    merged: MergedResults, items: Mapping[str, str], *, job_id: str, observers: pa.Table | None = None
) -> AdesFiles:
    """Return a file for each observatory whose detections are in recovered orbits.

    Parameters
    ----------
    merged
        Completed tables (`recovered_tables.complete_tables`).
    items
        Checked config keys `ades.*`.
    observers
        `obs_id` and `tables.OBSERVER_POSITION` of detections, null where the observer stood still; None: all did.
    """
    bodies: dict[str, bytes] = {}
    notes: list[str] = []
    reported = _reported(merged)
    if len(reported) < len(merged.orbits) and items:
        left_out = len(merged.orbits) - len(reported)
        flags = ", ".join(NOT_REPORTED)
        notes.append(f"ADES: {counted(left_out, 'object')} left out for quality flags ({flags}).")
    of_objects = _members_of(reported, merged.members)
    members = _each_once(of_objects)
    if len(members) < len(of_objects) and items:
        again = len(of_objects) - len(members)
        notes.append(f"ADES: {counted(again, 'detection')} of a second object, too, reported for the larger one alone.")
    if items:
        notes += _says_undesignated(reported)
    where = _positions_km(observers)
    missing: dict[tuple[str, ...], list[str]] = {}
    for code in sorted(filter(None, members["observatory_code"].unique().to_pylist())):
        settings = settings_of_observatory(items, code)
        if settings.missing:
            missing.setdefault(tuple(settings.missing), []).append(code)
            continue
        own = members.filter(pc.equal(members["observatory_code"], code))
        rows = [_row(detection, settings, where.get(detection["obs_id"])) for detection in _in_order(own)]
        notes += _lost_magnitudes(own, rows, code)
        text = _text(_header(settings, job_id=job_id, software=_software(reported)), rows)
        faults = faults_of_psv(text)
        if faults:
            notes.append(f"ADES: no file for observatory {code}, it would break ADES's rules: {'; '.join(faults)}.")
        else:
            bodies[f"ades_{code}.psv"] = text.encode()
    notes += [_says_missing(keys, codes) for keys, codes in missing.items()]
    return AdesFiles(bodies, notes)


def obs_time(mjd_utc: float) -> str:
    """Return a time as ADES has it, to the millisecond."""
    day = math.floor(mjd_utc)
    milliseconds = round((mjd_utc - day) * MILLISECONDS_PER_DAY)
    time = MJD_EPOCH + timedelta(days=day, milliseconds=milliseconds)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"


def position(degrees: float, sigma_deg: float | None) -> str:
    """Return a coordinate with as many decimals as its sigma is worth: rounding stays below a tenth of it, 5 to 9."""
    decimals = 6 if sigma_deg is None else int(np.clip(math.ceil(-math.log10(sigma_deg / 5.0)), 5, 9))
    return f"{degrees:.{decimals}f}"


def small_number(value: float | None, *, width: int, decimals: int) -> str:
    """Return a positive number in at most `width` characters, with `decimals` where they fit; else an empty text."""
    if value is None or not value > 0.0:
        return ""
    for places in range(decimals, -1, -1):
        text = f"{value:.{places}f}"
        if len(text) <= width:
            return text if float(text) > 0.0 else ""
    return ""


def _reported(merged: MergedResults) -> pa.Table:
    flagged = pc.match_substring_regex(merged.orbits["quality_flags"], f"\\b({'|'.join(NOT_REPORTED)})\\b")
    return merged.orbits.filter(pc.invert(flagged))


def _members_of(orbits: pa.Table, members: pa.Table) -> pa.Table:
    """Return detections in use of these orbits, each with the name of its object."""
    used = members.filter(pc.equal(members["outlier"], 0))
    rows = pc.index_in(used["orbit_id"], orbits["orbit_id"].combine_chunks())
    for name in ("trkSub", "known_object"):
        used = used.append_column(name, orbits[name].combine_chunks().take(rows.combine_chunks()))
    return used.filter(pc.is_valid(used["trkSub"]))


def _each_once(members: pa.Table) -> pa.Table:
    """Return each detection with the first object that has it, the one with most detections.

    Objects of two tasks may share some: one sight of the sky is sent as one observation of one object.
    """
    numbers = members["obs_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    _, first = np.unique(numbers, return_index=True)
    return members.take(pa.array(np.sort(first)))


def _in_order(members: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield detections by object, then time, then id."""
    order = [("trkSub", "ascending"), ("mjd_utc", "ascending"), ("obs_id", "ascending")]
    for batch in members.sort_by(order).to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def _positions_km(observers: pa.Table | None) -> dict[str, Sequence[float]]:
    """Return where the observers that moved were, by detection: km from the Earth's centre, equatorial (ICRF)."""
    if observers is None:
        return {}
    moved = observers.filter(pc.is_valid(observers[OBSERVER_POSITION.names[0]]))
    axes = [pc.multiply(moved[name], AU_KM).to_pylist() for name in OBSERVER_POSITION.names]
    return dict(zip(moved["obs_id"].to_pylist(), zip(*axes, strict=True), strict=True))


def _says_undesignated(orbits: pa.Table) -> list[str]:
    names = sorted({name for name in orbits["known_object"].to_pylist() if name and designation_of(name) is None})
    if not names:
        return []
    told = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")  # noqa: PLR2004 (a sentence of a few names)
    note = (
        f"ADES: {counted(len(names), 'known object')} reported by trkSub alone: the catalogue's names ({told}) are "
        "neither numbers nor provisional designations."
    )
    return [note]


def _row(detection: Mapping[str, Any], settings: AdesSettings, where_km: Sequence[float] | None) -> Row:
    ra = position(detection["RA_deg"], detection["RA_sigma_deg"])
    known = designation_of(detection["known_object"]) if detection["known_object"] else None
    row = {
        **(dict([known]) if known else {}),
        "trkSub": detection["trkSub"],
        "obsSubID": _sub_id(detection["obs_id"]),
        "mode": settings.values["mode"],
        "stn": settings.code,
        **(_observer(where_km) if where_km is not None else {}),
        "obsTime": obs_time(detection["mjd_utc"]),
        "ra": ra if float(ra) < 360.0 else position(0.0, detection["RA_sigma_deg"]),  # noqa: PLR2004
        "dec": "+" * (detection["Dec_deg"] >= 0) + position(detection["Dec_deg"], detection["Dec_sigma_deg"]),
        "rmsRA": _arcsec(detection["RA_sigma_deg"]),
        "rmsDec": _arcsec(detection["Dec_sigma_deg"]),
        "astCat": settings.values["astCat"],
    }
    band = settings.band(detection["filter"])
    mag = detection["mag"]
    if band is not None and mag is not None and -5.0 < mag < 35.0:  # noqa: PLR2004 (ADES's range)
        row |= {
            "mag": f"{mag:.2f}",
            "rmsMag": small_number(detection["mag_sigma"], width=6, decimals=3),
            "band": band,
            "photCat": settings.values.get("photCat", ""),
        }
    return row


def _observer(where_km: Sequence[float]) -> Row:
    axes = {f"pos{axis}": f"{each:.4f}"[:14].rstrip(".") for axis, each in enumerate(where_km, start=1)}
    return {"sys": "ICRF_KM", "ctr": "399", **axes}


def _sub_id(obs_id: str) -> str:
    """Return the survey's own id of a detection where ADES has room for it."""
    fits = len(obs_id) <= LONGEST_OBS_SUB_ID and "|" not in obs_id and obs_id.strip() == obs_id and obs_id.isprintable()
    return obs_id if fits else ""


def _arcsec(sigma_deg: float | None) -> str:
    """Return a sigma in arcsec; empty where the survey gave none: the engine's default was not measured."""
    return small_number(None if sigma_deg is None else sigma_deg * 3600.0, width=7, decimals=4)


def _header(settings: AdesSettings, *, job_id: str, software: str) -> list[str]:
    values = settings.values
    lines = [VERSION_LINE, "# observatory", f"! mpcCode {settings.code}"]
    for record in ("submitter", "observers", "measurers", "telescope"):
        lines.append(f"# {record}")
        for key in (key for key in HEADER_ORDER if key.startswith(f"{record}.") and key in values):
            several = settings.names(key) if record in {"observers", "measurers"} else [values[key]]
            lines += [f"! {key.partition('.')[2]} {each}" for each in several]
    if "fundingSource" in values:
        lines.append(f"# fundingSource {values['fundingSource']}")
    lines += ["# comment", f"! line Linked by {software}, job {job_id}"[:107]]
    return lines + [f"! line {line}" for line in settings.names("comment")]


HEADER_ORDER = (
    "submitter.name", "submitter.institution", "observers.name", "measurers.name", "telescope.name", "telescope.design",
    "telescope.aperture", "telescope.detector", "telescope.fRatio", "telescope.pixelScale",
)  # fmt: skip
"""Keys of the header in the order of its lines."""


def _text(header: Sequence[str], rows: Sequence[Row]) -> str:
    """Return the file with aligned columns; those without any value are left out."""
    columns = [name for name in VALUES if any(row.get(name) for row in rows)]
    widths = {name: max(len(name), *(len(row.get(name, "")) for row in rows)) for name in columns}
    lines = ["|".join(name.ljust(widths[name]) for name in columns).rstrip()]
    lines += ["|".join(row.get(name, "").ljust(widths[name]) for name in columns).rstrip() for row in rows]
    return "\n".join([*header, *lines]) + "\n"


def _software(orbits: pa.Table) -> str:
    return ", ".join(sorted(orbits["software"].unique().to_pylist()))


def _says_missing(keys: Sequence[str], codes: Sequence[str]) -> str:
    observatories = f"observatory {codes[0]}" if len(codes) == 1 else f"observatories {', '.join(codes)}"
    return (
        f"ADES: no file for {observatories}, since the config has no {', '.join(keys)}. "
        "Put them in a csv of key,value and collect again with --config FILE."
    )


def _lost_magnitudes(members: pa.Table, rows: Sequence[Row], code: str) -> list[str]:
    measured = len(members) - members["mag"].null_count
    written = sum("mag" in row for row in rows)
    if measured == written:
        return []
    note = (
        f"ADES: {measured - written} of {measured} magnitudes of observatory {code} are left out: their filter is "
        "empty or no ADES band (set ades.band.FILTER), or they are not between -5 and 35."
    )
    return [note]
