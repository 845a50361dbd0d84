"""Times from one scale to another, by adam-core's leap seconds and its TDB."""

from typing import Literal

import numpy as np
import numpy.typing as npt

TimeScale = Literal["utc", "tai", "tt", "tdb"]
"""Scales in which times may be given."""


def mjd_between_scales(
    mjd: npt.NDArray[np.float64], *, from_scale: TimeScale, to_scale: TimeScale
) -> npt.NDArray[np.float64]:
    """Return the same instants, MJD in another time scale; shape (n,).

    Raises
    ------
    ValueError
        If a time is before 1960 and one of the scales is UTC, which did not exist.
    """
    if from_scale == to_scale or len(mjd) == 0:
        return mjd
    from adam_core.time import Timestamp  # noqa: PLC0415 (seconds to import, and most files are in UTC)

    # Times repeat: a survey has far fewer exposures than detections.
    unique, places = np.unique(mjd, return_inverse=True)
    converted = Timestamp.from_mjd(unique, scale=from_scale).rescale(to_scale).mjd().to_numpy(zero_copy_only=False)
    return np.asarray(converted, np.float64)[places]
