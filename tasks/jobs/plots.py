"""Pictures of a job's recovered orbits: where they lie in semi-major axis, eccentricity and inclination."""

import io
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe and Ito's palette: told apart with any colour vision.
ORBIT_COLOUR = "#0072B2"
SIGMA_COLOUR = "#56B4E9"
LINE_COLOUR = "#D55E00"

RESONANCES = {"3:1": 2.50, "5:2": 2.82, "2:1": 3.28}
"""Semi-major axes of mean-motion resonances with Jupiter, au: the Kirkwood gaps, to find one's way by."""

WIDEST_LINEAR_AU = 6.0
"""Up to here the axis is linear; a set that reaches further is drawn on a logarithmic one."""

_RESONANCE_LABEL: dict[str, Any] = {
    "color": LINE_COLOUR,
    "fontsize": 8,
    "rotation": "vertical",
    "ha": "right",
    "va": "top",
}

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Picture:
    """A PNG."""

    file_name: str
    title: str
    body: bytes


def pictures_of_orbits(orbits: pa.Table) -> list[Picture]:
    """Return the a-e and the a-i picture of bound orbits (rows of `tables.RECOVERED_ORBITS`); none without such."""
    bound = orbits.filter(pc.greater(orbits["a"], 0.0))
    if len(bound) == 0:
        return []
    of_all = f"{len(bound)} bound of {len(orbits)} recovered orbits"
    return [
        _picture(bound, "e", "Eccentricity", title=f"Semi-major axis and eccentricity, {of_all}"),
        _picture(bound, "i", "Inclination to the ecliptic [deg]", title=f"Semi-major axis and inclination, {of_all}"),
    ]


def _picture(orbits: pa.Table, element: str, label: str, *, title: str) -> Picture:
    with mpl.rc_context({"font.size": 10, "svg.hashsalt": "thor"}):
        figure = Figure(figsize=(7.0, 4.8), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, orbits, element)
        axes.set_xlabel("Semi-major axis [au], heliocentric, osculating")
        axes.set_ylabel(label)
        axes.set_title(title)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        body = io.BytesIO()
        figure.savefig(body, format="png", metadata={"Software": None})
    return Picture(f"recovered_orbits_a_{element}.png", title, body.getvalue())


def _draw(axes: Axes, orbits: pa.Table, element: str) -> None:
    a, a_sigma = _column(orbits, "a"), np.nan_to_num(_column(orbits, "a_sigma"))
    y, y_sigma = _column(orbits, element), np.nan_to_num(_column(orbits, f"{element}_sigma"))
    axes.errorbar(a, y, yerr=y_sigma, xerr=a_sigma, fmt="none", ecolor=SIGMA_COLOUR, elinewidth=0.9, label="1 sigma")
    axes.plot(a, y, linestyle="none", marker="o", markersize=4, color=ORBIT_COLOUR, label="recovered orbit")
    if a.max() > WIDEST_LINEAR_AU:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    low, high = a.min() * 0.97, a.max() * 1.03
    axes.set_xlim(low, high)
    axes.set_ylim(0.0, max(float(y.max()) * 1.15, 0.05))
    for name, place in RESONANCES.items():
        if low < place < high:
            axes.axvline(place, color=LINE_COLOUR, linewidth=0.8, linestyle=":")
            axes.text(place, axes.get_ylim()[1], f"{name} ", **_RESONANCE_LABEL)


def _column(orbits: pa.Table, name: str) -> FloatArray:
    return np.asarray(orbits[name].to_numpy(zero_copy_only=False), dtype=np.float64)
