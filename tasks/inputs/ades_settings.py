"""What an ADES file says of who observed with what: config keys `ades.*`, in ADES's own words. Nothing is invented.

`ades.telescope.aperture` holds for every observatory, `ades.X05.telescope.aperture` for X05 alone and before the other.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

from tasks.engines.errors import EngineInputError
from tasks.engines.setting_fields import Setting, TextThat, setting_named, settings_group, settings_of
from tasks.errors import BadInputError
from tasks.inputs.ades_rules import LONGEST_DESIGN, LONGEST_DETECTOR, LONGEST_TEXT, POSITIVE

PREFIX = "ades."

NAMES_APART = ";"
"""Between the names of observers and measurers, and the lines of the comment."""

_KEY = re.compile(r"ades\.(?:(?P<code>[A-Z0-9]{3,4})\.)?(?P<name>.+)")


def _is_text(value: str, most: int = LONGEST_TEXT) -> bool:
    return 0 < len(value) <= most and value.isprintable() and "|" not in value


def _are_texts(value: str) -> bool:
    return all(_is_text(part.strip()) for part in value.split(NAMES_APART))


def _text(most: int = LONGEST_TEXT) -> TextThat:
    return TextThat(lambda value: _is_text(value, most), f"text of 1 to {most} printable characters without '|'")


def _matching(pattern: str, expected: str) -> TextThat:
    return TextThat(lambda value: re.fullmatch(pattern, value, re.ASCII) is not None, expected)


_POSITIVE = rf"(?=.{{1,6}}$){POSITIVE}"
_NUMBER = "a number above 0 and below 100000, at most 6 characters"
_BAND = _matching(r"[A-Za-z0-9_]{1,3}", "an ADES band, 1 to 3 letters and digits, such as r or PG")
_CATALOGUE = "ADES's code of the star catalogue, such as Gaia3 or PS1_DR2"
_TEXTS = f"texts of 1 to {LONGEST_TEXT} printable characters, with '{NAMES_APART}' between them, without '|'"

Text = Annotated[str, _text()]
Texts = Annotated[str, TextThat(_are_texts, _TEXTS)]
Design = Annotated[str, _text(LONGEST_DESIGN)]
Detector = Annotated[str, _text(LONGEST_DETECTOR)]
Metres = Annotated[str, _matching(_POSITIVE, f"metres, {_NUMBER}")]
Ratio = Annotated[str, _matching(_POSITIVE, _NUMBER)]
Arcsec = Annotated[str, _matching(_POSITIVE, f"arcsec, {_NUMBER}")]
Band = Annotated[str, _BAND]
Mode = Annotated[str, _matching(r"[A-Za-z0-9_]{1,3}", "ADES's code of the kind of detector, such as CCD or CMO")]
StarCatalogue = Annotated[str, _matching(r"[.A-Za-z0-9_]{1,8}", _CATALOGUE)]


@settings_group
class Submitter:
    """Who sends the file."""

    name: Text = ""
    """Required: initials and surname."""
    institution: Text = ""
    """Where the submitter works."""


@settings_group
class People:
    """Some of those who took part."""

    name: Texts = ""
    """Required: initials and surnames."""


@settings_group
class Telescope:
    """With what it was observed."""

    name: Text = ""
    """Name of the telescope."""
    design: Design = ""
    """Required, such as Reflector."""
    aperture: Metres = ""
    """Required: diameter."""
    detector: Detector = ""
    """Required, such as CCD."""
    fRatio: Ratio = ""  # noqa: N815 (ADES's own word, as those below)
    """Focal length by aperture."""
    pixelScale: Arcsec = ""  # noqa: N815
    """Size of a pixel on the sky."""


@settings_group
class AdesKeys:
    """Every key after `ades.`, or after `ades.` and the code of an observatory; empty: not said."""

    submitter: Submitter = field(default_factory=Submitter)
    observers: People = field(default_factory=People)
    measurers: People = field(default_factory=People)
    telescope: Telescope = field(default_factory=Telescope)
    mode: Mode = ""
    """Required: the kind of detector."""
    astCat: StarCatalogue = ""  # noqa: N815
    """Required: the catalogue of the astrometry."""
    photCat: StarCatalogue = ""  # noqa: N815
    """The catalogue of the photometry."""
    fundingSource: Text = ""  # noqa: N815
    """Source of funding."""
    comment: Texts = ""
    """Comments, one line each."""


RULES = settings_of(AdesKeys)
"""Key without its prefix -> what its value must be. `band.FILTER`, an ADES band, is one more for each filter."""

REQUIRED = (
    *("submitter.name", "observers.name", "measurers.name"),
    *("telescope.design", "telescope.aperture", "telescope.detector", "mode", "astCat"),
)
"""Without these no ADES file can be written: their help begins with "Required", which a test holds to this."""


@dataclass(frozen=True)
class AdesSettings:
    """The keys of one observatory, those for every observatory among them; without the prefix."""

    code: str
    values: Mapping[str, str]

    @property
    def missing(self) -> list[str]:
        """Required keys that are not set, as they stand in a config."""
        return [f"{PREFIX}{name}" for name in REQUIRED if name not in self.values]

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
        try:
            _setting_of(key).parsed(value)
        except EngineInputError as error:
            raise BadInputError(f"Cannot use {name}: {error} Correct the file and submit again.") from error
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


def _setting_of(key: str) -> Setting:
    """Return the setting of a key, under the name that the key has with the code of an observatory."""
    match = _KEY.fullmatch(key)
    name = match["name"] if match else ""
    if name.startswith("band.") and len(name) > len("band."):
        return Setting(key, Band, "")
    found = setting_named(f"{PREFIX}{name}" if name in RULES else key, settings_of(AdesKeys, PREFIX))
    return replace(found, key=key)
