"""Files read in blocks: wherever the blocks begin, the rows, the notes and the first error are those of the whole."""

import io
import tempfile
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.errors import BadInputError
from tasks.inputs.csv_text import csv_header, csv_rows
from tasks.inputs.readers import unique_ids
from tasks.inputs.readers.ades_psv import PsvSource
from tasks.inputs.readers.ades_xml import XmlSource, observations_of_xml
from tasks.inputs.readers.csv_blocks import CsvSource
from tasks.inputs.readers.detections import THOR_COLUMNS, ObservationColumns
from tasks.inputs.readers.obs80 import Obs80Source
from tasks.inputs.readers.parquet_blocks import ParquetSource
from tasks.inputs.readers.reading import Reading
from tasks.inputs.readers.row_blocks import LongRowError, first_row_end, last_row_end, row_blocks
from tests.inputs.readers.test_formats import obs80_line

WHOLE = 1 << 20
HEADER = "obs_id,mjd_utc,RA_deg,Dec_deg,RA_sigma_deg,Dec_sigma_deg,observatory_code,filter,object_id"
GOOD = "{id},60000.5,10.25,-20.5,{sigma},1e-5,{code},r,"


def outcome(source):
    """The canonical csv with the notes, or the error."""
    reading = Reading(source, fills_uncertainties=True)
    try:
        pieces = list(reading.results(lambda table: (csv_header(table.column_names), csv_rows(table))))
    except BadInputError as refusal:
        return str(refusal)
    return pieces[0][0] + b"".join(rows for _, rows in pieces), reading.notes


def csv_source(body, block_bytes, **options):
    return CsvSource(io.BytesIO(body), "mine.csv", THOR_COLUMNS, block_bytes, **options)


IDS = st.sampled_from(
    ["a", "b", "c", '"d, e"', '"f""g"', '"two\nlines"', '"two\r\nlines"', '5" scope', "é", "", "  h "]
)


def good_row(number, text, sigma, code):
    return GOOD.format(id=text if number is None else f"{text[:-1]}{number}{text[-1:]}", sigma=sigma, code=code)


ROWS = st.one_of(
    st.builds(
        good_row,
        st.none() | st.integers(0, 10**9),
        IDS,
        st.sampled_from(["1e-5", "2.5e-5", "", "NaN", " 1e-5 ", "0", "x"]),
        st.sampled_from(["X05", "703", "F51", "G96", "W84", "70", ""]),
    ),
    st.sampled_from(
        [
            "z,60000.5,400,-20.5,1e-5,1e-5,X05,r,",
            "y,60000.5,10h,-20.5,1e-5,1e-5,X05,r,1",
            "x,,10,95,,,X05,,",
            "w,60000,1",
            "",
            '"open,60000.5,10.25,-20.5,1e-5,1e-5,X05,r,',
            'v,60000.5,10.25,-20.5,1e-5,1e-5,X05,"r""\n""",2',
        ]
    ),
)  # fmt: skip


@settings(max_examples=80)
@given(
    rows=st.lists(ROWS, max_size=12),
    block_bytes=st.integers(1, 400),
    line_end=st.sampled_from(["\n", "\r\n"]),
    start=st.sampled_from(["", "\ufeff", "\n\n", "\ufeff\r\n"]),
    ends=st.booleans(),
)
@example(
    rows=[GOOD.format(id=k, sigma="", code="703") for k in "abcab"], block_bytes=60, line_end="\n", start="", ends=True
)
def test_a_csv_is_the_same_in_blocks_of_any_size(rows, block_bytes, line_end, start, ends):
    body = (start + line_end.join([HEADER, *rows]) + line_end * ends).encode()

    assert outcome(csv_source(body, block_bytes)) == outcome(csv_source(body, WHOLE))


GOOD_ROWS = st.lists(
    st.builds(lambda text, sigma, code: (text, sigma, code), st.text('ab,"\n\r é', min_size=1, max_size=6),
              st.sampled_from(["1e-5", ""]), st.sampled_from(["X05", "703"])),
    min_size=1, max_size=12, unique_by=lambda row: row[0],
)  # fmt: skip


