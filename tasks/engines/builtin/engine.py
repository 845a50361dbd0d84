"""The built-in engine: the five stages put together."""

import pyarrow as pa

from tasks.engines.builtin.cluster_and_link import cluster_and_link
from tasks.engines.builtin.initial_orbit_determination import initial_orbit_determination
from tasks.engines.builtin.merge_and_extend import merge_and_extend
from tasks.engines.builtin.orbit_determination import orbit_determination
from tasks.engines.builtin.range_and_shift import range_and_shift
from tasks.engines.builtin.survey import PreparedSurvey, prepare_survey
from tasks.engines.builtin.version import VERSION
from tasks.engines.interface import LinkingProblem, StageResult, Tables
from tasks.engines.settings import EngineSettings


class BuiltinEngine:
    """See `tasks.engines.interface.Engine`."""

    @property
    def name(self) -> str:
        """Name as in config key `engine`."""
        return "builtin"

    @property
    def version(self) -> str:
        """Changes whenever the same input may give other tables."""
        return VERSION

    def prepare(self, observations: pa.Table, settings: EngineSettings) -> PreparedSurvey:
        """Prepare the observations of a job (rows of `tables.OBSERVATIONS`)."""
        return prepare_survey(observations, settings)

    def range_and_shift(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Keep the cell around the test orbit and project it on the co-rotating gnomonic plane."""
        return range_and_shift(problem, tables)

    def cluster_and_link(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Find sets of detections on smooth tracks in that plane."""
        return cluster_and_link(problem, tables)

    def initial_orbit_determination(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Give each cluster a first orbit."""
        return initial_orbit_determination(problem, tables)

    def orbit_determination(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Differentially correct the orbits with the full force model; reject outliers and false clusters."""
        return orbit_determination(problem, tables)

    def merge_and_extend(self, problem: LinkingProblem, tables: Tables) -> StageResult:
        """Assign each detection to one orbit, add the detections that were missed, merge what is the same object."""
        return merge_and_extend(problem, tables)
