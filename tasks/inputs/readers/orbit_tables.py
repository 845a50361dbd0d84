"""What a reader of test orbits gives: rows of `tables.TEST_ORBITS`, each of which can be an orbit about the Sun."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.engines.tables import TEST_ORBITS
from tasks.inputs.csv_text import COORDINATES
from tasks.inputs.readers.orbit_forms import POSITION, VELOCITY
from tasks.inputs.table_file import TableFile

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

ROUNDING = 1e-6
"""Most negative eigenvalue of a matrix of correlations, and most that its two triangles may differ by, that rounding
to a few digits may leave."""


def orbits_table(
    file: TableFile,
    name: str,
    *,
    orbit_ids: pa.Array,
    epochs_mjd_tdb: FloatArray,
    states: FloatArray,
    covariances: FloatArray | None,
) -> pa.Table:
    """Return rows of `tables.TEST_ORBITS`.

    Parameters
    ----------
    name
        Column of the file by which a state is named that cannot be used.
    states : shape (m, 6)
        Heliocentric ecliptic J2000, au and au/d.
    covariances : shape (m, 6, 6)
        Of the states, nan where there is none; None: nowhere.

    Raises
    ------
    BadInputError
        If a state is too far away, too fast, at the Sun or moving straight at it.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(states[:, :3]).max(axis=1) <= POSITION.high
        slow = np.abs(states[:, 3:]).max(axis=1) <= VELOCITY.high
        momentum = np.linalg.norm(np.cross(states[:, :3], states[:, 3:]), axis=1)
    within = f"an orbit that at its epoch is within {POSITION.high:g} au of the Sun and slower than 1 au / d"
    file.refuse_rows(name, pa.array(~(near & slow)), within)
    file.refuse_rows(name, pa.array(momentum == 0), "a state that is not at the Sun and not moving straight at it")
    columns = {
        "orbit_id": orbit_ids,
        "epoch": pa.array(epochs_mjd_tdb),
        **{each: pa.array(np.ascontiguousarray(states[:, k])) for k, each in enumerate(COORDINATES)},
        "covariance": _lists(covariances, len(states)),
    }
    return pa.table(columns, schema=TEST_ORBITS)


def covariances_from_triangles(triangles: FloatArray) -> FloatArray:
    """Return the matrices (m, 6, 6) of lower triangles (m, 21), row by row."""
    matrices = np.empty((len(triangles), 6, 6))
    rows, columns = np.tril_indices(6)
    matrices[:, rows, columns] = matrices[:, columns, rows] = triangles
    return matrices


def require_covariances(file: TableFile, name: str, covariances: FloatArray, given: BoolArray) -> None:
    """Refuse the file when a matrix that is given (m, 6, 6) is not finite, or cannot be a covariance."""
    wrong = np.zeros(len(given), np.bool_)
    wrong[given] = ~_are_covariances(covariances[given])
    file.refuse_rows(name, pa.array(wrong), "a covariance: finite numbers, with no negative variance in any direction")


def _are_covariances(matrices: FloatArray) -> BoolArray:
    good: BoolArray = np.asarray(np.isfinite(matrices).all(axis=(1, 2)))
    variances = np.diagonal(matrices, axis1=1, axis2=2)
    good &= (variances >= 0.0).all(axis=1)
    # Of the correlations, since variances of positions and velocities differ by many powers of ten.
    sigmas = np.sqrt(variances[good])
    scale = np.where(sigmas > 0.0, sigmas, 1.0)
    with np.errstate(all="ignore"):
        correlations = matrices[good] / scale[:, :, None] / scale[:, None, :]
        asymmetry = np.abs(correlations - correlations.transpose(0, 2, 1)).max(axis=(1, 2), initial=0.0)
    # In a matrix that is none the eigenvalues are the triangle's, which is all that numpy looks at.
    symmetric = asymmetry <= ROUNDING
    finite = symmetric & np.isfinite(correlations).all(axis=(1, 2))
    possible = np.zeros(len(sigmas), np.bool_)
    possible[finite] = np.linalg.eigvalsh(correlations[finite])[:, 0] >= -ROUNDING
    good[good] = possible
    return good


def _lists(covariances: FloatArray | None, count: int) -> pa.Array:
    kind = TEST_ORBITS.field("covariance").type
    if covariances is None:
        return pa.nulls(count, kind)
    rows, columns = np.tril_indices(6)
    triangles = np.ascontiguousarray(covariances[:, rows, columns])
    missing: BoolArray = np.asarray(~np.isfinite(triangles).all(axis=1))
    return pa.FixedSizeListArray.from_arrays(pa.array(triangles.ravel()), type=kind, mask=pa.array(missing))
