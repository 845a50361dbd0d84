"""difi itself, to hold our score against: its compiled core, without the Python half of the wheel."""

import importlib.util
import json
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.engines.builtin.astrodynamics.nights import solar_nights
from tasks.engines.builtin.astrodynamics.observers import longitudes_deg

NANOSECONDS_PER_DAY = 86_400_000_000_000


@cache
def difi_core():
    """The module `difi._core`: `difi/__init__.py` needs ray, and a module that adam-core no longer has."""
    (folder,) = importlib.util.find_spec("difi").submodule_search_locations
    (binary,) = Path(folder).glob("_core*.so")
    spec = importlib.util.spec_from_file_location("difi._core", binary)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def difi_counts(observations, object_ids, members, folder, *, settings, contamination_percent=20.0):
    """(Findable by object, linkages by id, totals); `members` are pairs of orbit and observation."""
    sky, linkages = folder / "observations.parquet", folder / "linkages.parquet"
    pq.write_table(_observations(observations, object_ids), sky)
    orbit_ids, obs_ids = zip(*members, strict=True)
    pq.write_table(pa.table({"linkage_id": orbit_ids, "obs_id": obs_ids}), linkages)
    metric = {
        "type": "singletons",
        "min_obs": settings.min_observations,
        "min_nights": settings.min_nights,
        "min_nightly_obs_in_min_nights": 1,
    }
    found = difi_core().analyze_observations(str(sky), json.dumps(metric))
    totals = difi_core().analyze_linkages(
        str(sky), str(linkages), json.dumps(metric), settings.min_observations, contamination_percent
    )
    return (
        {row["object_id"]: row["findable"] for row in found["objects"]},
        {row["linkage_id"]: row for row in totals["linkages"]},
        totals,
    )


def _observations(observations, object_ids):
    mjd = observations["mjd_utc"].to_numpy()
    longitude = observations["observatory_code"].to_pandas().map(longitudes_deg()).to_numpy(np.float64)
    days = np.floor(mjd).astype(np.int64)
    nanos = ((mjd - days) * NANOSECONDS_PER_DAY).astype(np.int64)
    return pa.table(
        {
            "id": observations["obs_id"],
            "time": pa.StructArray.from_arrays([pa.array(days), pa.array(nanos)], ["days", "nanos"]),
            "ra": observations["RA_deg"],
            "dec": observations["Dec_deg"],
            "ra_sigma": observations["RA_sigma_deg"],
            "dec_sigma": observations["Dec_sigma_deg"],
            "observatory_code": observations["observatory_code"],
            "object_id": pa.array(object_ids, pa.string()),
            "night": solar_nights(mjd, longitude).astype(np.int64),
        }
    )
