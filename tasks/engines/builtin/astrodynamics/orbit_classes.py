"""Dynamical classes of small bodies from their heliocentric elements. Source: JPL Small-Body Database."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

CLASSES = {
    "IEO": "Atira: orbit inside the Earth's, Q < 0.983 au",
    "ATE": "Aten: a < 1 au, Q >= 0.983 au",
    "APO": "Apollo: a >= 1 au, q < 1.017 au",
    "AMO": "Amor: 1.017 <= q < 1.3 au",
    "MCA": "Mars-crosser: 1.3 <= q < 1.666 au, a < 3.2 au",
    "IMB": "inner main belt: a < 2.0 au, q >= 1.666 au",
    "MBA": "main belt: 2.0 <= a < 3.2 au, q >= 1.666 au",
    "OMB": "outer main belt: 3.2 <= a < 4.6 au",
    "TJN": "Jupiter Trojan: 4.6 <= a < 5.5 au, e < 0.3",
    "CEN": "Centaur: 5.5 <= a < 30.1 au",
    "TNO": "transneptunian object: a >= 30.1 au",
    "HYA": "hyperbolic: e > 1",
    "PAA": "parabolic: e = 1",
    "AST": "none of the others",
}
"""Code -> meaning; the first that fits."""


def orbit_classes(a: FloatArray, e: FloatArray, q: FloatArray) -> list[str]:
    """Return the class of each orbit (`CLASSES`); a and q in au, a negative or infinite where e >= 1."""
    with np.errstate(invalid="ignore"):
        far = a * (1.0 + e)
    belt = q >= 1.666
    conditions = {
        "PAA": e == 1.0,
        "HYA": e > 1.0,
        "IEO": far < 0.983,
        "ATE": a < 1.0,
        "APO": q < 1.017,
        "AMO": q < 1.3,
        "MCA": (q < 1.666) & (a < 3.2),
        "IMB": belt & (a < 2.0),
        "MBA": belt & (a < 3.2),
        "OMB": (a >= 3.2) & (a < 4.6),
        "TJN": (a >= 4.6) & (a < 5.5) & (e < 0.3),
        "CEN": (a >= 5.5) & (a < 30.1),
        "TNO": a >= 30.1,
    }
    chosen: list[str] = np.select(list(conditions.values()), list(conditions), "AST").tolist()
    return chosen
