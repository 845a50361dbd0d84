"""`docs/promises.md` names tests: they must exist."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs" / "promises.md"


def test_every_promise_names_a_test():
    _, _, table = DOCUMENT.read_text().partition("| promise | shown by |\n| --- | --- |\n")
    rows = table.partition("\n\n")[0].splitlines()

    assert len(rows) > 15
    assert [row for row in rows if not re.search(r"`test_\w+`", row)] == []


def test_every_test_that_the_promises_name_exists():
    named = set(re.findall(r"`(test_\w+)`", DOCUMENT.read_text()))
    defined = {
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }

    assert len(named) > 20
    assert named - defined == set()
