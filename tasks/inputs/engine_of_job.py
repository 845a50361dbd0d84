"""The engine that a job's settings name."""

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from tasks.engines.errors import EngineInputError, EngineMissingError
from tasks.engines.interface import Engine
from tasks.engines.registry import engine_by_name
from tasks.engines.settings import EngineSettings
from tasks.engines.upstream import version_from_found
from tasks.engines.upstream_process import found_upstream
from tasks.errors import BadInputError, EngineUnavailableError
from tasks.settings import settings_from_environment

ELSEWHERE = "of its worker"
"""Stands for the version of an engine that a client has not got: the outputs name it."""


def engine_of_job(settings: EngineSettings) -> Engine:
    """Return the engine that the settings name: the same one in this process, which upstream's own stays warm for.

    Raises
    ------
    BadInputError
        If there is no engine of that name.
    EngineUnavailableError
        If it is not installed here; the message says what to install.
    """
    with _explained(settings):
        engine = _engine(settings.engine, settings_from_environment().thor_python)
        _ = engine.version  # asks an engine that lives elsewhere whether it is there
        return engine


def engine_named_by(settings: EngineSettings) -> tuple[str, str]:
    """Return name and version of the engine, for a client, which computes nothing: one that lives elsewhere may lack.

    Raises
    ------
    BadInputError, EngineUnavailableError
        As `engine_of_job`; the latter only where an interpreter is set, and is not what it should be.
    """
    if settings.engine != "thor":
        engine = engine_of_job(settings)
        return engine.name, engine.version
    python = settings_from_environment().thor_python
    if python is None:
        return settings.engine, ELSEWHERE
    with _explained(settings):
        return settings.engine, version_from_found(found_upstream(python))


@lru_cache(maxsize=4)
def _engine(name: str, thor_python: Path | None) -> Engine:
    return engine_by_name(name, thor_python=thor_python)


@contextlib.contextmanager
def _explained(settings: EngineSettings) -> Iterator[None]:
    try:
        yield
    except EngineInputError as error:
        raise BadInputError(f"Cannot use engine {settings.engine!r}: {error}") from error
    except EngineMissingError as error:
        raise EngineUnavailableError(f"Cannot use engine {settings.engine!r} here: {error}") from error
