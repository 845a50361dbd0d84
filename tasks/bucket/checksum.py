"""CRC-32C as Google Cloud Storage reports it: the checksum in listings and in a task's list of outputs."""

import base64

import google_crc32c


def crc32c_from_bytes(body: bytes) -> str:
    """Return the CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `body`: base64 of the four big-endian bytes."""
    return base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode()
