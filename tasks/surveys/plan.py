"""Which nights a survey has, and what each is computed from. Pure.

A night is known by a key: a hash of the tables of its window and of the night before. The same tables give the same
keys, in whatever order they came; a table that comes late or is corrected gives other keys from its first night on.
"""

import hashlib
from dataclasses import dataclass

from tasks.records.survey import SurveyState

KEY_LENGTH = 16


@dataclass(frozen=True)
class Night:
    """One night of a survey, and its window: the nights that are linked with it."""

    #: MJD of the local date on which it began.
    night: int
    key: str
    #: First night of the window.
    first: int
    #: Versions of the tables with observations in the window, in the order of their names; each once.
    versions: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Name of the folder that holds what came of it."""
        return f"{self.night}-{self.key}"


def nights_of_survey(state: SurveyState, *, window_days: int) -> list[Night]:
    """Return the nights in their order."""
    nights: list[Night] = []
    before = ""
    for night in sorted({each for table in state.tables.values() for each in table.nights}):
        first = night - window_days + 1
        versions = tuple(
            dict.fromkeys(
                table.version
                for _, table in sorted(state.tables.items())
                if any(first <= each <= night for each in table.nights)
            )
        )
        text = "\n".join([before, str(night), str(first), *sorted(versions)])
        before = hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]
        nights.append(Night(night, before, first, versions))
    return nights
