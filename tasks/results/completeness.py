"""How complete and pure the results are, where the observations say which object each detection is of (`object_id`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import matplotlib.ticker
import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tasks.engines.settings import ClusterAndLinkSettings
from tasks.results.job_detections import JobDetections
from tasks.results.plots import BLUE, GREY, FloatArray, Picture, floats, picture

if TYPE_CHECKING:
    from tasks.engines.score import Score

OBJECTS_FILE, ORBITS_FILE = "truth_objects", "truth_orbits"

FILES = {
    f"{OBJECTS_FILE}.csv": "what there was of each object, whether it could be found, and was",
    f"{ORBITS_FILE}.csv": "whether each recovered orbit is pure, contaminated or false",
}

MOST_BINS = 12

MOTIONS = {
    "below 0.03: as beyond Neptune": 0.03,
    "0.03 to 0.15: as Centaurs and Trojans": 0.15,
    "0.15 to 0.3: as the main belt": 0.3,
    "above 0.3: as what comes near": np.inf,
}
"""Name of a group by motion, deg/d -> where it ends. At opposition a circular orbit moves by 0.28 deg/d at 2.1 au, by
0.19 at 3.3, 0.13 at 5.2, 0.03 at 30; elsewhere by less. A missed object has no orbit by which its group could be told.
"""

NIGHTS = {"3 or fewer": 3, "4": 4, "5": 5, "6 or 7": 7, "8 to 11": 11, "12 or more": np.inf}
"""Name of a bin of nights -> its last."""

Figures = Mapping[str, float | None]
"""Counts, and shares from 0 to 1; None: a share of nothing."""

Row = tuple[str, int, int]
"""A bin's name; findable objects in it, and found ones of them."""

Points = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


@dataclass(frozen=True)
class Completeness:
    """Tables by file name without ending, figures, and the curve; all empty where no truth is known."""

    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    figures: Figures = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    #: What the bins are of -> those that have findable objects.
    by: Mapping[str, Sequence[Row]] = field(default_factory=dict)

    @property
    def totals(self) -> dict[str, str]:
        """The figures for people, by their headings."""
        if not self.figures:
            return {}
        return {
            "completeness": share_text(self.figures["completeness"]),
            "of findable objects": f"{self.figures['recovered_objects']} of {self.figures['findable_objects']}",
            "purity": share_text(self.figures["purity"]),
        }


def completeness_of(detections: JobDetections, members: pa.Table, *, settings: ClusterAndLinkSettings) -> Completeness:
    """Compare the recovered orbits with the truth in the observations; `settings` say what could be found."""
    truth = detections.truth
    if len(truth) == 0:
        return Completeness()
    from tasks.engines.score import score_orbits  # noqa: PLC0415 (pandas, for those who know the truth only)

    score = score_orbits(truth, truth.select(["obs_id", "object_id"]), members, settings=settings)
    objects = _with_motions(_with_magnitudes(score.objects, truth), truth)
    return Completeness(
        tables={OBJECTS_FILE: objects, ORBITS_FILE: score.orbits},
        figures=figures_of(score),
        pictures=_curve(objects),
        by=binned(objects.filter(objects["findable"])),
    )


def figures_of(score: "Score") -> Figures:
    """Return what is told of a score, for programs."""
    return {
        "findable_objects": score.findable,
        "recovered_objects": score.recovered,
        "completeness": _or_none(score.completeness),
        "observation_completeness": _or_none(score.observation_completeness),
        "purity": _or_none(score.purity),
    }


def share_text(share: float | None) -> str:
    """Return a share as people read it."""
    return "not defined" if share is None else f"{share:.1%}"


def sentence_of(figures: Figures) -> str:
    """Return the figures in a sentence."""
    return (
        f"Completeness {share_text(figures['completeness'])} ({figures['recovered_objects']} of "
        f"{figures['findable_objects']} findable objects, {share_text(figures['observation_completeness'])} of their "
        f"observations), purity {share_text(figures['purity'])}."
    )


