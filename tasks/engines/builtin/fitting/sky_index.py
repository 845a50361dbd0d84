"""Detections of each exposure in order of ecliptic height, and its place on the sky: to find what is near a point."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.survey import PreparedSurvey

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]


@dataclass(frozen=True)
class SkyIndex:
    """n detections of e exposures."""

    #: shape (n,): detections of exposure k are `obs_index[start[k]:start[k + 1]]`, ascending in z.
    obs_index: IndexArray
    #: shape (n, 3): their unit vectors, ecliptic.
    toward: FloatArray
    #: shape (e, 3): unit vector to the middle of the exposure's detections.
    centre: FloatArray
    #: shape (e,): largest distance of a detection from it, as length of the chord; -1 where there is none.
    radius: FloatArray


def sky_index(survey: PreparedSurvey) -> SkyIndex:
    """Sort the detections of each exposure."""
    order = np.lexsort((survey.line_of_sight[:, 2], survey.exposure)).astype(np.int32)
    toward = np.ascontiguousarray(survey.line_of_sight[order])
    exposure = survey.exposure[order]
    count = np.bincount(exposure, minlength=survey.n_exposures)
    sums = np.column_stack([np.bincount(exposure, axis, minlength=survey.n_exposures) for axis in toward.T])
    length = np.linalg.norm(sums, axis=1)
    centre = sums / np.where(length > 0.0, length, 1.0)[:, None]
    radius = np.full(survey.n_exposures, -1.0)
    np.maximum.at(radius, exposure, np.linalg.norm(toward - centre[exposure], axis=1))
    radius[count == 0] = -1.0
    return SkyIndex(order, toward, centre, radius)
