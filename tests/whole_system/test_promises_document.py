"""`docs/promises.md` names tests: they must exist."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs" / "promises.md"


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
