"""What the documents have people type: commands and Python in fenced blocks, and commands within lines."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

PROGRAM = re.compile(r"(?:\S+/)?(?:python[\d.]*|pip|make|prefect|docker|kubectl|git|export)\b(?! *=)")
"""How a line of a block begins that is a command."""


def blocks_of(page, *languages):
    """The fenced blocks of a page, of these languages ("": none is named)."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def commands_of(page):
    """The commands of a page's blocks, in their order, without comments."""
    lines = [
        line for block in blocks_of(page, "", "bash", "console") for line in block.replace("\\\n", " ").splitlines()
    ]
    commands = [
        re.sub(r"\s+", " ", re.sub(r"\s# .*|\s{2,}#.*", "", line)).strip() for line in lines if PROGRAM.match(line)
    ]
    return [part for command in commands for part in command.split(" && ")]


def commands_within_lines(page):
    """The commands of ours that stand between backticks in running text and tables: [(module, arguments)]."""
    running = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`]*python -m (?:flows|workers)[^`]*)`", running)
    commands = [re.sub(r"\s+", " ", span).replace("\\|", "|") for span in spans]
    return [re.search(r"python -m ((?:flows|workers)[.\w]*)(.*)", command).groups() for command in commands]