def binned(findable: pa.Table) -> dict[str, list[Row]]:
    """Count findable and found objects (rows of the table of objects) by motion, median magnitude and nights."""
    found = np.asarray(findable["recovered"].to_pylist(), dtype=np.bool_)
    magnitudes = floats(findable, "median_mag")
    known = np.floor(magnitudes[np.isfinite(magnitudes)])
    of_magnitude = {f"{low:.0f} to {low + 1:.0f}": np.nextafter(low + 1.0, low) for low in np.unique(known).tolist()}
    bins = {
        "motion [deg/d]": (floats(findable, "motion_deg_per_day"), MOTIONS),
        "nights": (floats(findable, "num_nights"), NIGHTS),
        "magnitude": (magnitudes, of_magnitude),
    }
    return {of: _rows(values, found, ends) for of, (values, ends) in bins.items()}


def _rows(values: FloatArray, found: NDArray[np.bool_], ends: Mapping[str, float]) -> list[Row]:
    """Return the bins that hold any value; NaN has one of its own, the last."""
    place = np.searchsorted(np.array(list(ends.values())), values)
    names = [*ends, "not known"]
    counts, there = (np.bincount(rows, minlength=len(names)) for rows in (place, place[found]))
    return [(name, int(of), int(n)) for name, of, n in zip(names, counts, there, strict=True) if of]


def _or_none(share: float) -> float | None:
    """Return a share; None where there is nothing that it is a share of: JSON has no NaN."""
    return share if np.isfinite(share) else None


def wilson_interval(found: FloatArray, of: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the 1-sigma bounds of a fraction; Wilson 1927, J. Am. Stat. Assoc. 22, 209, with z = 1."""
    share = found / of
    middle = (share + 0.5 / of) / (1.0 + 1.0 / of)
    half = np.sqrt(share * (1.0 - share) / of + 0.25 / of**2) / (1.0 + 1.0 / of)
    return middle - half, middle + half


def binned_fractions(values: FloatArray, found: FloatArray) -> Points:
    """Return middles of bins, fractions found, and their 1-sigma bounds; bins hold about as many objects each."""
    count = int(np.clip(len(values) // 10, 1, MOST_BINS))
    edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, count + 1)))
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    of = np.bincount(bins).astype(float)
    there = of > 0
    sums = np.bincount(bins, weights=found)[there].astype(np.float64)
    middles = (np.bincount(bins, weights=values)[there]) / of[there]
    low, high = wilson_interval(sums, of[there])
    return middles, sums / of[there], low, high


def _with_magnitudes(objects: pa.Table, truth: pa.Table) -> pa.Table:
    """Add the median apparent magnitude of each object; null: no magnitude."""
    medians = truth.select(["object_id", "mag"]).to_pandas().groupby("object_id")["mag"].median()
    values = medians.reindex(objects["object_id"].to_pylist()).to_numpy()
    return objects.append_column("median_mag", pa.array(values, mask=~np.isfinite(values)))


def _with_motions(objects: pa.Table, truth: pa.Table) -> pa.Table:
    """Add each object's mean motion, deg/d, from its first to its last position; null: not known."""
    frame = truth.select(["object_id", "mjd_utc", "RA_deg", "Dec_deg"]).to_pandas().sort_values("mjd_utc")
    groups = frame.groupby("object_id")
    first, last = groups.head(1).set_index("object_id").sort_index(), groups.tail(1).set_index("object_id").sort_index()
    positions = [each[name].to_numpy(dtype=np.float64) for each in (first, last) for name in ("RA_deg", "Dec_deg")]
    days = (last["mjd_utc"] - first["mjd_utc"]).to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        motion = first.assign(motion=_separation_deg(*positions) / days)["motion"]
    values = motion.reindex(objects["object_id"].to_pylist()).to_numpy()
    return objects.append_column("motion_deg_per_day", pa.array(values, mask=~np.isfinite(values)))


def _separation_deg(ra: FloatArray, dec: FloatArray, other_ra: FloatArray, other_dec: FloatArray) -> FloatArray:
    """Return the great circle between positions, deg."""
    ra, dec, other_ra, other_dec = map(np.radians, (ra, dec, other_ra, other_dec))
    half = np.sin(0.5 * (other_dec - dec)) ** 2 + np.cos(dec) * np.cos(other_dec) * np.sin(0.5 * (other_ra - ra)) ** 2
    separation: FloatArray = np.degrees(2.0 * np.arcsin(np.sqrt(half)))
    return separation


def _curve(objects: pa.Table) -> tuple[Picture, ...]:
    findable = objects.filter(objects["findable"])
    if len(findable) == 0:
        return ()
    found = np.asarray(findable["recovered"].to_pylist(), dtype=np.float64)
    panels = [
        ("median_mag", "Median apparent magnitude"),
        ("num_nights", "Nights of the object"),
        ("motion_deg_per_day", "Mean motion [deg/d]"),
    ]

    def draw(figure: Figure) -> None:
        lowest = 1.0
        for axes, (name, label) in zip(figure.subplots(1, 3, sharey=True), panels, strict=True):
            values = floats(findable, name)
            known = np.isfinite(values)
            lowest = min(lowest, _draw_curve(axes, values[known], found[known]))
            axes.set_xlabel(label)
        figure.axes[1].xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(nbins=6, integer=True))
        _logarithmic(figure.axes[2], floats(findable, "motion_deg_per_day"))
        figure.axes[0].set_ylabel("Found of findable objects")
        # All three share the axis: it begins a little below the lowest bound of all.
        bottom = max(np.floor(10.0 * lowest) / 10.0, 0.0)
        figure.axes[0].set_ylim(bottom - 0.1 * (1.0 - bottom), 1.0 + 0.1 * (1.0 - bottom))
        told = figure.axes[1].get_legend_handles_labels()
        figure.legend(*told, loc="outside lower center", ncols=2, frameon=False)

    caption = (
        f"{int(found.sum())} of {len(findable)} findable objects have a pure orbit. Points: bins of about as many "
        "objects each, with 1-sigma bounds (Wilson); grey: single objects, found above, missed below."
    )
    return (picture("completeness", "Completeness", caption, draw, height=3.2),)


