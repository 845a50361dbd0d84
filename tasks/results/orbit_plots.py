"""Pictures of recovered orbits: semi-major axis against eccentricity and inclination, and how well they fit."""

from typing import Any

import matplotlib.ticker
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.results.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILION,
    FloatArray,
    IntArray,
    Picture,
    floats,
    picture,
)
from tasks.wording import counted

RESONANCES = {"3:1": 2.50, "5:2": 2.82, "2:1": 3.28}
"""Semi-major axes of mean-motion resonances with Jupiter, au: the Kirkwood gaps, to find one's way by."""

WIDEST_LINEAR_AU = 6.0
"""Up to here the axis is linear; a set that reaches further is drawn on a logarithmic one."""

MOST_WITH_SIGMAS = 2000
"""With more orbits the bars would cover the points."""

KINDS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "near-Earth": (("IEO", "ATE", "APO", "AMO"), VERMILION, "^"),
    "Mars-crosser": (("MCA",), ORANGE, "v"),
    "main belt": (("IMB", "MBA", "OMB"), BLUE, "o"),
    "Jupiter Trojan": (("TJN",), GREEN, "s"),
    "Centaur": (("CEN",), PURPLE, "D"),
    "transneptunian": (("TNO",), "black", "P"),
    "other": (("AST",), GREY, "X"),
}
"""Group of classes -> its classes, colour and marker: told apart also in print without colour."""

LONG_ARCS_DAYS = 1.0
"""Arcs that differ by more are put into bins of whole days."""

MARGIN = 1.06
"""Of the axis of semi-major axes beyond the first and last orbit."""

FITTED = 6
"""Parameters of a fit: a state."""

SHOWN_PART = 0.995
"""Histograms end where this part of the values is inside; the caption says how many lie beyond."""


def pictures_of_orbits(orbits: pa.Table) -> list[Picture]:
    """Return the a-e and the a-i picture of bound orbits (rows of `tables.RECOVERED_ORBITS`); none without such."""
    bound = orbits.filter(pc.and_(pc.greater(orbits["a"], 0.0), pc.less(orbits["e"], 1.0)))
    if len(bound) == 0:
        return []
    of_all = (
        f"{len(bound)} bound of {counted(len(orbits), 'recovered orbit')}; dotted: mean-motion resonances with Jupiter "
        f"({', '.join(RESONANCES)})."
    )
    if len(bound) <= MOST_WITH_SIGMAS:
        of_all += " Bars: 1 sigma, left out of orbits with the flag loose_orbit."
    return [
        _elements(bound, "e", "Eccentricity", "a_e", of_all),
        _elements(bound, "i", "Inclination to the ecliptic [deg]", "a_i", of_all),
    ]


def pictures_of_fits(orbits: pa.Table, members: pa.Table) -> list[Picture]:
    """Return histograms of the residuals of the detections in use, and of nights, arcs and reduced chi^2 of orbits."""
    used = members.filter(pc.equal(members["outlier"], 0))
    if len(used) == 0:
        return []
    residuals = {"RA cos(Dec)": floats(used, "residual_ra_arcsec"), "Dec": floats(used, "residual_dec_arcsec")}
    chi2 = floats(used, "chi2")
    left_by_fit = variance_left(used["orbit_index"].to_numpy().astype(np.int64))

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        _residuals(left, residuals)
        _normalised(right, chi2, left_by_fit)

    caption = (
        f"Observed minus predicted of {counted(len(used), 'detection')} in use; {len(members) - len(used)} that the "
        f"fits rejected are left out. {_words(residuals)}. Right: chi^2 of each detection, and what Gaussian errors of "
        f"the given size make one expect of orbits that were fitted to them ({FITTED} parameters each; dotted: of true "
        "orbits)."
    )
    return [
        picture("residuals", "Residuals", caption, draw, height=3.4),
        _fits(orbits),
    ]


def _elements(orbits: pa.Table, element: str, label: str, name: str, caption: str) -> Picture:
    title = {"e": "Semi-major axis and eccentricity", "i": "Semi-major axis and inclination"}[element]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        _draw_elements(axes, orbits, element)
        axes.set_xlabel("Semi-major axis [au], heliocentric, osculating")
        axes.set_ylabel(label)
        figure.legend(frameon=False, loc="outside right upper")

    return picture(name, title, f"{caption} Hollow: orbits with a quality flag.", draw)


