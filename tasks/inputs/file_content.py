"""What a file holds, told by its bytes alone: it is unpacked, decoded to UTF-8, and its format is named.

No name ends in anything that counts: a file is what it is.
"""

import bz2
import codecs
import contextlib
import functools
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO
from xml.etree import ElementTree as ET

import pyarrow as pa

from tasks.bucket.content import ScratchFile
from tasks.errors import BadInputError

START_BYTES = 65_536
"""So much of a file tells its format."""

STEP_BYTES = 1 << 20

MOST_WRAPPINGS = 3
"""A file packed more often than that is none of a survey."""

PARQUET = b"PAR1"

UTF8_MARK = b"\xef\xbb\xbf"

ENCODINGS_BY_MARK = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""The longer mark first: that of UTF-32 begins with that of UTF-16."""

FORMATS_BY_START = (
    (b"SIMPLE  =", "a FITS file"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"ARROW1", "an Arrow (Feather) file"),
    (b"FEA1", "a Feather file"),
    (b"Obj\x01", "an Avro file"),
    (b"\x93NUMPY", "a NumPy file"),
    (b"\x80\x04\x95", "a Python pickle"),
    (b"\x80\x05\x95", "a Python pickle"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (xls)"),
    (b"%PDF", "a PDF document"),
    (b"{\\rtf", "a text document (RTF)"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1f\x9d", "a file packed by compress (.Z)"),
    (b"ORC", "an ORC file"),
)
"""What people may have, and what can't be read here."""

TAR_MAGIC = slice(257, 262)

XML_DECLARATION = re.compile(r"\A\ufeff?\s*<\?xml\b[^>]*\?>")

JSON_START = re.compile(rb"\s*[\[{]\s*[\"\[{\]}0-9-]")


class _CannotUnpackError(Exception):
    """What is wrong with a packed file, in words."""


@contextlib.contextmanager
def _words(kind: str) -> Iterator[None]:
    """Say every error of an unpacking library in words."""
    try:
        yield
    except (
        OSError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
        RuntimeError,
        pa.ArrowException,
    ) as error:
        raise _CannotUnpackError(f"it is packed ({kind}), and {str(error).rstrip('.') or 'damaged'}") from error


def unpacked(file: BinaryIO, name: str) -> BinaryIO:
    """Return a file's content from its beginning: unpacked, and text as UTF-8 whose lines end as they do today.

    A file that needs neither is returned as it is. Otherwise what it holds waits on disk, in TMPDIR.

    Raises
    ------
    BadInputError
        If it is packed and damaged, or an archive of several files, or not text of the encoding that it says.
    """
    for _ in range(MOST_WRAPPINGS):
        start = _start_of(file)
        unpack = _unpacking(start)
        if unpack is None:
            break
        kind, opened = unpack
        try:
            file = _on_disk(_unpacked_blocks(kind, opened, file))
        except _CannotUnpackError as error:
            raise BadInputError(f"Cannot read {name}: {error}. Unpack it and submit what is in it.") from error
    return _as_utf8(file, name)


def _start_of(file: BinaryIO) -> bytes:
    file.seek(0)
    start = file.read(START_BYTES)
    file.seek(0)
    return start


def _unpacking(start: bytes) -> tuple[str, Callable[[BinaryIO], Any]] | None:
    """Return how a packed file is called and opened; None: it is not packed."""
    known: Sequence[tuple[bytes, str, Callable[[BinaryIO], Any]]] = (
        (b"\x1f\x8b", "gzip", gzip.open),
        (b"BZh", "bzip2", bz2.open),
        (b"\xfd7zXZ\x00", "xz", lzma.open),
        (b"\x28\xb5\x2f\xfd", "zstd", functools.partial(pa.input_stream, compression="zstd")),
        (b"\x04\x22\x4d\x18", "lz4", functools.partial(pa.input_stream, compression="lz4")),
        (b"PK\x03\x04", "zip", _only_member),
        (b"PK\x05\x06", "zip", _only_member),
    )
    return next(((kind, opened) for magic, kind, opened in known if start.startswith(magic)), None)


def _only_member(file: BinaryIO) -> Any:
    archive = zipfile.ZipFile(file)
    members = [each for each in archive.infolist() if not each.is_dir() and not each.filename.startswith("__MACOSX/")]
    names = [each.filename for each in members]
    if "[Content_Types].xml" in names:
        raise _CannotUnpackError("it is an Excel workbook (xlsx): save the sheet as csv")
    if "mimetype" in names and "content.xml" in names:
        raise _CannotUnpackError("it is an OpenDocument sheet: save it as csv")
    if len(members) != 1:
        told = ", ".join(names[:5]) or "nothing"
        raise _CannotUnpackError(f"it is packed (zip), and has {len(members)} files ({told}), expected one")
    return archive.open(members[0])


