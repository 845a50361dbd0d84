"""The tables of recovered orbits and their members as people get them: all that a catalogue has, and how good it is."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.engines.builtin.astrodynamics.nights import solar_nights
from tasks.engines.builtin.astrodynamics.observers import longitude_deg
from tasks.engines.orbit_catalogue import CATALOGUE_FIELDS, catalogue_columns
from tasks.engines.tables import OBSERVER_POSITION, RECOVERED_ORBITS
from tasks.results.job_detections import JobDetections
from tasks.results.merge_results import FOUND_BY, MergedResults

FEW_NIGHTS = 3
SHORT_ARC_DAYS = 3.0
LARGE_RMS_ARCSEC = 1.0
LARGE_REDUCED_CHI2 = 3.0
MANY_OUTLIERS = 0.2
LOOSE_AXIS = 0.1
"""Relative 1-sigma of the semi-major axis above which an orbit predicts nothing for long."""

KNOWN_ARCSEC = 10.0
"""RMS distance of an object's detections from a known orbit within which it is that object."""

OPPOSITION_GAP_DAYS = 120.0
"""A gap as long as this between two detections: the object was behind the Sun meanwhile, or a season has passed."""

QUALITY_FIELDS = (
    #: Root mean square of the residuals of the detections in use, arcsec: RA cos(Dec), Dec, and both.
    pa.field("rms_ra_arcsec", pa.float64()),
    pa.field("rms_dec_arcsec", pa.float64()),
    pa.field("rms_arcsec", pa.float64()),
    #: Detections that the fit rejected; observatories, and oppositions, with a detection in use; null: not known.
    pa.field("num_outliers", pa.int64()),
    pa.field("num_observatories", pa.int64()),
    pa.field("num_oppositions", pa.int64()),
    #: What speaks against the orbit, of `FLAGS`, joined by ';'; empty: nothing.
    pa.field("quality_flags", pa.string()),
    #: The name under which its detections are reported: 8 characters, from a hash of their ids.
    pa.field("trkSub", pa.string()),
    #: The orbit of the catalogue that passes within `KNOWN_ARCSEC` of its detections, and the RMS distance, arcsec.
    pa.field("known_object", pa.string()),
    pa.field("known_separation_arcsec", pa.float64()),
)

FLAGS = {
    "few_nights": f"fewer than {FEW_NIGHTS} nights, one at several observatories counted once",
    "short_arc": f"an arc shorter than {SHORT_ARC_DAYS:g} days",
    "large_rms": f"an RMS of more than {LARGE_RMS_ARCSEC:g} arcsec",
    "poor_fit": f"a reduced chi^2 of more than {LARGE_REDUCED_CHI2:g}",
    "many_outliers": f"more than {MANY_OUTLIERS:.0%} of its detections rejected",
    "no_covariance": "no covariance could be had",
    "on_limit": "the fit ended on a limit, not in a minimum",
    "ambiguous": "another orbit fits as well but for what chance does",
    "loose_orbit": f"a semi-major axis known to no better than {LOOSE_AXIS:.0%}",
    "unbound": "an eccentricity of 1 or more",
}
"""Flag -> what it says."""

