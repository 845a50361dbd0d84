"""Epochs that many orbits share: n-body propagation of a batch is ten times cheaper when all start at one time."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def shared_epochs(first_mjd: FloatArray, last_mjd: FloatArray, window_days: float) -> FloatArray:
    """Return an epoch for each of c arcs, shape (c,).

    Arcs whose middles lie within the window share the middle of the time that they cover together, rounded to a
    tenth of a day. So a survey of some weeks has one epoch, its middle; arcs years apart are not dragged to an epoch
    at which none of them was observed.
    """
    middle = 0.5 * (first_mjd + last_mjd)
    epochs = np.empty(len(middle))
    order = np.argsort(middle, kind="stable")
    begin = 0
    while begin < len(order):
        end = int(np.searchsorted(middle[order], middle[order[begin]] + window_days, side="right"))
        group = order[begin:end]
        epochs[group] = np.round(0.5 * (first_mjd[group].min() + last_mjd[group].max()), 1)
        begin = end
    return epochs
