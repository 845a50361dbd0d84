"""One owner per detection: the best orbit takes all of its own, then the next."""

import numpy as np
from numpy.typing import NDArray

from tasks.engines.builtin.fitting.members import Members
from tasks.engines.builtin.kernels import kernel

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


PRICE_OF_A_DETECTION = 20.0
"""An orbit with one detection more is better while its chi^2 is not larger by more than this: a detection that costs
more would nearly be an outlier."""


def ranking(count: IntArray, chi2: FloatArray, first_member: IndexArray) -> IntArray:
    """Order orbits: lowest chi^2 less the price of their detections, then by member: no order is left to chance."""
    return np.lexsort((first_member, chi2 - PRICE_OF_A_DETECTION * count))


def assign_exclusively(
    members: Members, used: BoolArray, order: IntArray, n_detections: int, fewest: int, min_kept_fraction: float
) -> tuple[BoolArray, BoolArray]:
    """Give each detection to the first orbit in order that uses it.

    Parameters
    ----------
    used : shape (m,)
        Only these detections count.
    order : shape (c,)
        Orbits, best first.
    fewest, min_kept_fraction
        An orbit that is left with fewer detections, or a smaller fraction of its own, gives way altogether.

    Returns
    -------
    kept_orbits : shape (c,)
    kept_members : shape (m,)
        True for the detections in use that their orbit may keep.
    """
    kept_orbits = np.zeros(len(members), np.bool_)
    kept_members = np.zeros(len(members.obs_index), np.bool_)
    _assign(
        members.obs_index,
        members.first,
        used,
        order,
        np.zeros(n_detections, np.bool_),
        fewest,
        min_kept_fraction,
        kept_orbits,
        kept_members,
    )
    return kept_orbits, kept_members


@kernel
def _assign(
    obs_index: IndexArray,
    first: IntArray,
    used: BoolArray,
    order: IntArray,
    taken: BoolArray,
    fewest: int,
    min_kept_fraction: float,
    kept_orbits: BoolArray,
    kept_members: BoolArray,
) -> None:
    for k in order:
        own, left = 0, 0
        for i in range(first[k], first[k + 1]):
            if used[i]:
                own += 1
                if not taken[obs_index[i]]:
                    left += 1
        if left < fewest or left < min_kept_fraction * own:
            continue
        kept_orbits[k] = True
        for i in range(first[k], first[k + 1]):
            if used[i] and not taken[obs_index[i]]:
                kept_members[i] = True
                taken[obs_index[i]] = True