def _draw_elements(axes: Axes, orbits: pa.Table, element: str) -> None:
    a, y = floats(orbits, "a"), floats(orbits, element)
    many = len(orbits) > MOST_WITH_SIGMAS
    if not many:
        # Those of loose orbits would cross the whole picture.
        loose = np.array(["loose_orbit" in flags for flags in orbits["quality_flags"].to_pylist()], dtype=bool)
        a_sigma, y_sigma = (
            np.where(loose, 0.0, np.nan_to_num(floats(orbits, f"{name}_sigma"))) for name in ("a", element)
        )
        axes.errorbar(a, y, yerr=y_sigma, xerr=a_sigma, fmt="none", ecolor=SKY_BLUE, elinewidth=0.8, label="1 sigma")
    _draw_kinds(axes, orbits, a, y, many=many)
    logarithmic = bool(a.max() > WIDEST_LINEAR_AU)
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    low, high = a.min() / MARGIN, a.max() * MARGIN
    axes.set_xlim(low, high)
    axes.set_ylim(0.0, max(float(y.max()) * 1.1, 0.05))
    within = {name: place for name, place in RESONANCES.items() if low < place < high}
    for number, (name, place) in enumerate(within.items()):
        told = "resonance with Jupiter" if number == 0 else None
        axes.axvline(place, color=VERMILION, linewidth=0.9, linestyle=":", label=told)
        label: dict[str, Any] = {
            "color": VERMILION,
            "fontsize": 7.5,
            "rotation": "vertical",
            "va": "top",
            "ha": "right",
        }
        if not logarithmic:  # there they are too close for words
            axes.text(place, axes.get_ylim()[1], f"{name} ", **label)


def _draw_kinds(axes: Axes, orbits: pa.Table, a: FloatArray, y: FloatArray, *, many: bool) -> None:
    """Draw each group of classes with a colour and a marker of its own; orbits with a flag are hollow."""
    classes = np.asarray(orbits["orbit_class"].to_pylist())
    is_flagged = np.array([bool(flags) for flags in orbits["quality_flags"].to_pylist()], dtype=bool)
    size = 1.8 if many else 4.0
    for kind, (members, colour, marker) in KINDS.items():
        of_kind = np.isin(classes, members)
        if not of_kind.any():
            continue
        style: dict[str, Any] = {"color": colour, "markersize": size, "rasterized": many}
        good, flagged = of_kind & ~is_flagged, of_kind & is_flagged
        axes.plot(a[good], y[good], marker, markeredgewidth=0, label=f"{kind} ({of_kind.sum()})", **style)
        axes.plot(a[flagged], y[flagged], marker, fillstyle="none", markeredgewidth=0.7, **style)
    if is_flagged.any():
        hollow: dict[str, Any] = {"fillstyle": "none", "color": GREY, "markersize": 4.0, "markeredgewidth": 0.7}
        axes.plot([], [], "o", label="hollow: with a flag", **hollow)


def _residuals(axes: Axes, residuals: dict[str, FloatArray]) -> None:
    reach = float(np.quantile(np.abs(np.concatenate(list(residuals.values()))), SHOWN_PART)) or 1.0
    bins = np.linspace(-reach, reach, _bins_for(len(residuals["Dec"])) + 1).tolist()
    for (name, values), colour, line in zip(residuals.items(), (BLUE, VERMILION), ("-", "--"), strict=True):
        axes.hist(values, bins=bins, histtype="step", color=colour, linestyle=line, linewidth=1.4, label=name)
    axes.axvline(0.0, color="black", linewidth=0.6)
    axes.set_xlabel("Residual [arcsec]")
    axes.set_ylabel("Detections per bin")
    axes.legend(frameon=False, loc="upper left")


def variance_left(orbit_of_detection: IntArray) -> FloatArray:
    """Return the part of a detection's variance that a fit leaves in its residual, on average over its orbit's.

    The fit takes as much of chi^2 as it has parameters: 2 n - 6 of the 2 n of n detections are left. How much of it
    each detection gives depends on where in the arc it lies; the average is used for all of an orbit.
    """
    number = np.bincount(orbit_of_detection)[orbit_of_detection]
    return np.maximum(1.0 - FITTED / (2.0 * number), 0.0)