def _unpacked_blocks(kind: str, opened: Callable[[BinaryIO], Any], file: BinaryIO) -> Iterator[bytes]:
    with _words(kind):
        stream = opened(file)
    while True:
        with _words(kind):
            block = stream.read(STEP_BYTES)
        if not block:
            return
        yield block


def _on_disk(blocks: Iterator[bytes]) -> BinaryIO:
    scratch = ScratchFile()
    for block in blocks:
        scratch.write(block)
    return scratch.opened()


def _as_utf8(file: BinaryIO, name: str) -> BinaryIO:
    start = _start_of(file)
    encoding = _encoding(start)
    if encoding == "utf-8":
        return _on_disk(_with_line_feeds(file)) if _ends_lines_by_returns(start) else file
    reader = io.TextIOWrapper(file, encoding=encoding, newline="")
    try:
        return _as_utf8(_on_disk(_encoded(reader)), name)  # whose lines may end in another way
    except UnicodeError as error:
        raise BadInputError(f"Cannot read {name}: it looks like {encoding.upper()}, and is not ({error}).") from error
    finally:
        reader.detach()


def _encoded(reader: io.TextIOWrapper) -> Iterator[bytes]:
    text = reader.read(STEP_BYTES)
    # An XML declaration names the encoding that it is no more in.
    text = XML_DECLARATION.sub("", text)
    while text:
        yield text.encode()
        text = reader.read(STEP_BYTES)


def _ends_lines_by_returns(start: bytes) -> bool:
    """Tell whether lines end as on a Macintosh of the last century; some programs write so still."""
    is_text = not start.startswith(PARQUET) and b"\x00" not in start and not is_xml(start)
    return is_text and b"\r" in start.rstrip(b"\r") and b"\n" not in start


def _with_line_feeds(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(STEP_BYTES):
        yield block.replace(b"\r", b"\n")


def _encoding(start: bytes) -> str:
    """Return how text is encoded: by its mark, or, without one, by where its zeros are, since it begins with ASCII."""
    for mark, encoding in ENCODINGS_BY_MARK:
        if start.startswith(mark):
            return encoding
    head = start[: min(len(start), 64) // 4 * 4]
    if len(head) < 8:  # noqa: PLR2004 (too little to tell)
        return "utf-8"
    for step, zeros, encoding in (
        (4, (1, 2, 3), "utf-32-le"),
        (4, (0, 1, 2), "utf-32-be"),
        (2, (1,), "utf-16-le"),
        (2, (0,), "utf-16-be"),
    ):
        if all((each == 0) == (place % step in zeros) for place, each in enumerate(head)):
            return encoding
    return "utf-8"


def is_parquet(start: bytes) -> bool:
    """Tell whether a file that begins with these bytes is parquet."""
    return start.startswith(PARQUET)


def is_xml(start: bytes) -> bool:
    """Tell whether a file that begins with these bytes is XML, or HTML."""
    return start.removeprefix(UTF8_MARK).lstrip().startswith(b"<")


def root_of_xml(file: BinaryIO, name: str) -> str:
    """Return the name of an XML file's first element, without its namespace, however many comments stand before it.

    Raises
    ------
    BadInputError
        If it is not well-formed so far.
    """
    file.seek(0)
    try:
        # Expat expands no external entities and limits the others.
        for _, element in ET.iterparse(file, ("start",)):  # noqa: S314
            return str(element.tag).rpartition("}")[2]
    except (ET.ParseError, LookupError, ValueError) as error:  # the latter two: an unknown encoding
        raise BadInputError(f"Cannot read {name}: {error}. Expected well-formed ADES XML.") from error
    finally:
        file.seek(0)
    return ""


def looks_like(start: bytes) -> str | None:
    """Return what a file is that can't be read here, in words; None: it may be a table."""
    known = next((words for magic, words in FORMATS_BY_START if start.startswith(magic)), None)
    if known is not None:
        return known
    if start[TAR_MAGIC] == b"ustar":
        return "a tar archive"
    if JSON_START.match(start.removeprefix(UTF8_MARK)):
        return "JSON"
    if b"\x00" in start[:1024]:
        return "a binary file of no format that is known here"
    return None
