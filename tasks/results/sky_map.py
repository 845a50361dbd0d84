"""The map of the sky: where a job looked, and the tracks that it recovered."""

from collections.abc import Callable
from typing import Any

import matplotlib.ticker
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tasks.results.job_detections import JobDetections
from tasks.results.plots import BLUE, GREY, VERMILION, FloatArray, Picture, floats, picture
from tasks.wording import counted

WIDEST_LOCAL_DEG = 100.0
"""A field up to this wide in right ascension, and below this high in declination, is drawn flat, else the whole sky."""

HIGHEST_LOCAL_DEG = 60.0

WIDE_DEG = 2.0
"""The names of meridians of a wider field are whole degrees."""

HALF_TURN = 180.0

OBLIQUITY_DEG = 23.43929
"""Of the ecliptic at J2000 (IAU 1976): for the line that shows where the ecliptic runs."""

MOST_VECTORS = 3000
"""With more points they become one image inside the SVG, """

MOST_LINES = 400
"""and with more tracks these do."""

MOST_TRACKS = 5000
"""Of more tracks every nth is drawn: one could not tell them apart."""

LEAST_SHAPE = 0.4
"""A flat map is at least so high as a share of its width, and so wide of its height."""

Project = Callable[[FloatArray, FloatArray], FloatArray]
"""Angles east of the map's middle and declinations, deg -> positions on the map, shape (k, 2); east to the left."""


