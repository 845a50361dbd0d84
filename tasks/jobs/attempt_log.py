"""thor.log: what this process logs while it computes one attempt."""

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import TextIO

LOGGED = ("tasks", "flows")
"""Loggers whose lines go to thor.log: our own; the engine's are among them."""


class _UtcFormatter(logging.Formatter):
    converter = staticmethod(time.gmtime)


@contextlib.contextmanager
def logging_to(text: TextIO) -> Iterator[None]:
    """Send the log lines of our own loggers, INFO and up, to `text` as well."""
    handler = logging.StreamHandler(text)
    handler.setLevel(logging.INFO)
    handler.setFormatter(_UtcFormatter("%(asctime)sZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    levels = {name: logging.getLogger(name).level for name in LOGGED}
    for name in LOGGED:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).setLevel(level)
