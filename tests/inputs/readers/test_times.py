"""Times in other scales and formats: round trips, and what no calendar has."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.engines.builtin.observations_check import check_observations
from tasks.errors import BadInputError
from tasks.inputs.readers.times import FIRST_MJD, LAST_MJD, mjd_utc_of
from tasks.inputs.table_file import TableFile

MJD_0 = dt.datetime(1858, 11, 17, tzinfo=dt.UTC)


def utc_of(*values, time_format="mjd", time_scale="utc"):
    return mjd_utc_of(TableFile("t.csv", pa.table({"t": list(values)})), "t", time_format, time_scale)


def test_a_leap_second_begins_when_it_begins():
    # TAI - UTC was 36 s until 2017-01-01 and is 37 s since: a day before, and at that midnight.
    found = utc_of(57753 + 36 / 86400, 57754 + 37 / 86400, time_scale="tai")

    assert np.allclose(found, [57753, 57754], rtol=0, atol=1e-10)


@given(st.floats(37687, 88067).map(lambda mjd: MJD_0 + dt.timedelta(days=mjd)))
def test_an_iso_time_is_the_instant_that_it_says(instant):
    found = utc_of(f"{instant:%Y-%m-%dT%H:%M:%S.%fZ}", time_format="iso")[0].as_py()

    since = instant - MJD_0
    assert found == pytest.approx(since.days + (since.seconds + since.microseconds / 1e6) / 86400, abs=1.5e-11)


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1677-01-01T00:00:00", "2262-12-31T00:00:00",
     "2025-02-29T00:00:00Z", "2025-01-01T24:00:00Z", "2025-01-01T00:60:00Z", "2016-12-30T23:59:60Z", "2025-01-01",
     "2025-01-01T00:00:00+01:00", "2025-01-01T00:00:00ZZ", "2025-1-1T00:00:00", "now", ""],
)  # fmt: skip
def test_no_time_is_read_as_another(text):
    with pytest.raises(BadInputError, match=r"column 't', row 2 is"):
        utc_of("2025-01-01T00:00:00Z", text, time_format="iso")


@pytest.mark.parametrize("year", ["1677", "1905", "2262", "2727"])
def test_a_year_that_is_out_of_range_is_named_so(year):
    with pytest.raises(BadInputError, match=r"row 2 is .* expected a time in the years 1962 to 2099"):
        utc_of("2025-01-01T00:00:00Z", f"{year}-12-31T00:00:00Z", time_format="iso")


@pytest.mark.parametrize("time_scale", ["tai", "tt", "tdb"])
@pytest.mark.parametrize("mjd", [37687.0, 41318.0, 88067.0])
def test_a_scale_is_converted(mjd, time_scale):
    assert 0.0 < (mjd - utc_of(mjd, time_scale=time_scale)[0].as_py()) * 86400 < 100.0


@pytest.mark.parametrize("time_scale", ["utc", "tai", "tt", "tdb"])
def test_no_time_passes_that_an_engine_would_refuse(time_scale):
    found = utc_of(FIRST_MJD, LAST_MJD, time_scale=time_scale).to_pylist()

    check_observations(
        pa.table({"mjd_utc": found, "RA_deg": [0.0] * 2, "Dec_deg": [0.0] * 2, "observatory_code": ["X05"] * 2})
    )
    for outside in (FIRST_MJD - 0.001, LAST_MJD + 0.001):
        with pytest.raises(BadInputError, match="years 1962 to 2099"):
            utc_of(outside, time_scale=time_scale)