def picture_of_sky(detections: JobDetections, members: pa.Table) -> Picture | None:
    """Return the map; None where no position of any detection is known."""
    drawn = np.column_stack([floats(detections.drawn, "RA_deg"), floats(detections.drawn, "Dec_deg")])
    all_tracks = _tracks(members)
    track_thinning = -(-len(all_tracks) // MOST_TRACKS) or 1
    tracks = all_tracks[::track_thinning]
    everything = np.concatenate([drawn, *tracks])
    if len(everything) == 0:
        return None
    centre, width, height = _field(everything)
    whole_sky = width > WIDEST_LOCAL_DEG or height > HIGHEST_LOCAL_DEG
    # So that meridians stand at round numbers.
    round_to = 30.0 if whole_sky else 1.0 if width > WIDE_DEG else 0.01
    centre = round(centre / round_to) * round_to
    part, tracks_part = (f"one in {step} of " if step > 1 else "" for step in (detections.thinning, track_thinning))
    caption = (
        f"Grey: {part}{counted(detections.n_detections, 'detection')}. Blue: tracks of {tracks_part}"
        f"{counted(len(all_tracks), 'recovered orbit')}, through the detections in use, a dot at the last. "
        "Dotted: the ecliptic. ICRF, east left."
    )

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        if whole_sky:
            _draw_grid(axes, centre)
        _draw(axes, drawn, tracks, centre, project=mollweide if whole_sky else _flat)
        if not whole_sky:
            _name_field(axes, everything, centre)
        figure.legend(handles=_legend(), loc="outside lower center", ncols=3, frameon=False)

    return picture("sky", "Detections and recovered tracks", caption, draw, height=4.2 if whole_sky else 5.0)


def _legend() -> list[Line2D]:
    """Return what the marks mean, large enough to be seen."""
    return [
        Line2D([], [], marker="o", linestyle="none", color=GREY, markersize=3.0, label="detections"),
        Line2D([], [], marker="o", color=BLUE, markersize=3.0, label="recovered tracks, the dot at the end"),
        Line2D([], [], linestyle=":", color=VERMILION, label="ecliptic"),
    ]


def mollweide(east_deg: FloatArray, dec_deg: FloatArray) -> FloatArray:
    """Project the sky on an ellipse, areas kept: x within 2 sqrt(2), y within sqrt(2); east to the left.

    Notes
    -----
    Snyder 1987, Map Projections: A Working Manual (USGS 1395), equations 31-1 to 31-4, by Newton's method. matplotlib's
    own map of this kind takes a megabyte of memory for each line of twenty points.
    """
    latitude = np.radians(dec_deg)
    doubled = latitude.copy()
    for _ in range(30):
        # At the poles the derivative vanishes: there the first guess is right already.
        slope = np.maximum(2.0 + 2.0 * np.cos(2.0 * doubled), 1e-9)
        doubled -= (2.0 * doubled + np.sin(2.0 * doubled) - np.pi * np.sin(latitude)) / slope
    doubled = np.clip(doubled, -np.pi / 2.0, np.pi / 2.0)
    x = -2.0 * np.sqrt(2.0) / np.pi * np.radians(east_deg) * np.cos(doubled)
    return np.column_stack([x, np.sqrt(2.0) * np.sin(doubled)])


def _flat(east_deg: FloatArray, dec_deg: FloatArray) -> FloatArray:
    return np.column_stack([-east_deg, dec_deg])


def _tracks(members: pa.Table) -> list[FloatArray]:
    """Return the positions of each orbit's detections in use, in the order of time, shape (k, 2), deg."""
    used = members.filter(pc.and_(pc.equal(members["outlier"], 0), pc.is_valid(members["RA_deg"])))
    owner, time = used["orbit_index"].to_numpy(), floats(used, "mjd_utc")
    order = np.lexsort((time, owner))
    positions = np.column_stack([floats(used, "RA_deg"), floats(used, "Dec_deg")])[order]
    starts = np.flatnonzero(np.diff(owner[order])) + 1
    return [track for track in np.split(positions, starts) if len(track)]


def _field(positions: FloatArray) -> tuple[float, float, float]:
    """Return the right ascension of the field's middle, and its width and height, deg."""
    angles = np.radians(positions[:, 0])
    middle = float(np.degrees(np.arctan2(np.sin(angles).mean(), np.cos(angles).mean())) % 360.0)
    east = _east(positions[:, 0], middle)
    low, high = east.min(), east.max()
    return (middle + (low + high) / 2.0) % 360.0, float(high - low), float(np.ptp(positions[:, 1]))


def _east(ra_deg: FloatArray, centre: float) -> FloatArray:
    """Return right ascensions as angles east of the centre, [-180, 180)."""
    return (ra_deg - centre + 180.0) % 360.0 - 180.0


def _draw(axes: Axes, drawn: FloatArray, tracks: list[FloatArray], centre: float, *, project: Project) -> None:
    positions = project(_east(drawn[:, 0], centre), drawn[:, 1])
    style: dict[str, Any] = {"color": GREY, "alpha": 0.5, "markersize": 1.2, "markeredgewidth": 0}
    axes.plot(positions[:, 0], positions[:, 1], "o", rasterized=len(drawn) > MOST_VECTORS, **style)
    # A track over the map's edge would be drawn all across it.
    inside = [track for track in tracks if np.abs(np.diff(_east(track[:, 0], centre))).max(initial=0.0) < HALF_TURN]
    lines = [project(_east(track[:, 0], centre), track[:, 1]) for track in inside]
    crowded = len(lines) > MOST_LINES
    axes.add_collection(LineCollection(lines, colors=BLUE, linewidths=0.6 if crowded else 1.1, rasterized=crowded))
    ends = np.concatenate([line[-1:] for line in lines]) if lines else np.empty((0, 2))
    axes.plot(ends[:, 0], ends[:, 1], "o", color=BLUE, markersize=1.0 if crowded else 2.2, rasterized=crowded)
    ecliptic = _ecliptic(centre)
    limits = (axes.get_xlim(), axes.get_ylim())
    line = project(ecliptic[:, 0], ecliptic[:, 1])
    axes.plot(line[:, 0], line[:, 1], ":", color=VERMILION, linewidth=1.2)
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def _ecliptic(centre: float) -> FloatArray:
    """Return angles east of the centre, ascending, and declinations, deg."""
    longitude, obliquity = np.radians(np.linspace(0.0, 360.0, 721)), np.radians(OBLIQUITY_DEG)
    ra = np.degrees(np.arctan2(np.sin(longitude) * np.cos(obliquity), np.cos(longitude)))
    dec = np.degrees(np.arcsin(np.sin(longitude) * np.sin(obliquity)))
    east = _east(ra, centre)
    order = np.argsort(east)
    return np.column_stack([east[order], dec[order]])


def _draw_grid(axes: Axes, centre: float) -> None:
    """Draw meridians and parallels every 30 deg, with their names, and the edge."""
    fine = np.linspace(-90.0, 90.0, 91)
    for east in np.arange(-180.0, 181.0, 30.0):
        line = mollweide(np.full(91, east), fine)
        is_edge = abs(east) == HALF_TURN
        axes.plot(line[:, 0], line[:, 1], color="black" if is_edge else "#DDDDDD", linewidth=1.0 if is_edge else 0.5)
        if not is_edge:
            x, y = mollweide(np.array([east]), np.array([0.0]))[0]
            name: dict[str, Any] = {"fontsize": 7.5, "ha": "center", "va": "bottom", "color": "#444444", "zorder": 3}
            name["bbox"] = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6}
            axes.text(x, y + 0.02, f"{round(centre + east) % 360}°", **name)
    for dec in np.arange(-60.0, 61.0, 30.0):
        line = mollweide(np.array([-HALF_TURN, HALF_TURN]), np.full(2, dec))
        axes.plot(line[:, 0], line[:, 1], color="#DDDDDD", linewidth=0.5)
        axes.text(
            line[1, 0] - 0.04, line[1, 1], f"{dec:+.0f}°".replace("+0", "0"), fontsize=7.5, ha="right", va="center"
        )
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.set_frame_on(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("Right ascension (along the equator) and declination (at the edge) [deg]")
    axes.set_xlim(-3.15, 2.95)
    axes.set_ylim(-1.5, 1.5)


def _name_field(axes: Axes, positions: FloatArray, centre: float) -> None:
    x, dec = -_east(positions[:, 0], centre), positions[:, 1]
    shrinking = max(float(np.cos(np.radians(dec.mean()))), 0.05)
    wide, high = max(float(np.ptp(x)) * shrinking, 0.05), max(float(np.ptp(dec)), 0.05)
    # A strip is not drawn as a line without room for its names.
    wide, high = max(wide, LEAST_SHAPE * high), max(high, LEAST_SHAPE * wide)
    _frame(axes.set_xlim, x, wide / shrinking)
    _frame(axes.set_ylim, dec, high)
    low, top = axes.get_ylim()
    axes.set_ylim(max(low, -90.0), min(top, 90.0))
    axes.set_aspect(1.0 / shrinking, adjustable="box")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(nbins=5))
    axes.xaxis.set_major_formatter(lambda value, _: f"{round(centre - value, 6) % 360.0:.6g}")
    axes.set_xlabel("Right ascension [deg]")
    axes.set_ylabel("Declination [deg]")


def _frame(set_limits: Callable[[float, float], Any], values: FloatArray, length: float) -> None:
    """Set limits about the middle of the values, that far apart and a little more."""
    middle = (float(values.min()) + float(values.max())) / 2.0
    set_limits(middle - 0.54 * length, middle + 0.54 * length)