@settings(max_examples=80)
@given(rows=GOOD_ROWS, block_bytes=st.integers(1, 200))
def test_every_row_of_a_good_csv_is_there_with_its_id_also_where_that_has_line_ends(rows, block_bytes):
    quoted = [GOOD.format(id='"' + text.replace('"', '""') + '"', sigma=sigma, code=code) for text, sigma, code in rows]
    body = ("\n".join([HEADER, *quoted]) + "\n").encode()

    reading = Reading(csv_source(body, block_bytes), fills_uncertainties=False)
    found = pa.concat_tables(list(reading.results(lambda table: table)))

    assert found["obs_id"].to_pylist() == [text for text, _, _ in rows]
    assert reading.n_rows == len(rows)


PSV_START = "# version=2017\n# observatory\n! mpcCode X05\n"
PSV_NAMES = ["permID|obsID|stn|obsTime|ra|dec|rmsRA", "stn |obsTime|ra|dec|deprecated|obsID", "stn|obsTime|ra|dec|ra"]
PSV_ROWS = st.sampled_from(
    [
        "1|o{n}|X05|2020-01-01T12:00:00Z|215.1|-21|0.1",
        "1|o{n}|703|2020-01-01T12:00:00Z|215.1|-21|",
        "1||703|2020-01-01T12:00:00Z|||",
        "1|o1|F51|2020-01-01T12:00:00Z|215.1|-21|",
        "X05 |2020-01-01T12:00:00Z|1|2|  |o{n}",
        "703 |2020-01-01T12:00:00Z|1|2| X|o{n}",
        "703 |2020-01-01T12:00:00Z|1|91|  |o{n}",
        "ZZZ |2020-01-01T12:00:00Z|1|2|  |",
        "too|few",
        "",
        "  ",
        "# telescope\n" + PSV_NAMES[0],
        "! comment\n# more\n" + PSV_NAMES[1],
        "# wrong\n" + PSV_NAMES[2],
    ]
)


