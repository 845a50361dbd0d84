"""The engine that a job's settings name."""

from tasks.engines.errors import EngineInputError, EngineMissingError
from tasks.engines.interface import Engine
from tasks.engines.registry import engine_by_name
from tasks.engines.settings import EngineSettings
from tasks.errors import BadInputError, EngineUnavailableError
from tasks.settings import settings_from_environment


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