def expected_in_bins(edges: FloatArray, variance: FloatArray) -> FloatArray:
    """Return how many detections one expects in each bin of chi^2, for two Gaussian residuals of these variances each.

    Chi^2 with two degrees of freedom is beyond x with probability exp(-x / 2). Many orbits have as many detections.
    """
    values, counts = np.unique(variance[variance > 0.0], return_counts=True)
    beyond = counts @ np.exp(-edges[None, :] / (2.0 * values[:, None])) if len(values) else np.zeros(len(edges))
    inside: FloatArray = -np.diff(beyond)
    return inside


def _normalised(axes: Axes, chi2: FloatArray, variance: FloatArray) -> None:
    """Draw chi^2 of the detections: of true orbits it falls as exp(-chi^2 / 2), of fitted ones faster."""
    reach = max(float(np.quantile(chi2, SHOWN_PART)), 10.0)
    bins = np.linspace(0.0, reach, _bins_for(len(chi2)) + 1)
    axes.hist(chi2, bins=bins.tolist(), histtype="stepfilled", color=SKY_BLUE, label="detections")
    curves = (("expected", variance, "--", 1.3), ("of true orbits", np.ones(len(chi2)), ":", 0.9))
    for label, each, line, width in curves:
        expected = expected_in_bins(bins, each)
        axes.stairs(expected, bins, color=VERMILION, linewidth=width, linestyle=line, baseline=None, label=label)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.set_xlabel(r"$\chi^2$ of a detection (2 degrees of freedom)")
    axes.set_ylabel("Detections per bin")
    axes.legend(frameon=False)


def _fits(orbits: pa.Table) -> Picture:
    panels = (
        ("num_obs", "Detections in use", GREEN),
        ("arc_length", "Arc [d]", BLUE),
        ("rchi2", r"Reduced $\chi^2$", VERMILION),
    )

    def draw(figure: Figure) -> None:
        for axes, (name, label, colour) in zip(figure.subplots(1, 3, sharey=True), panels, strict=True):
            values = floats(orbits, name)
            values = values[np.isfinite(values)]
            top = float(np.quantile(values, SHOWN_PART)) if len(values) else 1.0
            axes.hist(np.minimum(values, top), bins=_bins_of(name, values, top), color=colour)
            axes.set_xlabel(label)
        # Numbers of detections and of orbits are whole, also where there is one.
        for axis, ticks in ((figure.axes[0].xaxis, 6), (figure.axes[0].yaxis, 7)):
            axis.set_major_locator(matplotlib.ticker.MaxNLocator(nbins=ticks, integer=True, min_n_ticks=1))
        figure.axes[0].set_ylabel("Recovered orbits per bin")

    caption = (
        f"{counted(len(orbits), 'recovered orbit')}; the last bin holds what lies beyond {SHOWN_PART:.1%} of them."
    )
    return picture("fits", "Detections, arcs and fits", caption, draw, height=3.0)


def _bins_of(name: str, values: FloatArray, top: float) -> "list[float] | int":
    """Return bins for a column. Arcs are nearly whole days, since people observe at night: finer bins make a comb."""
    if name == "num_obs" or (name == "arc_length" and top - float(values.min(initial=top)) >= LONG_ARCS_DAYS):
        return _whole_bins(values, top)
    return 25


def _bins_for(count: int) -> int:
    return int(np.clip(np.sqrt(count), 10, 50)) // 2 * 2


def _whole_bins(values: FloatArray, top: float) -> list[float]:
    """Return bins about whole numbers, as many as can be told apart."""
    low, high = (float(values.min()), float(np.ceil(top))) if len(values) else (0.0, 1.0)
    step = max(1.0, np.ceil((high - low) / 25.0))
    bins: list[float] = np.arange(low - 0.5, high + step, step).tolist()
    return bins


def _words(residuals: dict[str, FloatArray]) -> str:
    return ", ".join(
        f"{name} mean {values.mean():+z.3f} and RMS {np.sqrt((values**2).mean()):.3f} arcsec"
        for name, values in residuals.items()
    )
