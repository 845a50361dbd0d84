"""What a file is, its bytes tell: packed, in another encoding, below headers and comments, whatever its name."""

import bz2
import gzip
import io
import lzma
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import BadInputError
from tasks.inputs.config_file import read_settings
from tasks.inputs.observations_file import read_detections, read_observations
from tasks.inputs.orbits_file import read_orbits
from tests.inputs.readers.test_formats import PSV, XML, obs80_line
from tests.inputs.readers.test_fuzz import CSV, OBS80, parquet_of

ORBITS = "orbit_id,epoch,x,y,z,vx,vy,vz\n042,59000.0,2.0,0.5,0.1,0.001,0.01,0.0\n"


def zipped(body, *, members=("inner.dat",)):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in members:
            archive.writestr(each, body)
    return sink.getvalue()


PACKERS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda body: pa.compress(body, codec="zstd", asbytes=True),
    "zip": zipped,
    "gzip in zip": lambda body: zipped(gzip.compress(body)),
}


@pytest.fixture
def file(tmp_path):
    def write(content, name="mine.dat"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def bodies():
    texts = {"csv": CSV, "psv": PSV, "xml": XML, "obs80": OBS80}
    return {name: text.encode() for name, text in texts.items()}


def as_parquet(file):
    return parquet_of(read_observations(file(CSV, "whole")))


@pytest.mark.parametrize("form", ["csv", "psv", "xml", "obs80", "parquet"])
@pytest.mark.parametrize("packer", [None, *PACKERS])
def test_a_packed_file_is_read_as_what_is_in_it_whatever_its_name(file, packer, form):
    body = as_parquet(file) if form == "parquet" else bodies()[form]
    plain = read_detections(file(body, "plain"))

    found = read_detections(file(body if packer is None else PACKERS[packer](body), "mine.csv"))

    assert found.table.equals(plain.table)
    assert len(found.notes) == len(plain.notes)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
@pytest.mark.parametrize("form", ["csv", "psv", "xml", "obs80"])
def test_text_in_another_encoding_of_unicode_is_read(file, form, encoding):
    text = bodies()[form].decode()

    declared = text if encoding == "utf-8-sig" else text.replace('"UTF-8"', '"UTF-16"')
    found = read_detections(file(declared.encode(encoding)))

    assert found.table.equals(read_detections(file(text, "plain")).table)


@pytest.mark.parametrize("form", ["csv", "psv", "obs80"])
def test_lines_may_end_with_carriage_returns_alone(file, form):
    text = bodies()[form].decode()

    assert read_observations(file(text.replace("\n", "\r"))).equals(read_observations(file(text, "plain")))


def test_test_orbits_and_settings_are_told_by_their_content_too(file):
    plain = read_orbits(file(ORBITS, "plain"))

    assert read_orbits(file(gzip.compress(ORBITS.encode()), "a")).equals(plain)
    assert read_orbits(file(parquet_of(plain), "b.csv")).equals(plain)
    assert read_orbits(file(ORBITS.replace(",", ";"), "c")).equals(plain)
    assert read_settings(file("key\tvalue\nseed\t7\n".encode("utf-16"), "d")).seed == 7


@pytest.mark.parametrize(
    "root",
    [
        '<ades xmlns="http://example.org/ades" version="2022">',
        "<!-- " + "long " * 40_000 + "--><!DOCTYPE ades><ades version='2022'>",
        "<ades\nversion='2022'>",
    ],
    ids=["namespace", "comments", "line end"],
)
def test_ades_xml_is_told_by_its_first_element(file, root):
    plain = read_observations(file(XML, "plain"))

    assert read_observations(file(XML.replace('<ades version="2022">', root))).equals(plain)


def test_namespaces_with_prefixes_are_seen_through(file):
    text = XML.replace("<ades ", '<a:ades xmlns:a="http://example.org/ades" ').replace("</ades>", "</a:ades>")
    for name in ("optical", "obsBlock", "obsData", "obsContext", "mpcCode", "ra", "observatory"):
        text = text.replace(f"<{name}>", f"<a:{name}>").replace(f"</{name}>", f"</a:{name}>")

    assert read_observations(file(text)).equals(read_observations(file(XML, "plain")))


@pytest.mark.parametrize("delimiter", [";", "\t", "|", " ; "])
def test_columns_may_stand_between_semicolons_tabs_or_bars(file, delimiter):
    assert read_observations(file(CSV.replace(",", delimiter))).num_rows == 3


def test_blanks_about_names_codes_and_numbers_are_none_of_them(file):
    text = CSV.replace(",", " , ")
    rows, plain = read_observations(file(text)).to_pylist(), read_observations(file(CSV, "plain")).to_pylist()

    assert [row | {"obs_id": row["obs_id"].strip()} for row in rows] == plain


def test_comments_before_the_header_are_skipped_and_a_header_may_be_one(file):
    plain = read_observations(file(CSV, "plain"))

    assert read_observations(file("# made by me, 2026\n#\n" + CSV)).equals(plain)
    assert read_observations(file("# made by me\n# " + CSV)).equals(plain)


HEADER = "COD F51\nCON N. Body\nOBS N. Body\nMEA N. Body\nTEL 0.5-m f/2 reflector + CCD\nNET Gaia3\nACK test\n\n"


@pytest.mark.parametrize("start", [HEADER, "\n\n" + HEADER, "\ufeff" + HEADER, "COD F51\n" + "COM long\n" * 60])
def test_eighty_columns_may_stand_below_a_header(file, start):
    found = read_detections(file(start + OBS80 + HEADER + obs80_line(dec="+01 02 03.4") + "\n"))

    assert len(found.table) == 4
    assert any("1 of 5 lines" in note for note in found.notes)


def test_blanks_may_stand_for_zeros_in_eighty_columns(file):
    blank = obs80_line(time="2016  8  9.516360", ra=" 4  0  4.610", dec="-02  2  9.20")
    zeros = obs80_line(time="2016 08 09.516360", ra="04 00 04.610", dec="-02 02 09.20")

    assert read_observations(file(blank)).equals(read_observations(file(zeros, "zeros")))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"SIMPLE  =                    T", "looks like a FITS file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(30), "looks like an HDF5 file"),
        (b'[{"obsTime": "2020"}]', "looks like JSON"),
        (b"<!DOCTYPE html><html><body>no</body></html>", "looks like a page of HTML"),
        (b"<VOTABLE version='1.4'/>", "looks like a VOTable"),
        (b"<mpc/>", "XML whose first element is <mpc>"),
        (bytes(range(256)), "looks like a binary file"),
        (zipped(b"x", members=("[Content_Types].xml", "xl/sheet.xml")), "Excel workbook (xlsx)"),
        (zipped(b"x", members=("a.csv", "b.csv")), "has 2 files (a.csv, b.csv), expected one"),
        (gzip.compress(CSV.encode())[:-9], "it is packed (gzip)"),
        (lzma.compress(CSV.encode())[:40], "it is packed (xz)"),
        (b"Dear sir, here are my observations.\n", "neither ADES nor the Minor Planet Center's 80 columns nor parquet"),
        (b"obs_id mjd_utc RA_deg Dec_deg\n1 2 3 4\n", "neither ADES nor the Minor Planet Center's 80 columns"),
    ],
)
def test_what_cannot_be_read_is_told_by_what_it_looks_like(file, content, said):
    with pytest.raises(BadInputError) as refusal:
        read_detections(file(content))

    assert said in str(refusal.value)
    assert "mine.dat" in str(refusal.value)
    assert "is missing" not in str(refusal.value)


def test_a_file_of_which_every_row_is_left_out_says_so_and_why(file):
    only_radar = XML[: XML.index("<optical>")] + "<radar><trx>253</trx></radar></obsData></obsBlock></ades>"

    with pytest.raises(BadInputError, match=r"none of its 1 rows can be used, since 1 have no ra and dec"):
        read_detections(file(only_radar))
    with pytest.raises(BadInputError, match=r"none of its 2 lines can be used, since 2 were replaced by others"):
        read_detections(file("\n".join([obs80_line(note="X")] * 2)))


def test_a_parquet_with_a_column_twice_names_it(file):
    table = read_observations(file(CSV, "plain"))
    body = parquet_of(pa.Table.from_arrays([*table.columns, table["mag"]], [*table.column_names, "mag"]))

    with pytest.raises(BadInputError, match="'mag' is there 2 times"):
        read_detections(file(body))


def test_a_packed_parquet_is_read_without_its_path(file):
    table = read_observations(file(CSV, "plain"))
    sink = io.BytesIO()
    pq.write_table(table, sink)

    assert read_observations(file(gzip.compress(sink.getvalue()))).equals(table)
