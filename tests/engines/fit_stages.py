"""The three fitting stages on a small sky whose clusters come from the truth, so that no linker stands between."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pyarrow as pa

from tasks.engines.builtin.survey import PreparedSurvey, prepare_survey
from tasks.engines.interface import LinkingProblem
from tasks.engines.settings import EngineSettings
from tasks.engines.tables import CLUSTER_MEMBERS, CLUSTERS
from tests.bench.cases import CASES
from tests.bench.survey import BenchSurvey, generate_survey


@dataclass(frozen=True)
class Truth:
    bench: BenchSurvey
    survey: PreparedSurvey
    #: Object of each detection, '' for a false one; detections are in the survey's order.
    objects: np.ndarray

    @property
    def findable(self) -> dict[str, np.ndarray]:
        """Object -> its detections, in order of time, where they are enough for a track of more than a week."""
        found = {}
        for name in np.unique(self.objects[self.objects != ""]):
            rows = np.flatnonzero(self.objects == name).astype(np.int32)
            rows = rows[np.argsort(self.survey.exposure[rows], kind="stable")]
            exposure = self.survey.exposure[rows]
            long_enough = np.ptp(self.survey.exposure_mjd_utc[exposure]) > 7.0
            if len(rows) >= 8 and long_enough and len(np.unique(self.survey.exposure_night[exposure])) >= 4:
                found[str(name)] = rows
        return found

    def problem(self, settings: EngineSettings | None = None) -> LinkingProblem:
        return LinkingProblem(self.survey, self.bench.test_orbits, settings or EngineSettings())

    def states_at(self, epoch_mjd_tdb: float) -> dict[str, np.ndarray]:
        return self.bench.truth_states_at(epoch_mjd_tdb)


@cache
def small_sky() -> Truth:
    bench = generate_survey(replace(CASES["20k"], name="small", orbits=60, detections=3000), seed=5)
    names = bench.truth["object_id"].fill_null("").to_numpy(zero_copy_only=False)
    return Truth(bench, prepare_survey(bench.observations, EngineSettings()), names)


def cluster_tables(survey: PreparedSurvey, clusters: list[np.ndarray]) -> dict[str, pa.Table]:
    """Tables of clusters with these members; the tracks, which the fits do not read, are zero."""
    ids = [f"c{number:04d}" for number in range(len(clusters))]
    owner = np.repeat(np.arange(len(clusters)), [len(each) for each in clusters]).astype(np.int32)
    members = np.concatenate([*clusters, np.empty(0, np.int32)]).astype(np.int32)
    counts = np.array([len(each) for each in clusters], np.int32)
    columns = {
        field.name: np.zeros(len(ids), field.type.to_pandas_dtype()) for field in CLUSTERS if field.name != "cluster_id"
    }
    columns |= {"num_obs": counts}
    return {
        "clusters": pa.table({"cluster_id": ids, **columns}, schema=CLUSTERS),
        "cluster_members": pa.table(
            {
                "cluster_id": pa.array(ids, pa.string()).take(pa.array(owner)),
                "cluster_index": owner,
                "obs_id": survey.obs_ids.take(pa.array(members)).cast(pa.string()),
                "obs_index": members,
            },
            schema=CLUSTER_MEMBERS,
        ),
    }


def sets_of(members: pa.Table, *, outliers: bool = False) -> list[set[int]]:
    """The detections of each orbit of a table of members."""
    if not outliers:
        members = members.filter(pa.compute.equal(members["outlier"], 0))
    owner, index = members["orbit_index"].to_numpy(), members["obs_index"].to_numpy()
    return [set(index[owner == k].tolist()) for k in range(owner.max(initial=-1) + 1)]


def states_of(orbits: pa.Table) -> np.ndarray:
    return np.column_stack([orbits[name].to_numpy() for name in ("x", "y", "z", "vx", "vy", "vz")])


def covariances_of(orbits: pa.Table) -> np.ndarray:
    matrices = np.empty((len(orbits), 6, 6))
    rows, columns = np.tril_indices(6)
    triangles = np.array(orbits["covariance"].to_pylist())
    matrices[:, rows, columns] = matrices[:, columns, rows] = triangles
    return matrices
