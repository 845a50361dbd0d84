"""Engines by their name in config key `engine`."""

from pathlib import Path

from tasks.engines.builtin.engine import BuiltinEngine
from tasks.engines.errors import EngineInputError
from tasks.engines.interface import Engine
from tasks.engines.settings import ENGINES
from tasks.engines.upstream import UpstreamEngine


def engine_by_name(name: str, *, thor_python: Path | None = None) -> Engine:
    """Return the engine of that name.

    Parameters
    ----------
    thor_python
        The interpreter that has upstream THOR, for engine `thor`; None: there is none.

    Raises
    ------
    EngineInputError
        If there is no engine of that name.
    """
    if name == "builtin":
        return BuiltinEngine()
    if name == "thor":
        return UpstreamEngine(thor_python)
    raise EngineInputError(f"Setting 'engine' is {name!r}: expected one of {', '.join(ENGINES)}.")
