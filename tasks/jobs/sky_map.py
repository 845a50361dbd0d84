"""The map of the sky: where a job looked, and the tracks that it recovered."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from tasks.jobs.job_detections import JobDetections
from tasks.jobs.plots import BLUE, GREY, VERMILION, FloatArray, Picture, floats, picture

WIDEST_LOCAL_DEG = 100.0
"""A field up to this wide in right ascension, and below this high in declination, is drawn flat, else the whole sky."""

HIGHEST_LOCAL_DEG = 60.0

OBLIQUITY_DEG = 23.43929
"""Of the ecliptic at J2000 (IAU 1976): for the line that shows where the ecliptic runs."""

MOST_VECTORS = 3000
"""With more points or tracks they become one image inside the SVG."""


def picture_of_sky(detections: JobDetections, members: pa.Table) -> Picture | None:
    """Return the map; None where no place of any detection is known."""
    drawn = np.column_stack([floats(detections.drawn, "RA_deg"), floats(detections.drawn, "Dec_deg")])
    tracks = _tracks(members)
    everything = np.concatenate([drawn, *tracks])
    if len(everything) == 0:
        return None
    centre, width, height = _field(everything)
    whole_sky = width > WIDEST_LOCAL_DEG or height > HIGHEST_LOCAL_DEG
    if whole_sky:
        centre = round(centre / 30.0) * 30.0
    part = f"one in {detections.thinning} of " if detections.thinning > 1 else ""
    caption = (
        f"Grey: {part}{detections.n_detections} detections. Blue: tracks of {len(tracks)} recovered orbits, "
        "through their detections in use. Dotted: the ecliptic. ICRF, east to the left."
    )

    def draw(figure: Figure) -> None:
        if whole_sky:
            axes = figure.add_subplot(projection="mollweide")
            _draw(axes, drawn, tracks, centre, scale=np.pi / 180.0)
            _name_whole_sky(axes, centre)
        else:
            axes = figure.add_subplot()
            _draw(axes, drawn, tracks, centre, scale=1.0)
            _name_field(axes, everything, centre)

    return picture("sky", "Detections and recovered tracks", caption, draw, height=4.2 if whole_sky else 5.0)


def _tracks(members: pa.Table) -> list[FloatArray]:
    """Return the places of each orbit's detections in use, in the order of time, shape (k, 2), deg."""
    used = members.filter(pc.and_(pc.equal(members["outlier"], 0), pc.is_valid(members["RA_deg"])))
    owner, time = used["orbit_index"].to_numpy(), floats(used, "mjd_utc")
    order = np.lexsort((time, owner))
    places = np.column_stack([floats(used, "RA_deg"), floats(used, "Dec_deg")])[order]
    starts = np.flatnonzero(np.diff(owner[order])) + 1
    return [track for track in np.split(places, starts) if len(track)]


def _field(places: FloatArray) -> tuple[float, float, float]:
    """Return the right ascension of the field's middle, and its width and height, deg."""
    angles = np.radians(places[:, 0])
    middle = float(np.degrees(np.arctan2(np.sin(angles).mean(), np.cos(angles).mean())) % 360.0)
    east = _east(places[:, 0], middle)
    low, high = east.min(), east.max()
    return (middle + (low + high) / 2.0) % 360.0, float(high - low), float(np.ptp(places[:, 1]))


def _east(ra_deg: FloatArray, centre: float) -> FloatArray:
    """Return right ascensions as angles east of the centre, [-180, 180)."""
    return (ra_deg - centre + 180.0) % 360.0 - 180.0


def _draw(axes: Axes, drawn: FloatArray, tracks: list[FloatArray], centre: float, *, scale: float) -> None:
    """Draw with x = minus the angle east of the centre, so that east is to the left."""
    many = len(drawn) > MOST_VECTORS
    axes.plot(
        -_east(drawn[:, 0], centre) * scale, drawn[:, 1] * scale, "o", color=GREY, alpha=0.5, markersize=1.2,
        markeredgewidth=0, rasterized=many,
    )  # fmt: skip
    lines = [np.column_stack([-_east(track[:, 0], centre), track[:, 1]]) * scale for track in tracks]
    # A track over the map's edge would be drawn all across it.
    lines = [line for line in lines if np.abs(np.diff(line[:, 0])).max(initial=0.0) < 180.0 * scale]
    crowded = len(lines) > MOST_VECTORS
    width = 0.5 if crowded else 1.1
    axes.add_collection(LineCollection(lines, colors=BLUE, linewidths=width, rasterized=crowded))
    ends = np.concatenate([line[-1:] for line in lines]) if lines else np.empty((0, 2))
    axes.plot(ends[:, 0], ends[:, 1], "o", color=BLUE, markersize=1.0 if crowded else 2.2, rasterized=crowded)
    _draw_ecliptic(axes, centre, scale)


def _draw_ecliptic(axes: Axes, centre: float, scale: float) -> None:
    longitude, obliquity = np.radians(np.linspace(0.0, 360.0, 721)), np.radians(OBLIQUITY_DEG)
    ra = np.degrees(np.arctan2(np.sin(longitude) * np.cos(obliquity), np.cos(longitude)))
    dec = np.degrees(np.arcsin(np.sin(longitude) * np.sin(obliquity)))
    x = -_east(ra, centre)
    order = np.argsort(x)
    limits = (axes.get_xlim(), axes.get_ylim()) if scale == 1.0 else None
    axes.plot(x[order] * scale, dec[order] * scale, ":", color=VERMILION, linewidth=1.2)
    if limits:
        axes.set_xlim(limits[0])
        axes.set_ylim(limits[1])


def _name_whole_sky(axes: Axes, centre: float) -> None:
    ticks = np.arange(-150, 151, 30)
    axes.set_xticks(np.radians(ticks), [f"{round((centre - tick) % 360) % 360}°" for tick in ticks], fontsize=8)
    axes.set_xlabel("Right ascension [deg]")
    axes.set_ylabel("Declination [deg]")


def _name_field(axes: Axes, places: FloatArray, centre: float) -> None:
    x, dec = -_east(places[:, 0], centre), places[:, 1]
    margin = 0.04 * max(float(np.ptp(x)), float(np.ptp(dec)), 0.1)
    axes.set_xlim(x.min() - margin, x.max() + margin)
    axes.set_ylim(max(dec.min() - margin, -90.0), min(dec.max() + margin, 90.0))
    axes.set_aspect(1.0 / max(np.cos(np.radians(dec.mean())), 0.05), adjustable="datalim")
    axes.xaxis.set_major_formatter(lambda value, _: f"{(centre - value) % 360.0:.6g}")
    axes.set_xlabel("Right ascension [deg]")
    axes.set_ylabel("Declination [deg]")
