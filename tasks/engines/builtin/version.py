"""The version of the built-in engine."""

VERSION = "11"
"""Changes whenever the same input may give other tables."""

SOFTWARE = f"thor-taskqueue builtin {VERSION}"
"""What tables of orbits name as their maker."""
