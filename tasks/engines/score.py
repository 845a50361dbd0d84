"""How good recovered orbits are where the truth is known: found, missed, pure, contaminated, false.

Pure functions of tables. The words are difi's, and `tests/engines/test_score_against_difi.py` holds them against difi
2.0.0: the same objects are findable and found, the same orbits pure, with the same share of other detections. What
differs on purpose: an object needs `min_arc_days` as well to be findable; a false detection is no object's, so that an
orbit of false detections is not pure; and an orbit is *contaminated* where enough of one object is left to find it by,
not where the others are few (difi: at most 20 %; `contamination` says how many they are).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.engines.builtin.astrodynamics.nights import solar_nights
from tasks.engines.builtin.astrodynamics.observers import longitude_deg
from tasks.engines.settings import ClusterAndLinkSettings

PURE, CONTAMINATED, FALSE = "pure", "contaminated", "false"

OBJECTS = pa.schema(
    [
        pa.field("object_id", pa.string(), nullable=False),
        #: Observations there are of it, their nights, and days from first to last.
        pa.field("expected_obs", pa.int64(), nullable=False),
        pa.field("num_nights", pa.int64(), nullable=False),
        pa.field("arc_days", pa.float64(), nullable=False),
        #: Enough observations, nights and arc, by the settings of cluster_and_link.
        pa.field("findable", pa.bool_(), nullable=False),
        #: A pure orbit has at least `min_observations` of its observations.
        pa.field("recovered", pa.bool_(), nullable=False),
        #: Orbits most of whose observations are its own, apart from false orbits.
        pa.field("num_orbits", pa.int64(), nullable=False),
        #: The one with the most of its observations; null: none.
        pa.field("orbit_id", pa.string()),
        #: Observations of it in that orbit.
        pa.field("recovered_obs", pa.int64(), nullable=False),
    ]
)

ORBITS = pa.schema(
    [
        pa.field("orbit_id", pa.string(), nullable=False),
        pa.field("num_obs", pa.int64(), nullable=False),
        #: The object it has the most observations of; null: it has only false detections.
        pa.field("object_id", pa.string()),
        pa.field("object_obs", pa.int64(), nullable=False),
        #: Share of its observations that are not of that object, percent.
        pa.field("contamination", pa.float64(), nullable=False),
        #: pure: all of one object. contaminated: at least `min_observations` of one object, and others. false: neither.
        pa.field("verdict", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Score:
    """What was found of what could be found."""

    #: Rows of `OBJECTS`, one per object that was observed, by object_id.
    objects: pa.Table
    #: Rows of `ORBITS`, one per orbit, by orbit_id.
    orbits: pa.Table

    @property
    def findable(self) -> int:
        """Number of objects that could be found."""
        return int(np.sum(self._objects("findable")))

    @property
    def recovered(self) -> int:
        """Number of findable objects that were found."""
        return int(np.sum(self._objects("findable") & self._objects("recovered")))

    @property
    def completeness(self) -> float:
        """Recovered of findable objects, 0 to 1; NaN where none is findable."""
        return _ratio(self.recovered, self.findable)

    @property
    def observation_completeness(self) -> float:
        """Observations of findable objects that are in their object's orbit, 0 to 1."""
        findable = self._objects("findable")
        return _ratio(self._objects("recovered_obs")[findable].sum(), self._objects("expected_obs")[findable].sum())

    @property
    def purity(self) -> float:
        """Pure of all orbits, 0 to 1."""
        return _ratio(self.count(PURE), self.orbits.num_rows)

    @property
    def objects_with_one_orbit(self) -> int:
        """Number of recovered findable objects that have one orbit and no second."""
        return int(np.sum(self._objects("findable") & self._objects("recovered") & (self._objects("num_orbits") == 1)))

    def count(self, verdict: str) -> int:
        """Return the number of orbits that are `pure`, `contaminated` or `false`."""
        verdicts: list[str] = self.orbits["verdict"].to_pylist()
        return verdicts.count(verdict)

    def _objects(self, name: str) -> np.ndarray:
        values: np.ndarray = self.objects[name].to_numpy()
        return values


def score_orbits(
    observations: pa.Table, truth: pa.Table, members: pa.Table, *, settings: ClusterAndLinkSettings
) -> Score:
    """Compare orbits with the truth.

    Parameters
    ----------
    observations
        Columns of `tables.OBSERVATIONS`: those that count as expected. Leave out what no test orbit's cell holds.
    truth
        `obs_id` -> `object_id`, null for a false detection; of all observations that orbits may have.
    members
        `orbit_id`, `obs_id`: one row per observation of an orbit (`recovered_orbit_members`). Those that the fit
        rejected (`outlier`, where there is this column) do not count.
    settings
        What makes an object findable.
    """
    object_of_obs = pd.Series(truth["object_id"].to_pandas().to_numpy(), index=truth["obs_id"].to_pandas().to_numpy())
    expected = _expected(observations, object_of_obs, settings)
    linked = _linked(members)
    linked["object_id"] = linked["obs_id"].map(object_of_obs)
    linked["counts"] = linked["obs_id"].isin(observations["obs_id"].to_pandas())
    orbits = _judged(linked, settings)
    objects = _found(expected, linked, orbits, settings)
    return Score(
        objects=pa.Table.from_pandas(objects[OBJECTS.names], OBJECTS, preserve_index=False),
        orbits=pa.Table.from_pandas(orbits[ORBITS.names], ORBITS, preserve_index=False),
    )


