"""The engine that a job's settings name."""

from tasks.engines.errors import EngineInputError, EngineMissingError
from tasks.engines.interface import Engine
from tasks.engines.registry import engine_by_name
from tasks.engines.settings import EngineSettings
from tasks.errors import BadInputError, EngineUnavailableError
from tasks.settings import settings_from_environment

ELSEWHERE = "of its worker"
"""Stands for the version of an engine that a client has not got: the outputs name it."""


def engine_named_by(settings: EngineSettings) -> tuple[str, str]:
    """Return name and version of the engine, for who computes nothing: one that lives elsewhere need not be here.

    Raises
    ------
    BadInputError, EngineUnavailableError
        As `engine_of_job`; the latter only where an interpreter is set, and is not what it should be.
    """
    if settings.engine == "thor" and settings_from_environment().thor_python is None:
        return settings.engine, ELSEWHERE
    engine = engine_of_job(settings)
    return engine.name, engine.version


def engine_of_job(settings: EngineSettings) -> Engine:
    """Return the engine that the settings name.

    Raises
    ------
    BadInputError
        If there is no engine of that name.
    EngineUnavailableError
        If it is not installed here; the message says what to install.
    """
    try:
        engine = engine_by_name(settings.engine, thor_python=settings_from_environment().thor_python)
        _ = engine.version  # asks an engine that lives elsewhere whether it is there
        return engine
    except EngineInputError as error:
        raise BadInputError(f"Cannot use engine {settings.engine!r}: {error}") from error
    except EngineMissingError as error:
        raise EngineUnavailableError(f"Cannot use engine {settings.engine!r} here: {error}") from error
