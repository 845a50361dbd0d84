"""What each test orbit found, what no other did, and what the chosen ones were expected to find."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.ticker
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure

from tasks.records.manifest import ExpectedGroup
from tasks.results.plots import BLUE, GREY, SKY_BLUE, Picture, picture
from tasks.wording import counted

KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "near-Earth": (("neo",), ("IEO", "ATE", "APO", "AMO")),
    "Mars-crosser": (("mars_crosser",), ("MCA",)),
    "main belt, Hungarias, Hildas": (("main_belt", "hungaria", "hilda"), ("IMB", "MBA", "OMB")),
    "Jupiter Trojan": (("trojan",), ("TJN",)),
    "Centaur": (("centaur",), ("CEN",)),
    "transneptunian": (("tno",), ("TNO",)),
    "comet and others": (("comet",), ("HYA", "PAA", "AST")),
}
"""What both can tell apart: name -> groups of the model, and classes of orbits. A comet has the class of its orbit."""


MOST_LINEAR = 20
"""With more objects of one test orbit the axis is logarithmic: one that found two stands beside one that found
hundreds."""


@dataclass(frozen=True)
class ShareOfOrbit:
    """What one test orbit found."""

    orbit_id: str
    #: Recovered objects that it found, those that no other found, and those of it and all before it.
    objects: int
    only_here: int
    so_far: int


@dataclass(frozen=True)
class ExpectedKind:
    """What the chosen test orbits were expected to find of one kind, and how many orbits of it there are."""

    kind: str
    #: Objects that the survey could find by the model's numbers, and the share of them in reach.
    objects: float
    coverage: float
    found: int


def shares_of_test_orbits(orbits: pa.Table, orbit_ids: Sequence[str]) -> list[ShareOfOrbit]:
    """Return what each test orbit found, in the order of the job, by the column `found_by` of recovered orbits."""
    place = {orbit_id: number for number, orbit_id in enumerate(orbit_ids)}
    names = [text.split(";") for text in orbits["found_by"].to_pylist()]
    # A semicolon in an id makes no name of the job.
    finders = [sorted(place[name] for name in each if name in place) for each in names]
    objects, only, first = (np.zeros(len(place), np.int64) for _ in range(3))
    for each in filter(None, finders):
        objects[each] += 1
        first[each[0]] += 1
        if len(each) == 1:
            only[each[0]] += 1
    columns = zip(orbit_ids, objects.tolist(), only.tolist(), np.cumsum(first).tolist(), strict=True)
    return [ShareOfOrbit(*row) for row in columns]


def expected_kinds(expected: Sequence[ExpectedGroup], orbits: pa.Table) -> list[ExpectedKind]:
    """Return the kinds of which the model has anything in the field; none where the test orbits were not chosen."""
    of_group = {group.group: group for group in expected if group.coverage is not None}
    kinds = []
    for kind, (groups, classes) in KINDS.items():
        there = [of_group[name] for name in groups if name in of_group]
        objects = sum(group.objects for group in there)
        if objects > 0.0:
            in_reach = sum(group.objects * (group.coverage or 0.0) for group in there)
            found = pc.sum(pc.is_in(orbits["orbit_class"], pa.array(classes))).as_py() or 0
            kinds.append(ExpectedKind(kind, objects, in_reach / objects, found))
    return kinds


def expected_coverage(expected: Sequence[ExpectedGroup]) -> float | None:
    """Return the share of all objects in the field in reach of the test orbits; None: they were not chosen."""
    there = [group for group in expected if group.coverage is not None]
    objects = sum(group.objects for group in there)
    return sum(group.objects * (group.coverage or 0.0) for group in there) / objects if objects else None


def picture_of_test_orbits(shares: Sequence[ShareOfOrbit]) -> list[Picture]:
    """Return the picture of what each found; none of a single test orbit, or where nothing was found."""
    if len(shares) < 2 or shares[-1].so_far == 0:  # noqa: PLR2004
        return []
    number = np.arange(1, len(shares) + 1)

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.0, 1.2])
        above.step(number, [each.so_far for each in shares], where="mid", color=BLUE, linewidth=1.4)
        above.set_ylim(0.0, shares[-1].so_far * 1.08)
        above.set_ylabel("Objects so far")
        below.bar(number, [each.objects for each in shares], color=SKY_BLUE, label="found")
        below.bar(number, [each.only_here for each in shares], color=BLUE, label="by no other")
        most = max(each.objects for each in shares)
        if most > MOST_LINEAR:
            below.set_yscale("symlog", linthresh=1.0)
            below.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%d"))
        else:
            below.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        below.axhline(0.0, color=GREY, linewidth=0.6)
        below.set_ylabel("Objects")
        below.set_xlabel("Test orbit, in the order of the job")
        below.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
        below.set_xlim(0.3, len(shares) + 0.7)
        below.set_ylim(0.0, most * (6.0 if most > MOST_LINEAR else 1.4))  # room for the legend
        below.legend(frameon=False, ncols=2, loc="upper right")

    idle = sum(each.only_here == 0 for each in shares)
    caption = (
        f"{counted(shares[-1].so_far, 'recovered object')} by {counted(len(shares), 'test orbit')}; "
        f"{idle} of these found nothing that no other did. The table of tasks has their names."
    )
    return [picture("test_orbits", "What each test orbit found", caption, draw, height=3.8)]
