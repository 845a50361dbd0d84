"""How complete and pure the results are, where the observations say which object each detection is of (`object_id`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import matplotlib.ticker
import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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

Figures = Mapping[str, float | None]
"""Counts, and shares from 0 to 1; None: a share of nothing."""

Points = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


@dataclass(frozen=True)
class Completeness:
    """Tables by file name without ending, figures, and the curve; all empty where no truth is known."""

    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    figures: Figures = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()

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
    objects = _with_magnitudes(score.objects, truth)
    return Completeness(
        tables={OBJECTS_FILE: objects, ORBITS_FILE: score.orbits},
        figures=figures_of(score),
        pictures=_curve(objects),
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


def _curve(objects: pa.Table) -> tuple[Picture, ...]:
    findable = objects.filter(objects["findable"])
    if len(findable) == 0:
        return ()
    found = np.asarray(findable["recovered"].to_pylist(), dtype=np.float64)
    panels = [("median_mag", "Median apparent magnitude"), ("expected_obs", "Observations of the object")]

    def draw(figure: Figure) -> None:
        for axes, (name, label) in zip(figure.subplots(1, 2, sharey=True), panels, strict=True):
            values = floats(findable, name)
            known = np.isfinite(values)
            _draw_curve(axes, values[known], found[known])
            axes.set_xlabel(label)
        figure.axes[1].xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(nbins=6, integer=True))
        figure.axes[0].set_ylabel("Found of findable objects")

    caption = (
        f"{int(found.sum())} of {len(findable)} findable objects have a pure orbit. Points: bins of about as many "
        "objects each, with 1-sigma bounds (Wilson); grey: single objects, found above, missed below."
    )
    return (picture("completeness", "Completeness", caption, draw, height=3.2),)


def _draw_curve(axes: Axes, values: FloatArray, found: FloatArray) -> None:
    axes.set_ylim(-0.06, 1.06)
    axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
    if len(values) == 0:
        axes.text(0.5, 0.5, "not known", transform=axes.transAxes, ha="center", va="center")
        return
    axes.plot(values, np.where(found > 0, 1.03, -0.03), "|", color=GREY, markersize=5, rasterized=len(values) > 3000)  # noqa: PLR2004
    middles, share, low, high = binned_fractions(values, found)
    bars = np.clip([share - low, high - share], 0.0, None)
    axes.errorbar(middles, share, yerr=bars, fmt="o-", color=BLUE, markersize=4, capsize=2.5, linewidth=1.2)
