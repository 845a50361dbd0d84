"""What an ADES file says of who observed with what: config keys `ades.*`, in ADES's own words. Nothing is invented.

`ades.telescope.aperture` holds for every observatory, `ades.X05.telescope.aperture` for X05 alone and before the other.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tasks.errors import BadInputError
from tasks.inputs.ades_rules import LONGEST_DESIGN, LONGEST_DETECTOR, LONGEST_TEXT, POSITIVE

PREFIX = "ades."

NAMES_APART = ";"
"""Between the names of observers and measurers, and the lines of the comment."""

_KEY = re.compile(r"ades\.(?:(?P<code>[A-Z0-9]{3,4})\.)?(?P<name>.+)")


@dataclass(frozen=True)
class _Rule:
    expected: str
    holds: Callable[[str], bool]
    is_required: bool = False


def _text(most: int, *, required: bool = False) -> _Rule:
    return _Rule(
        f"text of 1 to {most} printable characters without '|'",
        lambda value: 0 < len(value) <= most and value.isprintable() and "|" not in value,
        required,
    )


def _texts(*, required: bool = False) -> _Rule:
    return _Rule(
        f"texts of 1 to {LONGEST_TEXT} printable characters, with '{NAMES_APART}' between them, without '|'",
        lambda value: all(_text(LONGEST_TEXT).holds(part.strip()) for part in value.split(NAMES_APART)),
        required,
    )


def _matching(pattern: str, expected: str, *, required: bool = False) -> _Rule:
    return _Rule(expected, lambda value: re.fullmatch(pattern, value, re.ASCII) is not None, required)


_POSITIVE = rf"(?=.{{1,6}}$){POSITIVE}"
_BAND = _matching(r"[A-Za-z0-9_]{1,3}", "an ADES band, 1 to 3 letters and digits, such as r or PG")

RULES: Mapping[str, _Rule] = {
    "submitter.name": _text(LONGEST_TEXT, required=True),
    "submitter.institution": _text(LONGEST_TEXT),
    "observers.name": _texts(required=True),
    "measurers.name": _texts(required=True),
    "telescope.name": _text(LONGEST_TEXT),
    "telescope.design": _text(LONGEST_DESIGN, required=True),
    "telescope.aperture": _matching(
        _POSITIVE, "metres, a number above 0 and below 100000, at most 6 characters", required=True
    ),
    "telescope.detector": _text(LONGEST_DETECTOR, required=True),
    "telescope.fRatio": _matching(_POSITIVE, "a number above 0 and below 100000, at most 6 characters"),
    "telescope.pixelScale": _matching(_POSITIVE, "arcsec, a number above 0 and below 100000, at most 6 characters"),
    "mode": _matching(r"[A-Za-z0-9_]{1,3}", "ADES's code of the kind of detector, such as CCD or CMO", required=True),
    "astCat": _matching(r"[.A-Za-z0-9_]{1,8}", "ADES's code of the star catalogue, such as Gaia3", required=True),
    "photCat": _matching(r"[.A-Za-z0-9_]{1,8}", "ADES's code of the star catalogue, such as PS1_DR2"),
    "fundingSource": _text(LONGEST_TEXT),
    "comment": _texts(),
}
"""Key without its prefix -> what its value must be. `band.FILTER`, an ADES band, is one more for each filter."""


@dataclass(frozen=True)
class AdesSettings:
    """The keys of one observatory, those for every observatory among them; without the prefix."""

    code: str
    values: Mapping[str, str]

    @property
    def missing(self) -> list[str]:
        """Required keys that nobody has set, as they stand in a config."""
        return [f"{PREFIX}{name}" for name, rule in RULES.items() if rule.is_required and name not in self.values]

    def names(self, key: str) -> list[str]:
        """Return the parts of a value that may be several; empty when it is not set."""
        return [part.strip() for part in self.values[key].split(NAMES_APART)] if key in self.values else []

    def band(self, filter_name: str | None) -> str | None:
        """Return the ADES band of a filter: as set, or the filter's own name where it can be one; else None."""
        set_band = self.values.get(f"band.{filter_name}")
        if set_band is None and filter_name is not None and _BAND.holds(filter_name):
            return filter_name
        return set_band


def without_ades(items: Mapping[str, str]) -> dict[str, str]:
    """Return the other keys: those of the engine."""
    return {key: value for key, value in items.items() if not key.startswith(PREFIX)}


def checked_ades(items: Mapping[str, str], *, name: str) -> dict[str, str]:
    """Return the keys `ades.*` of a config that `name` names in messages; empty values are left out.

    Raises
    ------
    BadInputError
        For a key that does not exist, or a value that no ADES file may have.
    """
    chosen = {key: value.strip() for key, value in items.items() if key.startswith(PREFIX) and value.strip()}
    for key, value in chosen.items():
        rule = _rule_of(key, name=name)
        if not rule.holds(value):
            raise BadInputError(f"Cannot use {name}: key {key!r} is {value!r}, expected {rule.expected}.")
    return chosen


def settings_of_observatory(items: Mapping[str, str], code: str) -> AdesSettings:
    """Choose from checked keys those that hold for an observatory."""
    general: dict[str, str] = {}
    own: dict[str, str] = {}
    for key, value in items.items():
        match = _KEY.fullmatch(key)
        if match is not None and match["code"] in {None, code}:
            (general if match["code"] is None else own)[match["name"]] = value
    return AdesSettings(code, general | own)


def _rule_of(key: str, *, name: str) -> _Rule:
    match = _KEY.fullmatch(key)
    field = match["name"] if match else ""
    if field.startswith("band.") and len(field) > len("band."):
        return _BAND
    if field not in RULES:
        expected = ", ".join(f"{PREFIX}{each}" for each in (*RULES, "band.FILTER"))
        raise BadInputError(
            f"Cannot use {name}: there is no key {key!r}, expected one of {expected}; or the same for one observatory, "
            "such as ades.X05.telescope.aperture."
        )
    return RULES[field]