NARROW = 5.0
"""Within this factor a logarithmic axis could be left without a number; ten times as wide, three a decade overlap."""


def _logarithmic(axes: Axes, values: FloatArray) -> None:
    """Make the axis logarithmic where the values span more than `NARROW`."""
    known = values[np.isfinite(values) & (values > 0.0)]
    span = known.max() / known.min() if len(known) > 0 else 1.0
    if span < NARROW:
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1.0, 2.0, 5.0) if span < 10.0 * NARROW else (1.0,)))
    axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def _draw_curve(axes: Axes, values: FloatArray, found: FloatArray) -> float:
    """Draw shares over values, and each object: found ones at the top, missed ones at the bottom. Return the lowest."""
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0, decimals=0))
    if len(values) == 0:
        axes.text(0.5, 0.5, "not known", transform=axes.transAxes, ha="center", va="center")
        return 1.0
    edge = np.where(found > 0, 0.975, 0.025)
    single: dict[str, Any] = {"color": GREY, "markersize": 5, "rasterized": len(values) > 3000}  # noqa: PLR2004
    axes.plot(values, edge, "|", transform=axes.get_xaxis_transform(), label="single objects", **single)
    middles, share, low, high = binned_fractions(values, found)
    bars = np.clip([share - low, high - share], 0.0, None)
    of_bins: dict[str, Any] = {"color": BLUE, "markersize": 4, "capsize": 2.5, "linewidth": 1.2}
    axes.errorbar(middles, share, yerr=bars, fmt="o-", label="bins, with 1 sigma", **of_bins)
    return float((share - bars[0]).min())
