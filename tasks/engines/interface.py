"""What an engine is: five stages that meet only in tables. Nothing here computes."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import pyarrow as pa

from tasks.engines.settings import EngineSettings

Stage = Literal[
    "range_and_shift",
    "cluster_and_link",
    "initial_orbit_determination",
    "orbit_determination",
    "merge_and_extend",
]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""The stages in their order, in the words of the customer's diagram."""

Tables = Mapping[str, pa.Table]
"""Tables by name, as `tasks.engines.tables` names them."""

MapBlocks = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
"""Calls a function on each block, perhaps in parallel, and returns the results in the order of the blocks."""


def map_blocks_in_turn(function: Callable[[Any], Any], blocks: Sequence[Any]) -> list[Any]:
    """Call the function on one block after the other in this thread: the plainest `MapBlocks`."""
    return [function(block) for block in blocks]


class Survey(Protocol):
    """Prepared observations: what no test orbit changes. Made once per job, shared by its tasks, never modified."""

    @property
    def nbytes(self) -> int:
        """Memory it takes, bytes: for the cache that keeps it."""
        ...


@dataclass(frozen=True)
class LinkingProblem:
    """One task to an engine: the prepared observations, one test orbit, and the settings."""

    survey: Any
    #: One row of `tables.TEST_ORBITS`.
    test_orbit: pa.Table
    settings: EngineSettings
    map_blocks: MapBlocks = field(default=map_blocks_in_turn)
    #: What former attempts kept of stages that they finished (`StageResult.kept`), by stage.
    kept: dict[Stage, Mapping[str, bytes]] = field(default_factory=dict)
    #: Whoever works on the problem closes it at the end: what an engine needed for it alone goes then.
    at_end: ExitStack = field(default_factory=ExitStack)


@dataclass(frozen=True)
class StageResult:
    """What a stage gives: its tables, and counts for people (such as observations in, kept), in reading order."""

    tables: Tables
    counts: Mapping[str, int]
    #: Files, by name, from which the engine goes on after this stage, where the tables are not enough.
    kept: Mapping[str, bytes] = field(default_factory=dict)


class Engine(Protocol):
    """One way to do THOR. Stateless; same problem, settings and version -> byte-identical tables.

    Each stage reads the tables that the stages before it gave, by name, from `tables`, and returns only its own.
    A stage raises `EngineInputError` when the problem cannot be worked on.
    """

    @property
    def name(self) -> str:
        """Name as in config key `engine`."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the same input may give other tables."""
        ...

    def prepare(self, observations: pa.Table, settings: EngineSettings) -> Survey:
        """Prepare the observations of a job (rows of `tables.OBSERVATIONS`)."""
        ...

    def range_and_shift(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Keep the cell around the test orbit and project it on the co-rotating gnomonic plane."""
        ...

    def cluster_and_link(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Find sets of detections on smooth tracks in that plane."""
        ...

    def initial_orbit_determination(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Give each cluster a first orbit."""
        ...

    def orbit_determination(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Differentially correct the orbits with the full force model; reject outliers and false clusters."""
        ...

    def merge_and_extend(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Assign each detection to one orbit, add the detections that were missed, merge what is the same object."""
        ...
