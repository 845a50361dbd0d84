"""Upstream's stages and tables, as its version at commit 7d74c0b of github moeyensj/thor has them."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray
from adam_core.coordinates import (
    CartesianCoordinates,
    CoordinateCovariances,
    Origin,
    OriginCodes,
    transform_coordinates,
)
from adam_core.time import Timestamp
from ray._common.usage import usage_lib
from thor.clusters import FittedClusterMembers, FittedClusters
from thor.config import Config
from thor.main import link_test_orbit
from thor.observations.observations import InputObservations, Observations
from thor.orbit import TestOrbitEphemeris, TestOrbits
from thor.orbit_determination.fitted_orbits import FittedOrbitMembers, FittedOrbits
from thor.range_and_transform import TransformedDetections

UPSTREAM_STAGES = {
    "range_and_shift": "range_and_transform",
    "cluster_and_link": "cluster_and_link",
    "initial_orbit_determination": "initial_orbit_determination",
    "orbit_determination": "differential_correction",
    "merge_and_extend": "recover_orbits",
}
FILES = {
    "range_and_shift": ("filtered_observations", "test_orbit_ephemeris", "transformed_detections"),
    "cluster_and_link": ("clusters", "cluster_members"),
    "initial_orbit_determination": ("iod_orbits", "iod_orbit_members"),
    "orbit_determination": ("od_orbits", "od_orbit_members"),
    "merge_and_extend": ("recovered_orbits", "recovered_orbit_members"),
}
"""What upstream leaves of a stage, in the order in which it writes them: the last one says that the stage is done."""

SOCKET_CHARACTERS = 107
"""Longest name of a socket;"""
BELOW_RAY = 72
"""ray's lie so far below its directory."""

ORBITS = {
    "initial_orbit_determination": "iod_orbit",
    "orbit_determination": "od_orbit",
    "merge_and_extend": "recovered_orbit",
}


class AtWork:
    """What this process holds of the task at work, and of the job that it belongs to."""

    folder: Path | None = None
    #: Upstream's own generator, which computes a stage when it is asked for it.
    results: Iterator[Any] = iter(())
    observations_path: Path | None = None
    observations: Any = None
    #: Processes that ray was started for; 1: it is not there.
    processes: int | None = 1
    #: Where ray's files are, if not in the worker's own directory, whose name may be too long.
    ray_directory: Path | None = None


def run(command: dict[str, Any], say: Callable[..., None]) -> dict[str, Any]:
    """Compute a stage of a task, those before it too where their files are gone; write its tables.

    `command`: `stage`, `folder` of the task (test_orbit.parquet, config.json; upstream's own files go to work/, our
    tables to tables/), `observations` (file of the job), `scratch` (for ray), `unmasked` (file of the obs_id that stay,
    or None: all do).
    """
    folder, stage = Path(command["folder"]), command["stage"]
    work = folder / "work"
    work.mkdir(exist_ok=True)
    (folder / "tables").mkdir(exist_ok=True)
    if command.get("unmasked"):
        leave_out_masked(work, Path(command["unmasked"]))
    if not (work / f"{FILES[stage][-1]}.parquet").exists():
        try:
            compute(command, say)
        except BaseException:
            AtWork.folder = None  # nobody knows what state its generator is in
            raise
    tables = tables_of_stage(stage, work)
    for name, frame in tables.items():
        frame.to_parquet(folder / "tables" / f"{name}.parquet", index=False)
    return {"tables": sorted(tables), "files": [f"{name}.parquet" for name in FILES[stage]]}


def compute(command: dict[str, Any], say: Callable[..., None]) -> None:
    """Have upstream go on until the stage is done."""
    folder = Path(command["folder"])
    if AtWork.folder != folder:
        begin(command)
    for result in AtWork.results:
        say("stage", name=result.name, rows=[len(table) for table in result.result])
        if result.name == UPSTREAM_STAGES[command["stage"]]:
            return


def begin(command: dict[str, Any]) -> None:
    """Have upstream begin with the task, or go on from what lies in its folder."""
    folder = Path(command["folder"])
    asked = json.loads((folder / "config.json").read_text())
    start_ray(asked["max_processes"], asked.get("ray_memory_bytes", 0), Path(command["scratch"]))
    path = Path(command["observations"])
    if AtWork.observations_path != path:
        AtWork.observations_path, AtWork.observations = None, None  # two jobs' need not fit together
        AtWork.observations, AtWork.observations_path = upstream_observations(path), path
    AtWork.results = link_test_orbit(
        upstream_orbit(folder),
        AtWork.observations,
        str(folder / "work"),
        config=Config(**asked),
        use_orbit_subdir=False,
    )
    AtWork.folder = folder


