"""The demo problem: 28 real objects with positions by JPL Horizons, noise and false detections from a seed.

The positions and orbits are those that adam-core ships. Nothing is read from the network; the same seed gives the
same tables.
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from adam_core.utils.helpers import make_observations, make_real_orbits

from tasks.engines.tables import OBSERVATIONS, TEST_ORBITS

NOISE_DEG = 0.1 / 3600
"""Noise added to the positions and given as their uncertainty, deg: a good ground-based survey. The observations of
W84 come without an uncertainty of their own."""

FALSE_RADIUS_DEG = 1.0
"""False detections are uniform in a disc of this radius about the object, deg: an exposure's neighbourhood."""

MAG_SIGMA = 0.1
"""Uncertainty of the magnitudes, as adam-core gives it."""

TRUTH = pa.schema(
    [
        pa.field("obs_id", pa.string(), nullable=False),
        #: The object it is a detection of; null: a false detection.
        pa.field("object_id", pa.string()),
    ]
)


@dataclass(frozen=True)
class DemoProblem:
    """What a job needs, and what its results are judged by."""

    #: Rows of `tables.OBSERVATIONS`, ascending in time.
    observations: pa.Table
    #: Rows of `tables.TEST_ORBITS`: the objects' own orbits, one each; `orbit_id` is the object's name.
    test_orbits: pa.Table
    #: Rows of `TRUTH`, one per observation; `object_id` is an `orbit_id` of the test orbits.
    truth: pa.Table


def demo_problem(*, seed: int, days: float = 14.0, false_per_true: float = 1.0) -> DemoProblem:
    """Return the first days of each of the 28 objects, with noise and false detections in the same exposures.

    Each object has a time span of its own (90 positions in 58 days, somewhere between 1991 and 2020), with the epoch
    of its orbit in the middle.

    Parameters
    ----------
    seed
        Seed of the noise and of the false detections.
    days
        Time from an object's first observation, days; 60 or more keeps everything.
    false_per_true
        False detections per true one, not negative; rounded up.
    """
    rng = np.random.default_rng(seed)
    true = _first_days(_horizons_positions(), days)
    true = _moved(true, *rng.normal(0.0, NOISE_DEG, (2, len(true))))
    detections = pd.concat([true, _false_detections(true, false_per_true, rng)], ignore_index=True)
    order = np.lexsort((detections["RA_deg"], detections["exposure_id"], detections["mjd_utc"]))
    detections = detections.iloc[order].reset_index(drop=True)
    detections["obs_id"] = [f"obs_{number:05d}" for number in range(len(detections))]
    return DemoProblem(
        observations=pa.Table.from_pandas(detections[OBSERVATIONS.names], OBSERVATIONS, preserve_index=False),
        test_orbits=real_orbits(),
        truth=pa.Table.from_pandas(detections[TRUTH.names], TRUTH, preserve_index=False),
    )


def real_orbits() -> pa.Table:
    """Return the orbits of the 28 objects by JPL, rows of `tables.TEST_ORBITS`; each has an epoch of its own."""
    orbits = make_real_orbits()
    coordinates = orbits.coordinates
    return pa.table(
        {
            "orbit_id": [_readable_name(name) for name in orbits.object_id.to_pylist()],
            "epoch": coordinates.time.rescale("tdb").mjd(),
            **{name: getattr(coordinates, name) for name in ("x", "y", "z", "vx", "vy", "vz")},
            "covariance": pa.nulls(len(orbits), TEST_ORBITS.field("covariance").type),
        },
        schema=TEST_ORBITS,
    )


def _horizons_positions() -> pd.DataFrame:
    """All positions without noise, with the columns of `tables.OBSERVATIONS` (but `obs_id`) and `object_id`."""
    exposures, detections, associations = make_observations()
    code_of_exposure = dict(zip(exposures.id.to_pylist(), exposures.observatory_code.to_pylist(), strict=True))
    frame = pd.DataFrame(
        {
            "object_id": [_readable_name(name) for name in associations.object_id.to_pylist()],
            "mjd_utc": detections.time.mjd().to_numpy(),
            "RA_deg": detections.ra.to_numpy(),
            "Dec_deg": detections.dec.to_numpy(),
            "RA_sigma_deg": NOISE_DEG,
            "Dec_sigma_deg": NOISE_DEG,
            "observatory_code": [code_of_exposure[name] for name in detections.exposure_id.to_pylist()],
            "mag": detections.mag.to_numpy(),
            "mag_sigma": MAG_SIGMA,
            "filter": "V",
            "night_id": None,
        }
    )
    # Objects observed at one time lie in different parts of the sky: each has an exposure of its own.
    frame["exposure_id"] = [
        f"{code}_{mjd:.4f}_{name}"
        for code, mjd, name in zip(frame["observatory_code"], frame["mjd_utc"], frame["object_id"], strict=True)
    ]
    return frame


def _first_days(frame: pd.DataFrame, days: float) -> pd.DataFrame:
    first = frame.groupby("object_id")["mjd_utc"].transform("min")
    return frame[frame["mjd_utc"] < first + days].reset_index(drop=True)


def _false_detections(true: pd.DataFrame, false_per_true: float, rng: np.random.Generator) -> pd.DataFrame:
    """Return detections of nothing in the exposures of the true ones, uniform in a disc about each."""
    count = int(np.ceil(false_per_true * len(true)))
    rows = np.resize(rng.permutation(len(true)), count)
    false = true.iloc[rows].reset_index(drop=True)
    radius = FALSE_RADIUS_DEG * np.sqrt(rng.uniform(size=count))
    angle = rng.uniform(0.0, 2 * np.pi, count)
    false = _moved(false, radius * np.cos(angle), radius * np.sin(angle))
    return false.assign(object_id=None, mag=false["mag"] + rng.normal(0.0, 0.5, count))


def _moved(frame: pd.DataFrame, east_deg: np.ndarray, north_deg: np.ndarray) -> pd.DataFrame:
    """Shift positions by small angles; no object comes near a pole, where this would fail."""
    cos_dec = np.cos(np.radians(frame["Dec_deg"]))
    return frame.assign(
        RA_deg=np.mod(frame["RA_deg"] + east_deg / cos_dec, 360.0),
        Dec_deg=frame["Dec_deg"] + north_deg,
    )


def _readable_name(designation: str) -> str:
    """Return the name, or the provisional designation where there is none: safe as the name of a file.

    2010 TK7 is '706765 (2010 TK7)' among the orbits and '(2010 TK7)' among the observations.
    """
    provisional = re.search(r"\((.*)\)", designation)
    outside = re.sub(r"\(.*\)", "", designation)
    name = re.sub(r"^\s*\d+I?/?\s*", "", outside).replace("'", "").strip()
    return name or (provisional.group(1).replace(" ", "_") if provisional else designation.strip())
