"""Errors of the engines. An orbit that does not converge is a row with a status, not an exception."""


class EngineError(Exception):
    """Anything an engine raises on purpose."""


class EngineInputError(EngineError):
    """Observations, test orbit or settings that no engine can work on; the message names column, row and value."""


class EngineMissingError(EngineError):
    """The engine's package is not there, or is of another version; the message says what to install."""