def start_ray(processes: int | None, memory_bytes: int, scratch: Path) -> None:
    """Have ray there for so many processes (None: one a core), or not at all for one.

    Upstream would start it, too, but might join a cluster of somebody else on this machine.
    """
    if processes == AtWork.processes:
        return
    leave()
    if processes == 1:
        return
    usage_lib.set_usage_stats_enabled_via_env_var(False)
    directory = scratch / "ray"
    if len(str(directory)) + BELOW_RAY > SOCKET_CHARACTERS:
        directory = AtWork.ray_directory = Path(tempfile.mkdtemp(prefix="thor-ray-", dir="/tmp"))
    ray.init(
        num_cpus=processes,
        object_store_memory=memory_bytes or None,
        include_dashboard=False,
        address="local",
        _temp_dir=str(directory),
    )
    AtWork.processes = processes


def leave() -> None:
    """End ray."""
    if AtWork.processes != 1:
        ray.shutdown()
        AtWork.processes = 1
    if AtWork.ray_directory is not None:
        shutil.rmtree(AtWork.ray_directory, ignore_errors=True)
        AtWork.ray_directory = None


def leave_out_masked(work: Path, unmasked: Path) -> None:
    """Take out of upstream's own files what other tasks have claimed; it goes on from the files then."""
    ids = pq.read_table(unmasked)["obs_id"].cast(pa.large_string())
    for name, kind in (("filtered_observations", Observations), ("transformed_detections", TransformedDetections)):
        path = work / f"{name}.parquet"
        rows = kind.from_parquet(path)
        kept = rows.apply_mask(pc.is_in(rows.id, value_set=ids.combine_chunks()))
        if len(kept) < len(rows):
            kept.to_parquet(path)
            AtWork.folder = None


def upstream_observations(path: Path) -> Any:
    """Return our observations as upstream's."""
    frame = pd.read_parquet(path)
    columns = InputObservations.from_kwargs(
        id=frame["obs_id"],
        exposure_id=frame["exposure_id"],
        time=Timestamp.from_mjd(frame["mjd_utc"].to_numpy(), scale="utc"),
        night=frame["night"],
        ra=frame["RA_deg"],
        dec=frame["Dec_deg"],
        ra_sigma=frame["ra_sigma_deg"],
        dec_sigma=frame["dec_sigma_deg"],
        ra_dec_cov=[0.0] * len(frame),
        mag=frame["mag"],
        mag_sigma=frame["mag_sigma"],
        filter=frame["filter"],
        observatory_code=frame["observatory_code"],
    )
    keys = ["coordinates.time.days", "coordinates.time.nanos", "coordinates.origin.code"]
    return Observations.from_input_observations(columns).sort_by(keys)


def upstream_orbit(folder: Path) -> Any:
    """Return our test orbit as upstream's."""
    row = pd.read_parquet(folder / "test_orbit.parquet").iloc[0]
    covariance = np.full((1, 6, 6), np.nan)
    if row["covariance"] is not None:
        rows, columns = np.tril_indices(6)
        covariance[0, rows, columns] = covariance[0, columns, rows] = row["covariance"]
    coordinates = CartesianCoordinates.from_kwargs(
        **{name: [row[name]] for name in ("x", "y", "z", "vx", "vy", "vz")},
        time=Timestamp.from_mjd([row["epoch"]], scale="tdb"),
        covariance=CoordinateCovariances.from_matrix(covariance),
        origin=Origin.from_kwargs(code=["SUN"]),
        frame="ecliptic",
    )
    return TestOrbits.from_kwargs(orbit_id=["test_orbit"], coordinates=coordinates)  # names a directory: not ours


def tables_of_stage(stage: str, work: Path) -> dict[str, Any]:
    """Return what upstream left in its files as flat tables, with ids from the members' ids instead of chance."""
    if stage == "range_and_shift":
        return {"projected_observations": projected(work)}
    clusters, members = cluster_tables(work)
    if stage == "cluster_and_link":
        return {"clusters": clusters, "cluster_members": members[["cluster_id", "obs_id"]]}
    names = dict(zip(members["upstream_id"], members["cluster_id"], strict=True))
    stem = ORBITS[stage]
    orbits, orbit_members = orbit_tables(work, stem, names)
    return {f"{stem}s": orbits, f"{stem}_members": orbit_members}


