"""How numbers are told to people, and which words of our own may not come back for those of the field."""

import re
from pathlib import Path

import pytest

from tasks.wording import counted


@pytest.mark.parametrize(("count", "text"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks")])
def test_a_count_has_its_noun_in_the_right_number(count, text):
    assert counted(count, "task") == text


ROOT = Path(__file__).parents[1]
FILES = [path for room in ("flows", "tasks", "workers") for path in sorted((ROOT / room).rglob("*.py"))]

WORDS = {
    r"\b(?:bury|buries|buried)\b": "dead-letter",
    r"\brings? (?:again|for)\b|\brung for\b": "enqueue",
    r"\bslant\b": "high phase angle",
    r"\bcrooked\b": "curved",
    r"\bcaught\b": "detectable",
    r"manieth": "every nth",
    r'^(?!.*""")[^#]*"[^"]*\b(?:[Ss]omebody|[Nn]obody|[Ww]hoever)\b[^"]*"': "who it is, in messages",
    r"Twice: safe": "Idempotent",
    r"\b(?:task_sight|TaskSight)\b": "plot data",
    r"\bOutbox\b": "Confirms",
    r"class Link\b|\bLinkLostError\b": "Session",
    r"Tell whether to tell": "plain English",
    r"\{len\([\w.]+\)\} (?:tasks|orbits|objects)\b(?! of|,)": "counted(...)",
}
"""What may not be written, and what is."""


@pytest.mark.parametrize("word", WORDS, ids=WORDS.values())
def test_a_word_of_our_own_has_not_come_back(word):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(word, line)
    ]

    assert found == []
