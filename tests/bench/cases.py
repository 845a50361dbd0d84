"""The surveys of the benchmark by name: what each is made of, and with which settings the engine runs on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tests.bench.populations import Population

NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Case:
    """One survey: 14 nights of 14 fields about opposition, unless said otherwise."""

    name: str
    #: All detections, true and false: false ones fill up to this number.
    detections: int = 18_326
    population: Population = "main_belt"
    orbits: int = 700
    noise_arcsec: float = 0.1
    efficiency: float = 0.85
    #: Visits of a field in one night: 2 half an hour apart every other night, or 1 every night.
    visits: int = 2
    #: At most one detection of an object in one night is kept.
    one_per_night: bool = False
    observatories: tuple[str, ...] = ("X05",)
    #: Fraction of the false detections that are stationary sources, and ghosts about bright stars.
    stationary: float = 0.0
    ghosts: float = 0.0
    #: Fields in three groups with gaps of unobserved sky between, each group on nights of its own.
    gaps: bool = False
    #: Settings of the engine that differ from the defaults, as in config.csv.
    settings: Mapping[str, str] = field(default_factory=lambda: NONE)


CELL = MappingProxyType({"range_and_shift.cell_radius_deg": "1.3"})

_BASE = Case("20k")

_CASES = (
    _BASE,
    replace(_BASE, name="cell", settings=CELL),
    replace(_BASE, name="100k", detections=100_000),
    replace(_BASE, name="300k", detections=300_000),
    replace(_BASE, name="1m", detections=1_000_000),
    replace(_BASE, name="rich", detections=100_000, orbits=5_000),
    replace(_BASE, name="one-per-night", visits=1, one_per_night=True),
    replace(_BASE, name="one-per-night-100k", visits=1, one_per_night=True, detections=100_000),
    replace(_BASE, name="noise", noise_arcsec=0.3),
    replace(_BASE, name="hungaria", population="hungaria"),
    replace(_BASE, name="trojan", population="trojan"),
    replace(_BASE, name="near-earth", population="near_earth", orbits=300),
    replace(_BASE, name="interior", population="interior", orbits=300),
    replace(_BASE, name="centaur", population="centaur", orbits=300),
    replace(_BASE, name="outer", population="outer", orbits=300),
    replace(_BASE, name="hyperbolic", population="hyperbolic", orbits=300),
    replace(_BASE, name="two-observatories", observatories=("X05", "I41")),
    replace(_BASE, name="clumped", detections=60_000, stationary=0.4, ghosts=0.4),
    replace(_BASE, name="gaps", gaps=True),
)
CASES: Mapping[str, Case] = MappingProxyType({case.name: case for case in _CASES})
"""All cases by name."""
