"""The version of the built-in engine."""

VERSION = "10"
"""Changes whenever the same input may give other tables."""

SOFTWARE = f"thor-taskqueue builtin {VERSION}"
"""What tables of orbits name as their maker."""
