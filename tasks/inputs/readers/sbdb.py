"""JPL's Small-Body Database as its query tool writes it: a csv whose header names its own columns. Read in blocks."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tasks.errors import BadInputError
from tasks.inputs.readers.catalogue_blocks import Elements, known_orbits_table, runoff_from_parameter

FloatArray = npt.NDArray[np.float64]

BLOCK_BYTES = 16 << 20
NAMES = ("pdes", "full_name", "name", "spkid")
"""Columns that may name the object; the first that is there and not empty."""

MJD_OF_JD_0 = 2_400_000.5
_ANGLES = ("om", "w")
_KEPLERIAN = ("a", "e", "i", "om", "w", "ma")
_COMETARY = ("q", "e", "i", "om", "w", "tp")
_DATE = re.compile(r"^(\d{4})-(\d\d)-(\d\d)")


def is_sbdb(header: Sequence[str]) -> bool:
    """Tell whether a csv with these columns is one of the Small-Body Database."""
    present = set(header)
    return bool(present & set(NAMES)) and {"e", *_ANGLES} <= present


def sbdb_blocks(source: pa.NativeFile, name: str, header: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the orbits as rows of `KNOWN_ORBITS`; those without elements are left out.

    Raises
    ------
    BadInputError
        If columns are missing, or a row can't be read.
    """
    present = set(header)
    _require(name, header, present & {"epoch", "epoch_mjd"}, "epoch")
    _require(name, header, set(_KEPLERIAN) <= present or set(_COMETARY) <= present, ", ".join(_KEPLERIAN))
    options = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=True)
    try:
        reader = pyarrow.csv.open_csv(
            source, read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES), convert_options=options
        )
        for batch in reader:
            yield _block(pa.table(batch), name)
    except pa.ArrowException as error:
        raise BadInputError(f"Cannot read {name}: {str(error).splitlines()[0]}. Expected a csv table.") from error


def _block(table: pa.Table, name: str) -> pa.Table:
    def numbers(column: str) -> FloatArray:
        if column not in table.column_names:
            return np.full(len(table), np.nan)
        text = pc.utf8_trim_whitespace(table[column])
        try:
            found = pc.if_else(pc.equal(text, ""), None, text).cast(pa.float64())
        except pa.ArrowInvalid as error:
            reason = str(error).splitlines()[0]
            raise BadInputError(
                f"Cannot use {name}: column {column!r}: {reason}, expected numbers. Query the database anew."
            ) from error
        return np.asarray(found.to_numpy(), dtype=np.float64)

    in_mjd = numbers("epoch_mjd")
    epochs = np.where(np.isfinite(in_mjd), in_mjd, numbers("epoch") - MJD_OF_JD_0)
    perihelia = numbers("tp") - MJD_OF_JD_0
    cometary = [perihelia if each == "tp" else numbers(each) for each in _COMETARY]
    return known_orbits_table(
        Elements(
            ids=_ids(table),
            epochs_mjd_tdb=epochs,
            keplerian=np.column_stack([numbers(each) for each in _KEPLERIAN]),
            cometary=np.column_stack(cometary),
        ),
        absolute_mag=numbers("H"),
        slope=numbers("G"),
        runoff=_runoffs(table),
        last_observed=_last_observed(table),
    )


def _ids(table: pa.Table) -> list[object]:
    columns = [pc.utf8_trim_whitespace(table[each]) for each in NAMES if each in table.column_names]
    emptied = [pc.if_else(pc.equal(column, ""), None, column) for column in columns]
    ids: list[object] = pc.fill_null(pc.coalesce(*emptied), "").to_pylist()
    return ids


def _runoffs(table: pa.Table) -> FloatArray:
    if "condition_code" not in table.column_names:
        return np.full(len(table), np.nan)
    codes = pc.fill_null(table["condition_code"], "").to_pylist()
    return np.array([runoff_from_parameter(each) for each in codes], dtype=np.float64)


def _last_observed(table: pa.Table) -> FloatArray:
    if "last_obs" not in table.column_names:
        return np.full(len(table), np.nan)
    dates = pc.fill_null(table["last_obs"], "").to_pylist()
    whole = [each if _DATE.match(each) else "NaT" for each in dates]
    days = np.array([each[:10] for each in whole], dtype="datetime64[D]")
    since = (days - np.datetime64("1858-11-17")).astype(np.float64)
    return np.where(np.isnat(days), np.nan, since)


def _require(name: str, header: Sequence[str], holds: object, column: str) -> None:
    if not holds:
        raise BadInputError(
            f"Cannot use {name}: column {column!r} is missing, found {', '.join(map(repr, header))}. "
            "Add it to the query of the Small-Body Database."
        )