def _linked(members: pa.Table) -> pd.DataFrame:
    """Return the pairs of orbit and observation, each once."""
    frame = pd.DataFrame({"orbit_id": members["orbit_id"].to_pandas(), "obs_id": members["obs_id"].to_pandas()})
    if "outlier" in members.column_names:
        frame = frame[members["outlier"].to_numpy() == 0]
    return frame.drop_duplicates(ignore_index=True)


def _expected(
    observations: pa.Table, object_of_obs: "pd.Series[str]", settings: ClusterAndLinkSettings
) -> pd.DataFrame:
    """Return what there is of each object."""
    frame = pd.DataFrame(
        {
            "object_id": observations["obs_id"].to_pandas().map(object_of_obs),
            "mjd_utc": observations["mjd_utc"].to_numpy(),
            "night": _nights(observations),
        }
    ).dropna(subset="object_id")
    groups = frame.groupby("object_id")
    expected = pd.DataFrame(
        {
            "expected_obs": groups.size(),
            "num_nights": groups["night"].nunique(),
            "arc_days": groups["mjd_utc"].max() - groups["mjd_utc"].min(),
        }
    ).reset_index()
    expected["findable"] = (
        (expected["expected_obs"] >= settings.min_observations)
        & (expected["num_nights"] >= settings.min_nights)
        & (expected["arc_days"] >= settings.min_arc_days)
    )
    return expected


def _nights(observations: pa.Table) -> "pd.Series[int]":
    """Night of the sky of each observation as the engine counts them: the local date on which its night begins."""
    codes = observations["observatory_code"].to_pandas()
    longitudes = codes.map(longitude_deg).to_numpy(dtype=np.float64)
    dates = pd.Series(solar_nights(observations["mjd_utc"].to_numpy(), longitudes))
    if "night_id" in observations.column_names:
        given = observations["night_id"].to_pandas()
        first = dates.groupby([codes, given]).transform("min")
        dates = first.where(given.notna(), dates).astype(np.int64)
    return dates


def _judged(linked: pd.DataFrame, settings: ClusterAndLinkSettings) -> pd.DataFrame:
    """Return a verdict on each orbit."""
    sizes = linked.groupby("orbit_id").size().rename("num_obs")
    of_objects = linked.groupby(["orbit_id", "object_id"]).size().rename("object_obs").reset_index()
    most = of_objects.sort_values(["orbit_id", "object_obs", "object_id"], ascending=[True, False, True])
    orbits = sizes.reset_index().merge(most.drop_duplicates("orbit_id"), on="orbit_id", how="left")
    orbits["object_obs"] = orbits["object_obs"].fillna(0).astype(np.int64)
    orbits["contamination"] = 100.0 * (1.0 - orbits["object_obs"] / orbits["num_obs"])
    enough = orbits["object_obs"] >= settings.min_observations
    pure = orbits["object_obs"] == orbits["num_obs"]
    orbits["verdict"] = np.select([pure, enough], [PURE, CONTAMINATED], FALSE)
    return orbits.sort_values("orbit_id", ignore_index=True)


def _found(
    expected: pd.DataFrame, linked: pd.DataFrame, orbits: pd.DataFrame, settings: ClusterAndLinkSettings
) -> pd.DataFrame:
    """Return what was found of each object."""
    kept = orbits[orbits["verdict"] != FALSE]
    own = linked[linked["counts"]].groupby(["orbit_id", "object_id"]).size().rename("recovered_obs").reset_index()
    kept = kept.merge(own, on=["orbit_id", "object_id"])
    best = kept.sort_values(["object_id", "recovered_obs", "orbit_id"], ascending=[True, False, True])
    full = kept[(kept["verdict"] == PURE) & (kept["object_obs"] >= settings.min_observations)]
    found = expected.merge(
        best.drop_duplicates("object_id")[["object_id", "orbit_id", "recovered_obs"]], on="object_id", how="left"
    )
    found["recovered_obs"] = found["recovered_obs"].fillna(0).astype(np.int64)
    found["num_orbits"] = found["object_id"].map(kept.groupby("object_id").size()).fillna(0).astype(np.int64)
    found["recovered"] = found["object_id"].isin(full["object_id"])
    return found.sort_values("object_id", ignore_index=True)


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else float("nan")
