"""Values that stand for none: what surveys write where there is no magnitude, no uncertainty or no name.

A magnitude that was not measured must not become an H, and an exposure called "nan" must not join all that have none.
"""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

Blanked = Counter[tuple[str, float]]
"""How often a value of a column was taken for none, by (column, value)."""

BRIGHTEST_MAG, FAINTEST_MAG = -5.0, 35.0
"""ADES allows what is between; sentinels such as 99, 99.99, -99 and -999 are not."""

LARGEST_MAG_SIGMA = 5.0
"""A factor of a hundred in brightness: beyond it are 9.99, 99 and 999."""

NO_SIGMA = (0.0, -1.0, -9.0, -9.9, -9.99, -9.999)
NINES = (99.0, 99.9, 99.99, 99.999, 99.9999, 999.0, 999.9, 999.99, 999.999, 9999.0, 9999.9, 9999.99, 99999.0)
SIGMA_SENTINELS = pa.array([*NO_SIGMA, *NINES, *(-each for each in NINES)], pa.float64())
"""What stands for an uncertainty of a position that is not known, in whatever unit. Other values out of range are
faults of the file: an unknown unit must not pass for a missing value."""

NO_TEXT = r"(?i)^(nan|null|none|n/a|<na>|masked|nat|-+)$"
"""What programs write for a text that is not there; NA, too, in capitals."""

MOST_VALUES_TOLD = 4


def magnitudes(mag: pa.Array, mag_sigma: pa.Array) -> tuple[pa.Array, pa.Array, Blanked]:
    """Return magnitudes and their sigmas without the values that are no measurements, and what these were.

    A magnitude of 0 or less with a sigma that is not above 0 is none, either: real ones are of no asteroid, but they
    are in ADES's range.
    """
    no_sigma = pc.invert(pc.fill_null(pc.greater(mag_sigma, 0.0), False))
    outside = pc.or_(pc.less_equal(mag, BRIGHTEST_MAG), pc.greater_equal(mag, FAINTEST_MAG))
    no_mag = pc.or_(outside, pc.and_(pc.less_equal(mag, 0.0), no_sigma))
    wrong_sigma = pc.or_(pc.less_equal(mag_sigma, 0.0), pc.greater(mag_sigma, LARGEST_MAG_SIGMA))
    blanked: Blanked = Counter()
    return (
        without("mag", mag, no_mag, blanked),
        without("mag_sigma", mag_sigma, wrong_sigma, blanked),
        blanked,
    )


def without(name: str, values: pa.Array, wrong: pa.Array, blanked: Blanked) -> pa.Array:
    """Return the values without those that are marked (null: not marked), which are counted."""
    mask = pc.fill_null(wrong, False)
    if not pc.any(mask).as_py():
        return values
    for each in pc.value_counts(values.filter(mask)).to_pylist():
        blanked[name, each["values"]] += each["counts"]
    return pc.if_else(mask, pa.scalar(None, pa.float64()), values)


def without_sigma_sentinels(name: str, values: pa.Array, blanked: Blanked) -> pa.Array:
    """Return uncertainties of positions, as they stand in a file, without the values that stand for none."""
    return without(name, values, pc.is_in(values, SIGMA_SENTINELS), blanked)


def notes_of(blanked: Blanked, n_rows: int) -> tuple[str, ...]:
    """Say in words which values of a file of `n_rows` rows were taken for missing ones."""
    notes = []
    for name in sorted({column for column, _ in blanked}):
        values = sorted((value for column, value in blanked if column == name), key=lambda each: -blanked[name, each])
        told = [f"{value:g} ({blanked[name, value]})" for value in values[:MOST_VALUES_TOLD]]
        if len(values) > MOST_VALUES_TOLD:
            told.append("others")
        count = sum(blanked[name, value] for value in values)
        notes.append(
            f"{count} of {n_rows} values of {name} are not measurements and were taken as missing: {', '.join(told)}."
        )
    return tuple(notes)


def text_or_null(column: pa.Array) -> pa.Array:
    """Return text without blanks about it; null where it says that there is none."""
    distinct = column.unique()
    bare = pc.utf8_trim_whitespace(distinct)
    is_none = pc.or_(pc.match_substring_regex(bare, NO_TEXT), pc.or_(pc.equal(bare, ""), pc.equal(bare, "NA")))
    meant = pc.if_else(is_none, pa.scalar(None, pa.string()), bare)
    return column if meant.equals(distinct) else meant.take(pc.index_in(column, distinct))


SEXAGESIMAL = (
    r"^\s*(?P<sign>[+-]?)(?P<whole>\d{1,3})[:\s]\s*(?P<minutes>[0-5]?\d(?:\.\d*)?)"
    r"(?:[:\s]\s*(?P<seconds>[0-5]?\d(?:\.\d*)?|60(?:\.0*)?))?\s*$"
)
"""Whole hours or degrees, minutes, and seconds unless the minutes have decimals; 60 seconds is what rounding writes."""


def is_sexagesimal(column: pa.Array) -> pa.Array:
    """Mark the texts that are hours or degrees, minutes and perhaps seconds, between colons or blanks."""
    return pc.fill_null(pc.match_substring_regex(column, SEXAGESIMAL), False)


def values_of_sexagesimal(column: pa.Array) -> pa.Array:
    """Return the value of each text that is sexagesimal, in its own whole unit; null: it is not."""
    parts = pc.extract_regex(column, SEXAGESIMAL)
    texts = {name: pc.struct_field(parts, name) for name in ("sign", "whole", "minutes", "seconds")}
    whole, minutes, seconds = (
        pc.if_else(pc.equal(texts[name], ""), "0", texts[name]).cast(pa.float64())
        for name in ("whole", "minutes", "seconds")
    )
    value = pc.add(whole, pc.add(pc.divide(minutes, 60.0), pc.divide(seconds, 3600.0)))
    return pc.if_else(pc.equal(texts["sign"], "-"), pc.negate(value), value)


def wrapped(angles: pa.Array, full: float) -> pa.Array:
    """Return angles with a full turn as 0: what is so near to it that a float can't tell is rounded to it."""
    return pc.if_else(pc.equal(angles, full), 0.0, angles)
