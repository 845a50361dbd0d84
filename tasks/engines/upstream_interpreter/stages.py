"""Upstream's stages and tables, as its version at commit 7d74c0b of github moeyensj/thor has them."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from adam_core.coordinates import (
    CartesianCoordinates,
    CoordinateCovariances,
    Origin,
    OriginCodes,
    transform_coordinates,
)
from adam_core.time import Timestamp
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
LAST_FILE = {
    "range_and_shift": "transformed_detections.parquet",
    "cluster_and_link": "cluster_members.parquet",
    "initial_orbit_determination": "iod_orbit_members.parquet",
    "orbit_determination": "od_orbit_members.parquet",
    "merge_and_extend": "recovered_orbit_members.parquet",
}
"""What upstream leaves when a stage has come to its end."""

ORBITS = {
    "initial_orbit_determination": "iod_orbit",
    "orbit_determination": "od_orbit",
    "merge_and_extend": "recovered_orbit",
}


def run(folder: Path, stage: str, say: Callable[..., None]) -> None:
    """Run upstream up to the stage, and write the stage's tables."""
    work = folder / "work"
    shutil.rmtree(work / "inputs", ignore_errors=True)  # upstream refuses to go on with another stop_after_stage
    asked = json.loads((folder / "config.json").read_text())
    (folder / "tables").mkdir(exist_ok=True)
    config = Config(**asked, max_processes=1, stop_after_stage=UPSTREAM_STAGES[stage])
    orbit = upstream_orbit(folder)
    observations = upstream_observations(folder)
    if not (work / LAST_FILE[stage]).exists():
        for result in link_test_orbit(orbit, observations, str(work), config=config, use_orbit_subdir=False):
            say("stage", name=result.name, rows=[len(table) for table in result.result])
    tables = tables_of_stage(stage, work)
    for name, frame in tables.items():
        frame.to_parquet(folder / "tables" / f"{name}.parquet", index=False)
    say("done", tables=sorted(tables))


def upstream_observations(folder: Path) -> Any:
    """Return our observations as upstream's."""
    frame = pd.read_parquet(folder / "observations.parquet")
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