@settings(max_examples=80)
@given(
    names=st.sampled_from(PSV_NAMES[:2]),
    rows=st.lists(PSV_ROWS, max_size=10),
    block_bytes=st.integers(1, 300),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_psv_is_the_same_in_blocks_of_any_size(names, rows, block_bytes, line_end):
    text = PSV_START + "\n".join([names, *(row.format(n=number) for number, row in enumerate(rows))]) + "\n"
    body = text.replace("\n", line_end).encode()

    def in_blocks(size):
        return outcome(PsvSource(io.BytesIO(body), "mine.psv", block_bytes=size))

    assert in_blocks(block_bytes) == in_blocks(WHOLE)


XML_ROWS = st.sampled_from(
    [
        "<optical><obsID>o{n}</obsID><obsTime>2020-01-01T12:00:00Z</obsTime><ra>1</ra><dec>2</dec></optical>",
        "<optical><obsSubID>s{n}</obsSubID><stn>703</stn><obsTime>2020-01-01T12:00:00Z</obsTime><ra>1</ra><dec>2</dec><rmsRA>1</rmsRA></optical>",
        "<optical><obsTime>2020-01-01T12:00:00Z</obsTime><ra>1</ra><dec>91</dec></optical>",
        "<optical><obsTime>2020-01-01T12:00:00Z</obsTime><ra/><dec></dec><deprecated>X</deprecated></optical>",
        "<radar><trx>253</trx></radar>",
        "</obsData><obsContext><observatory><mpcCode>X05</mpcCode></observatory></obsContext><obsData>",
        "</obsData>",
    ]
)
XML_START = "<ades><obsBlock><obsContext><observatory><mpcCode>F51</mpcCode></observatory></obsContext><obsData>"
XML_ROWS_OF_ONE_KIND = "<optical><obsTime>2020-01-01T12:00:00Z</obsTime><ra>1</ra><dec>2</dec></optical>\n"
XML_END = "</obsData></obsBlock></ades>"


@settings(max_examples=80)
@given(rows=st.lists(XML_ROWS, max_size=10), block_rows=st.integers(1, 4))
def test_xml_is_the_same_in_blocks_of_any_size(rows, block_rows):
    text = XML_START + "\n".join(row.format(n=number) for number, row in enumerate(rows)) + XML_END

    def in_blocks(size):
        return outcome(XmlSource(io.BytesIO(text.encode()), "mine.xml", block_rows=size))

    assert in_blocks(block_rows) == in_blocks(WHOLE)


def test_xml_that_was_read_is_forgotten():
    def peak_bytes(count):
        file = io.BytesIO((XML_START + XML_ROWS_OF_ONE_KIND * count + XML_END).encode())
        tracemalloc.start()
        try:
            assert sum(1 for _ in observations_of_xml(file)) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # The file itself is not counted: it was there before.
    assert peak_bytes(10_000) < 2.0 * peak_bytes(1000)


LINES = st.sampled_from(
    [
        obs80_line(),
        obs80_line(note="X"),
        obs80_line(note="S"),
        obs80_line(mag="", band=""),
        obs80_line(dec="-95 00 30.0"),
        "",
        "short",
    ]
)


@settings(max_examples=80)
@given(lines=st.lists(LINES, min_size=1, max_size=8), block_bytes=st.integers(1, 300))
def test_eighty_columns_are_the_same_in_blocks_of_any_size(lines, block_bytes):
    body = ("\r\n".join(lines) + "\r\n").encode()

    def in_blocks(size):
        return outcome(Obs80Source(io.BytesIO(body), "mine.obs", size))

    assert in_blocks(block_bytes) == in_blocks(WHOLE)


@settings(max_examples=60)
@given(
    ids=st.lists(st.sampled_from(["a", "b", "c", "d", "e", None]), min_size=1, max_size=9),
    wrong=st.lists(st.integers(0, 8), max_size=3),
    block_rows=st.integers(1, 4),
    time_scale=st.sampled_from(["utc", "tdb"]),
)
def test_a_parquet_is_the_same_in_blocks_of_any_size(ids, wrong, block_rows, time_scale):
    count = len(ids)
    columns = ObservationColumns(time_scale=time_scale)
    table = pa.table(
        {
            "obs_id": pa.array(ids, pa.string()),
            "mjd_utc": [60000.25 + 40 * row for row in range(count)],
            "RA_deg": [400.0 if row in wrong else 1.5 for row in range(count)],
            "Dec_deg": [2.0] * count,
            "RA_sigma_deg": pa.nulls(count, pa.float64()),
            "Dec_sigma_deg": [1e-5] * count,
            "observatory_code": pa.array(["703"] * count).dictionary_encode(),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.parquet"
        pq.write_table(table, path, row_group_size=3)

        assert outcome(ParquetSource(path, columns, block_rows=block_rows)) == outcome(ParquetSource(path, columns))


def numbered(count, *, ids=None):
    ids = ids or [f"id{row}" for row in range(count)]
    return "\n".join([HEADER, *(GOOD.format(id=each, sigma="1e-5", code="X05") for each in ids), ""]).encode()


def test_rows_are_counted_from_the_first_block_on():
    body = numbered(50).replace(b"id41,60000.5", b"id41,soon")

    assert "'mjd_utc', row 42 is 'soon'" in outcome(csv_source(body, 300))


def test_wrong_rows_of_all_blocks_are_counted():
    body = numbered(50).replace(b",10.25,", b",400,")

    assert "'RA_deg', row 1 is '400', expected degrees in [0, 360) (50 of 50 rows are wrong)" in outcome(
        csv_source(body, 300)
    )


def test_a_row_with_too_few_fields_is_told_by_its_number():
    body = numbered(50).replace(b"id41,60000.5,", b"id41,")

    assert "row 42 has 8 fields, expected 9" in outcome(csv_source(body, 300))


def test_an_id_that_is_repeated_far_below_is_told_with_both_rows():
    ids = [f"id{row}" for row in range(100)]
    ids[90], ids[95], ids[99] = "id7", "id7", "id3"

    assert "'obs_id', row 100 is 'id3', expected an id of its own (row 4 has the same; 2 ids are repeated)" in outcome(
        csv_source(numbered(100, ids=ids), 300)
    )


def test_ids_whose_hashes_are_equal_are_compared_themselves(monkeypatch):
    monkeypatch.setattr("tasks.inputs.readers.reading.hashes_of_ids", few_hashes)
    monkeypatch.setattr(unique_ids, "hashes_of_ids", few_hashes)
    monkeypatch.setattr(unique_ids, "HASHES_A_LOOK", 1)
    ids = [f"id{row}" for row in range(60)]

    assert isinstance(outcome(csv_source(numbered(60, ids=ids), 300)), tuple)
    ids[59] = "id5"
    assert "row 60 is 'id5', expected an id of its own (row 6 has the same)" in outcome(
        csv_source(numbered(60, ids=ids), 300)
    )


def few_hashes(ids):
    return unique_ids_hashes(ids) % 3


unique_ids_hashes = unique_ids.hashes_of_ids


@settings(max_examples=80)
@given(st.lists(st.text(max_size=20) | st.text("ab\x00", max_size=30), max_size=30), st.integers(0, 3))
def test_equal_ids_have_equal_hashes_wherever_they_lie_and_others_do_not(texts, skipped):
    every = unique_ids.hashes_of_ids(pa.array(texts, pa.string()).slice(skipped)).tolist()
    alone = [int(unique_ids.hashes_of_ids(pa.array([text], pa.string()))[0]) for text in texts[skipped:]]

    assert every == alone
    assert len(set(every)) == len(set(texts[skipped:]))


@settings(max_examples=80)
@given(st.text('ab,"\n', max_size=16))
def test_where_rows_end_is_what_the_standard_librarys_reader_says(text):
    data = text.encode()
    last, first = last_row_end(data), first_row_end(data)

    assert 0 <= first <= last <= len(data)
    assert all(rows_of(data[:cut]) + rows_of(data[cut:]) == rows_of(data) for cut in (first, last))


def rows_of(data):
    """Rows as our parser makes them: quotes count where a field begins."""
    fields, row, rows, is_quoted, at = "", [], [], False, 0
    text = data.decode()
    while at < len(text):
        each = text[at]
        if is_quoted:
            if each == '"' and text[at + 1 : at + 2] == '"':
                fields, at = fields + each, at + 1
            elif each == '"':
                is_quoted, fields = False, fields + "'"
            else:
                fields += each
        elif each == '"' and not fields:
            is_quoted, fields = True, "'"
        elif each == ",":
            row, fields = [*row, fields], ""
        elif each == "\n":
            rows.append([*row, fields])
            row, fields = [], ""
        else:
            fields += each
        at += 1
    return [*rows, [*row, fields, is_quoted]] if row or fields or is_quoted else rows


@pytest.mark.parametrize("block_bytes", [7, 64, 200, WHOLE])
@pytest.mark.parametrize("length", [100, 127, 128])
def test_a_row_may_be_so_long_and_no_longer_whatever_the_blocks(block_bytes, length):
    body = numbered(3).replace(b"id1,", b"i" * (length - 42) + b",")
    longest = max(map(len, body.splitlines(keepends=True)))

    assert isinstance(outcome(csv_source(body, block_bytes, longest_row_bytes=longest)), tuple)
    said = outcome(csv_source(body, block_bytes, longest_row_bytes=longest - 1))
    assert f"has more than {longest - 1} bytes: is there a quote that is not closed?" in said


def test_a_quote_that_nobody_closes_is_told_and_not_read_to_the_end_of_a_large_file():
    body = numbered(40).replace(b"id7,", b'"id7,')
    file = io.BytesIO(body)

    said = outcome(CsvSource(file, "mine.csv", THOR_COLUMNS, 100, longest_row_bytes=400))

    assert "a row below row 7 has more than 400 bytes" in said
    assert file.tell() < len(body)


def test_blocks_without_a_line_end_are_refused():
    with pytest.raises(LongRowError):
        list(row_blocks(io.BytesIO(b"x" * 100), block_bytes=10, longest_row_bytes=50))
