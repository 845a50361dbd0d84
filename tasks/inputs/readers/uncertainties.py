"""Uncertainties of detections that have none, by observatory.

Source: Vereš, Farnocchia, Chesley & Chamberlin 2017, Icarus 296, 139 (doi 10.1016/j.icarus.2017.05.021): the weights
that they recommend in Tables 2 and 3 (the surveys that measure most, against orbits of many oppositions), Table 4
(observers of near-Earth objects) and, for all other CCD observers, the last rows of Table 3.

The numbers were taken from two public implementations of these tables that agree on every value used here; they were
not compared with the printed tables.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Since:
    """Uncertainty of each coordinate from a day on."""

    mjd_utc: float
    sigma_arcsec: float


ALWAYS = -np.inf

OTHERS_ARCSEC = 1.0
"""Of every other observatory: the value of Table 3 for CCDs whose star catalogue is known.

Too large a value keeps an object's detections with it, and lets more chance alignments through; too small a value loses
them: at 0.1 arcsec 13 % of the detections of real objects.
"""

LAS_CUMBRES = ("K92", "K93", "Q63", "Q64", "V37", "W85", "W86", "W87", "K91", "E10", "F65")

OBSERVATORIES: dict[str, Sequence[Since]] = {
    # Table 2: surveys that changed their methods on 2014-01-01, 2003-01-01 and 2003-09-01.
    "703": (Since(ALWAYS, 1.0), Since(56658.0, 0.8)),
    "691": (Since(ALWAYS, 0.6), Since(52640.0, 0.5)),
    "644": (Since(ALWAYS, 0.6), Since(52883.0, 0.4)),
    # Table 3.
    **{code: (Since(ALWAYS, 1.0),) for code in ("704", "J75")},
    "G96": (Since(ALWAYS, 0.5),),
    "F51": (Since(ALWAYS, 0.2),),
    **{code: (Since(ALWAYS, 0.6),) for code in ("G45", "608")},
    "699": (Since(ALWAYS, 0.8),),
    **{code: (Since(ALWAYS, 0.75),) for code in ("D29", "E12")},
    "C51": (Since(ALWAYS, 1.0),),
    # Table 4, where it asks for no star catalogue (a table of detections names none): else what it has for the worst.
    **{code: (Since(ALWAYS, 0.3),) for code in ("645", "673", "H01")},
    **{code: (Since(ALWAYS, 0.4),) for code in ("J04", *LAS_CUMBRES)},
    **{code: (Since(ALWAYS, 0.5),) for code in ("689", "950", "W84", "568")},
}
"""By the Minor Planet Center's code, each in the order of time."""

SOURCE = "Vereš et al. 2017, Icarus 296, 139"


@dataclass(frozen=True)
class Filled:
    """What was filled in, by (observatory, arcseconds), and for which of them the paper has no value of their own."""

    given: Counter[tuple[str, float]] = field(default_factory=Counter)
    unlisted: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Filled") -> None:
        """Count what was filled in elsewhere."""
        self.given.update(other.given)
        self.unlisted.update(other.unlisted)

    def notes(self, n_detections: int) -> tuple[str, ...]:
        """Say in words what was filled in of a file of `n_detections`; empty when nothing was missing."""
        notes: list[str] = []
        if self.given:
            said = ", ".join(f'{code} {sigma:g}" ({count})' for (code, sigma), count in sorted(self.given.items()))
            notes.append(
                f"{self.given.total()} of {n_detections} detections without an uncertainty were given {said}: {SOURCE}."
            )
        if self.unlisted:
            notes.append(
                f"{self.unlisted.total()} of {n_detections} detections without an uncertainty are of observatories "
                f'that have none there ({", ".join(sorted(self.unlisted))}), and were given {OTHERS_ARCSEC:g}": '
                "default_sigma_deg in the config gives another to all that have none."
            )
        return tuple(notes)


def fill_uncertainties(table: pa.Table) -> tuple[pa.Table, Filled]:
    """Fill in the uncertainties that are null.

    Parameters
    ----------
    table
        Rows of `tables.OBSERVATIONS`.
    """
    missing = np.zeros(len(table), dtype=bool)
    for name in ("RA_sigma_deg", "Dec_sigma_deg"):
        missing |= table[name].is_null().to_numpy()
    if not missing.any():
        return table, Filled()
    codes = np.array(table["observatory_code"].filter(pa.array(missing)).to_pylist())
    times = table["mjd_utc"].to_numpy()[missing]
    sigmas = _sigmas_deg(codes, times)
    everywhere = np.full(len(table), np.nan)
    everywhere[missing] = sigmas
    for name in ("RA_sigma_deg", "Dec_sigma_deg"):
        given = table[name].to_numpy()
        filled = np.where(np.isnan(given), everywhere, given)
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), pa.array(filled))
    arcseconds = np.round(sigmas * 3600, 6).tolist()
    pairs = Counter(zip(codes.tolist(), arcseconds, strict=True))
    listed = Counter({pair: count for pair, count in pairs.items() if pair[0] in OBSERVATORIES})
    unlisted = Counter({code: count for (code, _), count in pairs.items() if code not in OBSERVATORIES})
    return table, Filled(listed, unlisted)


def _sigmas_deg(codes: np.ndarray, mjd_utc: np.ndarray) -> np.ndarray:
    sigmas = np.full(len(codes), OTHERS_ARCSEC / 3600.0)
    for code in set(codes.tolist()) & set(OBSERVATORIES):
        for since in OBSERVATORIES[code]:
            sigmas[(codes == code) & (mjd_utc >= since.mjd_utc)] = since.sigma_arcsec / 3600.0
    return sigmas
