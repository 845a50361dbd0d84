"""ADES, the Astrometry Data Exchange Standard: what its columns mean, whether they came as PSV or XML.

Units are the standard's: degrees, arcseconds (rmsRA is of RA cos(Dec)), ISO times in UTC.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.jobs.readers.detections import THOR_COLUMNS, Detections, ObservationColumns, detections_of_table
from tasks.jobs.table_file import TableFile, require_unique

ID_COLUMNS = ("obsID", "obsSubID")
"""Columns that may hold ids, the Minor Planet Center's and the observer's; the first that has one in each row."""


def detections_of_ades(file: TableFile, *, object_id: str = THOR_COLUMNS.object_id) -> Detections:
    """Return the optical detections of an ADES table with the standard's column names, all text.

    Rows without a position of their own (radar, occultations) and deprecated ones are left out and counted. No
    designation is taken for the truth unless `object_id` names its column: a file may name some objects only.

    Raises
    ------
    BadInputError
        For the first thing that is wrong with the file.
    """
    file.require_columns(["stn", "obsTime", "ra", "dec"])
    file, notes = _usable_rows(file)
    columns = ObservationColumns(
        obs_id=_id_column(file),
        time="obsTime",
        time_format="iso",
        ra="ra",
        dec="dec",
        ra_sigma="rmsRA" if file.has("rmsRA") else "",
        dec_sigma="rmsDec" if file.has("rmsDec") else "",
        sigma_unit="arcsec",
        observatory_code="stn",
        mag="mag",
        mag_sigma="rmsMag",
        filter="band",
        exposure_id="",
        night_id="",
        object_id=object_id,
    )
    return Detections(detections_of_table(file, columns), notes)


def _usable_rows(file: TableFile) -> tuple[TableFile, tuple[str, ...]]:
    no_position = pc.and_(pc.is_null(file.strings("ra")), pc.is_null(file.strings("dec")))
    deprecated = (
        pc.invert(pc.is_null(file.strings("deprecated")))
        if file.has("deprecated")
        else pa.array(np.zeros(len(file.table), dtype=bool))
    )
    counts = {
        "have no ra and dec of their own (radar or occultation)": pc.sum(no_position).as_py(),
        "are marked as deprecated": pc.sum(pc.and_not(deprecated, no_position)).as_py(),
    }
    notes = tuple(
        f"{count} of {len(file.table)} rows of {file.name} are left out: they {why}."
        for why, count in counts.items()
        if count
    )
    return file.where(pc.invert(pc.or_(no_position, deprecated))), notes


def _id_column(file: TableFile) -> str:
    for name in ID_COLUMNS:
        if file.has(name) and file.strings(name).null_count == 0:
            require_unique(file, name, file.strings(name))
            return name
    return ""