MEMBER_FIELDS = ("mjd_utc", "RA_deg", "Dec_deg", "RA_sigma_deg", "Dec_sigma_deg", "observatory_code", "mag")
"""Columns of the observation that a member is given, besides `mag_sigma` and `filter`."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def complete_tables(
    merged: MergedResults, detections: JobDetections, catalogue: pa.Table | None = None
) -> MergedResults:
    """Add to the orbits the columns of `CATALOGUE_FIELDS` and `QUALITY_FIELDS`, and to the members their detections.

    Parameters
    ----------
    detections
        With the members' detections, row for row, in `asked`.
    catalogue
        Orbits of known objects (rows of `tables.TEST_ORBITS`) to look for; None: there is none.
    """
    members = _complete_members(merged.members, detections.asked)
    facts = catalogue_columns(merged.orbits) | _quality_columns(merged.orbits, members)
    facts |= _known_columns(_with_observers(members, detections.asked), catalogue, len(merged.orbits))
    added = {field: facts[field.name] for field in (*CATALOGUE_FIELDS, *QUALITY_FIELDS)}
    orbits = merged.orbits.select(RECOVERED_ORBITS.names)
    for field, column in added.items():
        orbits = orbits.append_column(field, column)
    for field in FOUND_BY:
        orbits = orbits.append_column(field, merged.orbits[field.name])
    return MergedResults(orbits=orbits, members=members, n_before=merged.n_before)


def trk_subs(members_of_each: Sequence[Sequence[str]]) -> list[str]:
    """Return a name of 8 characters for each set of detection ids: the same set, the same name, in every collect.

    'T' and 7 letters and digits of a hash: it looks like no designation. Where two sets of one job have one name (it
    happens in one of fifteen jobs with 100 000 objects), all but that with the lowest hash take the next free number.
    """
    digests = [hashlib.sha256("\n".join(sorted(set(ids))).encode()).digest() for ids in members_of_each]
    names = [""] * len(digests)
    taken: set[int] = set()
    for row in sorted(range(len(digests)), key=lambda row: digests[row]):
        number = int.from_bytes(digests[row][:8], "big") % 36**7
        while number in taken:
            number = (number + 1) % 36**7
        taken.add(number)
        names[row] = "T" + _in_base_36(number)
    return names


def _in_base_36(number: int) -> str:
    digits = []
    for _ in range(7):
        number, digit = divmod(number, 36)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def _complete_members(members: pa.Table, asked: pa.Table) -> pa.Table:
    chi = pc.sqrt(members["chi2"])
    members = members.append_column(pa.field("chi", pa.float64()), chi)
    for name in (*MEMBER_FIELDS, "mag_sigma", "filter"):
        members = members.append_column(asked.schema.field(name), asked[name])
    return members


def _with_observers(members: pa.Table, asked: pa.Table) -> pa.Table:
    """Return the members with the positions of observers that move."""
    for field in OBSERVER_POSITION:
        members = members.append_column(field, asked[field.name])
    return members


def _quality_columns(orbits: pa.Table, members: pa.Table) -> dict[str, pa.Array]:
    used = members.filter(pc.equal(members["outlier"], 0))
    owner = used["orbit_index"].to_numpy().astype(np.int64)
    number = np.bincount(owner, minlength=len(orbits))
    square_ra = _mean(owner, _floats(used, "residual_ra_arcsec") ** 2, number)
    square_dec = _mean(owner, _floats(used, "residual_dec_arcsec") ** 2, number)
    all_members = np.bincount(members["orbit_index"].to_numpy(), minlength=len(orbits))
    rms, outliers = np.sqrt((square_ra + square_dec) / 2.0), all_members - number
    return {
        "rms_ra_arcsec": _or_null(np.sqrt(square_ra)),
        "rms_dec_arcsec": _or_null(np.sqrt(square_dec)),
        "rms_arcsec": _or_null(rms),
        "num_outliers": pa.array(outliers),
        "num_observatories": _observatories(used, owner, len(orbits)),
        "num_oppositions": _oppositions(used, owner, len(orbits)),
        "quality_flags": pa.array(
            _flags(orbits, _dates(used, owner, len(orbits)), rms, outliers / np.maximum(all_members, 1)), pa.string()
        ),
        "trkSub": pa.array(trk_subs(_ids_of_each(used, number)), pa.string()),
    }


def _known_columns(members: pa.Table, catalogue: pa.Table | None, count: int) -> dict[str, pa.Array]:
    nearest: dict[int, tuple[str, float]] = {}
    if catalogue is not None:
        from tasks.engines.known_objects import nearest_known  # noqa: PLC0415 (the force model, for few jobs)

        used = members.filter(pc.and_(pc.equal(members["outlier"], 0), pc.is_valid(members["mjd_utc"])))
        nearest = {row: each for row, each in nearest_known(used, catalogue).items() if each[1] <= KNOWN_ARCSEC}
    return {
        "known_object": pa.array([nearest[row][0] if row in nearest else None for row in range(count)], pa.string()),
        "known_separation_arcsec": pa.array(
            [nearest[row][1] if row in nearest else None for row in range(count)], pa.float64()
        ),
    }


def _flags(orbits: pa.Table, dates: FloatArray, rms: FloatArray, outliers: FloatArray) -> list[str]:
    with np.errstate(invalid="ignore", divide="ignore"):
        loose = _floats(orbits, "a_sigma") > LOOSE_AXIS * np.abs(_floats(orbits, "a"))
    speaks = {
        "few_nights": np.fmin(_floats(orbits, "num_nights"), dates) < FEW_NIGHTS,
        "short_arc": _floats(orbits, "arc_length") < SHORT_ARC_DAYS,
        "large_rms": rms > LARGE_RMS_ARCSEC,
        "poor_fit": _floats(orbits, "rchi2") > LARGE_REDUCED_CHI2,
        "many_outliers": outliers > MANY_OUTLIERS,
        "no_covariance": pc.is_null(orbits["covariance"]).to_numpy(),
        "on_limit": orbits["on_limit"].to_numpy(),
        "ambiguous": orbits["ambiguous"].to_numpy(),
        "loose_orbit": loose,
        "unbound": _floats(orbits, "e") >= 1.0,
    }
    return [
        ";".join(name for name, holds in zip(speaks, row, strict=True) if holds)
        for row in np.column_stack([speaks[name] for name in FLAGS]).tolist()
    ]


def _dates(used: pa.Table, owner: IntArray, count: int) -> FloatArray:
    """Return on how many dates, local noon to noon, each orbit's detections are; nan where no time is known.

    The engine's nights are each observatory's own: three that look in one night make three of them.
    """
    known = used["mjd_utc"].is_valid().to_numpy()
    codes = used["observatory_code"].filter(pa.array(known)).to_pylist()
    longitude = np.array([longitude_deg(code) for code in codes], dtype=np.float64)
    dates = solar_nights(_floats(used, "mjd_utc")[known], longitude)
    pairs = np.unique(np.column_stack([owner[known], dates]), axis=0)
    number = np.bincount(pairs[:, 0], minlength=count)
    return np.where(number > 0, number, np.nan)


def _observatories(used: pa.Table, owner: IntArray, count: int) -> pa.Array:
    codes = used["observatory_code"].combine_chunks().dictionary_encode()
    known = codes.is_valid().to_numpy(zero_copy_only=False)
    many = max(len(codes.dictionary), 1)
    pairs = np.unique(owner[known] * many + codes.indices.drop_null().to_numpy())
    return _count_or_null(np.bincount(pairs // many, minlength=count))


def _oppositions(used: pa.Table, owner: IntArray, count: int) -> pa.Array:
    times = _floats(used, "mjd_utc")
    known = np.flatnonzero(np.isfinite(times))
    ordered = known[np.lexsort((times[known], owner[known]))]
    first = np.diff(owner[ordered], prepend=-1) != 0
    after_a_gap = np.diff(times[ordered], prepend=np.nan) > OPPOSITION_GAP_DAYS
    return _count_or_null(np.bincount(owner[ordered][first | after_a_gap], minlength=count))


def _ids_of_each(used: pa.Table, number: IntArray) -> list[list[str]]:
    """Return the ids of each orbit's detections in use; members ascend in their orbit."""
    ids = used["obs_id"].to_pylist()
    ends = np.cumsum(number).tolist()
    return [ids[end - size : end] for end, size in zip(ends, number.tolist(), strict=True)]


def _mean(owner: IntArray, values: FloatArray, number: IntArray) -> FloatArray:
    sums = np.bincount(owner, weights=values, minlength=len(number))
    return np.where(number > 0, sums / np.maximum(number, 1), np.nan)


def _count_or_null(counts: IntArray) -> pa.Array:
    return pa.array(counts, mask=counts == 0)


def _floats(table: pa.Table, name: str) -> FloatArray:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)


def _or_null(values: FloatArray) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))
