"""How numbers are told to people."""

import pytest

from tasks.wording import counted


@pytest.mark.parametrize(("count", "text"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks")])
def test_a_count_has_its_noun_in_the_right_number(count, text):
    assert counted(count, "task") == text
