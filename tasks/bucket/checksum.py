"""CRC-32C as Google Cloud Storage reports it: the checksum in listings and in a task's list of outputs."""

import base64
from collections.abc import Iterable

import google_crc32c


def crc32c_from_bytes(body: bytes) -> str:
    """Return the CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `body`: base64 of the four big-endian bytes."""
    return base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode()


def crc32c_from_blocks(blocks: Iterable[bytes]) -> str:
    """Return the same of bytes that come in blocks."""
    checksum = 0
    for block in blocks:
        checksum = google_crc32c.extend(checksum, block)
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()
