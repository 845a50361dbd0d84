"""MPCORB as the Minor Planet Center writes it, of synthetic orbits."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import numpy as np

HEAD = (
    "MINOR PLANET CENTER ORBIT DATABASE (MPCORB)\n\n"
    "Des'n     H     G   Epoch     M        Peri.      Node       Incl.       e            n           a        "
    "Reference #Obs #Opp    Arc    rms  Perts   Computer\n\n" + "-" * 160 + "\n"
)

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def packed_number(number: int) -> str:
    if number >= 620_000:
        rest, text = number - 620_000, ""
        for _ in range(4):
            rest, digit = divmod(rest, 62)
            text = DIGITS[digit] + text
        return f"~{text}"
    return f"{DIGITS[number // 10_000]}{number % 10_000:04d}"


def packed_date(mjd: float) -> str:
    day = date(1858, 11, 17) + timedelta(days=int(mjd))
    century = {18: "I", 19: "J", 20: "K"}[day.year // 100]
    return f"{century}{day.year % 100:02d}{DIGITS[day.month]}{DIGITS[day.day]}"


def mpcorb_lines(
    packed: Sequence[str],
    elements: np.ndarray,
    epoch_mjd: float,
    *,
    mag: Sequence[float] | np.ndarray,
    parameter: Sequence[str] | str = "0",
    last_observed: str = "20230321",
) -> Iterable[str]:
    """Lines of orbits with elements a, e, i, raan, ap, M (m, 6), au and deg."""
    epoch = packed_date(epoch_mjd)
    letters = [parameter] * len(packed) if isinstance(parameter, str) else parameter
    for name, (a, e, i, raan, ap, anomaly), h, u in zip(packed, elements.tolist(), mag, letters, strict=True):
        motion = 0.9856076686 / a**1.5
        line = (
            f"{name:<7} {h:5.2f}  0.15 {epoch} {anomaly % 360:9.5f}  {ap % 360:9.5f}  {raan % 360:9.5f}  {i:9.5f}  "
            f"{e:9.7f} {motion:11.8f} {a:11.7f}  {u} E2023-F87  7283 123 1801-2023 0.65 M-v 30k MPCLINUX   4000"
        )
        yield f"{line:<166}{name:<28}{last_observed}\n"
