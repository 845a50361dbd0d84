"""Fixtures of the commands: a place to work in. No Prefect API is configured, unless a test says so."""

import pytest

from tests.flow_runs.places import Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)
