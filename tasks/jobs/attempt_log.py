"""thor.log: what this process logs while it computes one attempt."""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import TextIO

LOGGED = ("tasks", "flows")
"""Loggers whose lines go to thor.log: our own; the engine's are among them."""


class _UtcFormatter(logging.Formatter):
    converter = staticmethod(time.gmtime)


@contextlib.contextmanager
def heard_by(handler: logging.Handler, names: Sequence[str]) -> Iterator[None]:
    """Have a handler hear the lines of these loggers, INFO and up, until the end of the block."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        if logger.getEffectiveLevel() > logging.INFO:
            logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


@contextlib.contextmanager
def logging_to(text: TextIO) -> Iterator[None]:
    """Send the log lines of our own loggers, INFO and up, to `text` as well."""
    handler = logging.StreamHandler(text)
    handler.setLevel(logging.INFO)
    handler.setFormatter(_UtcFormatter("%(asctime)sZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    with heard_by(handler, LOGGED):
        yield
