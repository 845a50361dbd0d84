"""The Minor Planet Center's packed designations and dates, as its files of orbits have them, and what they mean.

Source: Minor Planet Center, "Packed Provisional and Permanent Designations" and "Packed Dates"
(https://www.minorplanetcenter.net/iau/info/PackedDes.html).
"""

from datetime import date

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUE = {digit: value for value, digit in enumerate(_DIGITS)}
_CENTURY = {"I": 18, "J": 19, "K": 20}

_LETTERS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"
"""Second letters of a designation: no I."""

_MJD_OF_ORDINAL_0 = -678_576
_FIRST_TILDE = 620_000
_FIRST_EXTENDED = 15_500
"""Objects of a half-month that designations of two characters have room for."""


def designation_from_packed(packed: str) -> str:
    """Return the designation: "1", "620000" or "2023 AB1".

    Raises
    ------
    ValueError
        If it is none.
    """
    text = packed.strip()
    if len(text) == 5:  # noqa: PLR2004 (a number)
        return str(_number(text))
    if len(text) != 7:  # noqa: PLR2004 (a provisional designation)
        raise ValueError(packed)
    if text[:3] in {"PLS", "T1S", "T2S", "T3S"}:
        return f"{int(text[3:])} {text[0]}-{text[1]}"
    if text[0] == "_":
        order = _FIRST_EXTENDED + _in_base_62(text[3:])
        return f"{2000 + _value(text[1])} {text[2]}{_LETTERS[order % 25]}{order // 25}"
    year = 100 * _CENTURY.get(text[0], -1) + int(text[1:3])
    cycle = 10 * _value(text[4]) + int(text[5])
    if year < 0 or not (text[3].isalpha() and text[6].isalpha()):
        raise ValueError(packed)
    return f"{year} {text[3]}{text[6]}{cycle or ''}"


def mjd_from_packed(packed: str) -> float:
    """Return the MJD of a packed date such as K239D: 2023-09-13.

    Raises
    ------
    ValueError
        If it is none.
    """
    if len(packed) != 5:  # noqa: PLR2004 (century, year, month, day)
        raise ValueError(packed)
    year = 100 * _CENTURY.get(packed[0], -1) + int(packed[1:3])
    return mjd_from_date(year, _value(packed[3]), _value(packed[4]))


def mjd_from_date(year: int, month: int, day: int) -> float:
    """Return the MJD of the beginning of a day."""
    return float(date(year, month, day).toordinal() + _MJD_OF_ORDINAL_0)


def _number(text: str) -> int:
    if text[0] == "~":
        return _FIRST_TILDE + _in_base_62(text[1:])
    return 10_000 * _value(text[0]) + int(text[1:])


def _in_base_62(text: str) -> int:
    value = 0
    for digit in text:
        value = 62 * value + _value(digit)
    return value


def _value(digit: str) -> int:
    if digit not in _VALUE:
        raise ValueError(digit)
    return _VALUE[digit]