def projected(work: Path) -> Any:
    """Return the place of each detection in the plane, with observer and test orbit, heliocentric ecliptic, au."""
    detections = TransformedDetections.from_parquet(work / "transformed_detections.parquet")
    ephemeris = TestOrbitEphemeris.from_parquet(work / "test_orbit_ephemeris.parquet")
    orbit = transform_coordinates(
        ephemeris.ephemeris.aberrated_coordinates,
        CartesianCoordinates,
        frame_out="ecliptic",
        origin_out=OriginCodes.SUN,
    )
    states = pd.DataFrame({"state_id": ephemeris.id.to_pylist()})
    states[["obs_x", "obs_y", "obs_z"]] = ephemeris.observer.coordinates.r
    states[["obj_x", "obj_y", "obj_z"]] = orbit.r
    frame = pd.DataFrame(
        {
            "obs_id": detections.id.to_pylist(),
            "state_id": detections.state_id.to_pylist(),
            "theta_x_deg": detections.coordinates.theta_x.to_numpy(),
            "theta_y_deg": detections.coordinates.theta_y.to_numpy(),
        }
    )
    return frame.merge(states, on="state_id").drop(columns="state_id")


def cluster_tables(work: Path) -> tuple[Any, Any]:
    """Return clusters and members; members also with upstream's own id."""
    clusters = FittedClusters.from_parquet(work / "clusters.parquet")
    members = FittedClusterMembers.from_parquet(work / "cluster_members.parquet")
    member_frame = pd.DataFrame({"upstream_id": members.cluster_id.to_pylist(), "obs_id": members.obs_id.to_pylist()})
    names = content_ids(member_frame, "c")
    member_frame["cluster_id"] = member_frame["upstream_id"].map(names)
    frame = pd.DataFrame({"cluster_id": [names[name] for name in clusters.cluster_id.to_pylist()]})
    frame["epoch"] = clusters.time.rescale("tdb").mjd().to_numpy()
    for column in ("theta_x0", "theta_y0", "vtheta_x", "vtheta_y", "arc_length", "num_obs"):
        frame[column] = getattr(clusters, column).to_numpy()
    for column in ("atheta_x", "atheta_y"):  # upstream's is the acceleration, ours the coefficient of dt^2
        frame[column] = getattr(clusters, column).to_numpy() / 2
    return frame, member_frame


def orbit_tables(work: Path, stem: str, cluster_names: dict[str, str]) -> tuple[Any, Any]:
    """Return orbits and members; upstream's orbits keep the ids of their clusters."""
    orbits = FittedOrbits.from_parquet(work / f"{stem}s.parquet")
    members = FittedOrbitMembers.from_parquet(work / f"{stem}_members.parquet")
    values = [row if row is not None else [np.nan] * 6 for row in members.residuals.values.to_pylist()]
    residuals = np.array(values, dtype=float).reshape(-1, 6)
    member_frame = pd.DataFrame(
        {
            "upstream_id": members.orbit_id.to_pylist(),
            "obs_id": members.obs_id.to_pylist(),
            "residual_ra_arcsec": residuals[:, 1] * 3600,
            "residual_dec_arcsec": residuals[:, 2] * 3600,
            "chi2": np.array(members.residuals.chi2.to_pylist(), dtype=float),
            "outlier": [int(bool(flag)) for flag in members.outlier.to_pylist()],
            "solution": [int(bool(flag)) for flag in members.solution.to_pylist()],
        }
    )
    names = content_ids(member_frame, "o")
    member_frame["orbit_id"] = member_frame.pop("upstream_id").map(names)
    ids = orbits.orbit_id.to_pylist()
    frame = pd.DataFrame(
        {"orbit_id": [names[name] for name in ids], "cluster_id": [cluster_names[name] for name in ids]}
    )
    frame["epoch"] = orbits.coordinates.time.rescale("tdb").mjd().to_numpy()
    for column in ("x", "y", "z", "vx", "vy", "vz"):
        frame[column] = getattr(orbits.coordinates, column).to_numpy()
    rows, columns = np.tril_indices(6)
    frame["covariance"] = list(orbits.coordinates.covariance.to_matrix()[:, rows, columns])
    for column in ("arc_length", "num_obs", "chi2"):
        frame[column] = getattr(orbits, column).to_numpy()
    frame["rchi2"] = orbits.reduced_chi2.to_numpy()
    frame["num_iterations"] = [steps or 0 for steps in orbits.iterations.to_pylist()]
    return frame, member_frame


def content_ids(members: Any, prefix: str) -> dict[str, str]:
    """Return an id for each group of members that depends on their ids alone."""
    groups = members.groupby("upstream_id")["obs_id"]
    return {
        name: prefix + hashlib.blake2b("\n".join(sorted(obs_ids)).encode(), digest_size=8).hexdigest()
        for name, obs_ids in groups
    }
