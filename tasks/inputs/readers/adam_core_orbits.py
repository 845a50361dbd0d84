"""adam-core's parquet tables of orbits: `Orbits`, or its coordinates alone, read without adam-core.

States (`CartesianCoordinates`), Keplerian or cometary elements, with time scale, frame, origins and covariances.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.engines.origins import ORIGINS, SUN, heliocentric_states
from tasks.engines.time_scales import mjd_between_scales
from tasks.errors import BadInputError
from tasks.inputs.readers.adam_core import mjd_of_times, time_scale_of
from tasks.inputs.readers.orbit_forms import (
    CARTESIAN,
    EPOCH,
    OrbitForm,
    covariances_of_states,
    form_of,
    states_of,
    values_of,
)
from tasks.inputs.readers.orbit_tables import BoolArray, orbits_table, require_covariances
from tasks.inputs.table_file import TableFile, require_unique

FloatArray = npt.NDArray[np.float64]

COORDINATES = "coordinates"
"""Column of `Orbits`."""

ECLIPTIC, EQUATORIAL = "ecliptic", "equatorial"
"""The frames that are read; adam-core's are of J2000."""

FIRST_UTC_MJD = 36934.0
"""1960-01-01: before it there was no UTC that could be converted to another scale."""

COVARIANCE_SIZES = {36: 6, 81: 9}
"""Number of values -> side of the matrix: of the six numbers, or also of three non-gravitational parameters."""


def is_adam_core_orbits(schema: pa.Schema) -> bool:
    """Tell whether a parquet file of this schema is a table of `Orbits`, or of coordinates with their times."""
    structs = {field.name for field in schema if pa.types.is_struct(field.type)}
    return COORDINATES in structs or {"time", "origin"} <= structs


def read_adam_core_orbits(file: TableFile) -> pa.Table:
    """Return rows of `tables.TEST_ORBITS`: heliocentric, ecliptic J2000, TDB; covariances go with their states.

    Coordinates without `orbit_id` are called row-1, row-2, ...

    Raises
    ------
    BadInputError
        For the first thing that is wrong with the file.
    """
    prefix = f"{COORDINATES}." if file.has(COORDINATES) else ""
    file = file.flattened()
    form = form_of(file, prefix)
    named = ["orbit_id"] if prefix or file.has("orbit_id") else []
    needed = ("time.days", "time.nanos", "origin.code", *form.columns)
    file.require_columns([*named, *(prefix + name for name in needed)])
    orbit_ids = _ids(file) if named else pa.array([f"row-{row}" for row in range(1, len(file.table) + 1)])
    equatorial = _is_equatorial(file, prefix)
    origins = _origins(file, f"{prefix}origin.code", form)
    epochs = _epochs_mjd_tdb(file, f"{prefix}time")
    values = values_of(file, form, prefix)
    states = states_of(form, values, epochs)
    covariances = _covariances(file, f"{prefix}covariance.values")
    if covariances is not None:
        given = _given(covariances)
        covariances = covariances_of_states(form, values, epochs, covariances)
    if equatorial:
        states, covariances = _in_the_ecliptic(states, covariances)
    if covariances is not None:
        # Once more: of huge numbers, or of elements that are hardly defined, no covariance of a state may be left.
        require_covariances(file, f"{prefix}covariance.values", covariances, given)
    return orbits_table(
        file,
        prefix + form.first,
        orbit_ids=orbit_ids,
        epochs_mjd_tdb=epochs,
        states=heliocentric_states(states, epochs, origins),
        covariances=covariances,
    )


def _ids(file: TableFile) -> pa.Array:
    ids = file.required_strings("orbit_id")
    require_unique(file, "orbit_id", ids)
    return ids


def _is_equatorial(file: TableFile, prefix: str) -> bool:
    key = f"{prefix}frame"
    frame: str = (file.table.schema.metadata or {}).get(key.encode(), b"").decode(errors="replace")
    if frame not in {ECLIPTIC, EQUATORIAL}:
        raise BadInputError(
            f"Cannot use {file.name}: the frame of its orbits, {key!r} in the metadata of the parquet, is {frame!r}, "
            f"expected {ECLIPTIC!r} or {EQUATORIAL!r} (of J2000). Write the table with adam-core's to_parquet."
        )
    return frame == EQUATORIAL


def _origins(file: TableFile, name: str, form: OrbitForm) -> list[str]:
    codes = file.required_strings(name)
    if form is CARTESIAN:
        file.refuse_rows(name, pc.invert(pc.is_in(codes, pa.array(ORIGINS))), f"one of {', '.join(ORIGINS)}")
    else:
        expected = f"{SUN}: elements about another origin are not converted, states are"
        file.refuse_rows(name, pc.not_equal(codes, SUN), expected)
    origins: list[str] = codes.to_pylist()
    return origins


def _epochs_mjd_tdb(file: TableFile, name: str) -> FloatArray:
    scale = time_scale_of(file.table.schema, name, file.name)
    mjd = mjd_of_times(file, name)
    days = f"{name}.days"
    file.refuse_rows(days, pc.or_(pc.less(mjd, EPOCH.low), pc.greater(mjd, EPOCH.high)), EPOCH.expected)
    if scale == "utc":
        file.refuse_rows(days, pc.less(mjd, FIRST_UTC_MJD), "a time after 1960: before it UTC cannot be converted")
    return mjd_between_scales(mjd.to_numpy(zero_copy_only=False), from_scale=scale, to_scale="tdb")


def _covariances(file: TableFile, name: str) -> FloatArray | None:
    """Return the covariances of the six numbers, nan where there is none; None: nowhere."""
    if not file.has(name) or file.table[name].null_count == len(file.table):
        return None
    lists = file.lists(name)
    lengths = pc.list_value_length(lists)
    sizes = pa.array(COVARIANCE_SIZES, lengths.type)
    file.refuse_rows(name, pc.and_(pc.is_valid(lists), pc.invert(pc.is_in(lengths, sizes))), "a list of 36 values")
    matrices = np.full((len(lists), 6, 6), np.nan)
    for count, side in COVARIANCE_SIZES.items():
        rows = pc.fill_null(pc.equal(lengths, count), False)
        values = lists.filter(rows).flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
        matrices[rows.to_numpy(zero_copy_only=False)] = values.reshape(-1, side, side)[:, :6, :6]
    if not _given(matrices).any():
        return None
    require_covariances(file, name, matrices, _given(matrices))
    symmetric: FloatArray = 0.5 * matrices + 0.5 * matrices.transpose(0, 2, 1)
    return symmetric


def _given(matrices: FloatArray) -> BoolArray:
    """Tell which covariances are there: adam-core writes nan where it has none."""
    return np.asarray(~np.isnan(matrices).all(axis=(1, 2)))


def _in_the_ecliptic(states: FloatArray, covariances: FloatArray | None) -> tuple[FloatArray, FloatArray | None]:
    # The engine's compiled kernels take a second to import: most files are in the ecliptic.
    from tasks.engines.builtin.astrodynamics.frames import ecliptic_covariances, ecliptic_from_equatorial  # noqa: PLC0415

    with np.errstate(invalid="ignore", over="ignore"):
        turned_covariances = None if covariances is None else ecliptic_covariances(covariances)
    turned = np.hstack([ecliptic_from_equatorial(states[:, :3]), ecliptic_from_equatorial(states[:, 3:])])
    return turned, turned_covariances
