"""Registers the fixtures of the real services, each written beside its service, and begins with what takes longest."""

import os
from collections.abc import Sequence

import hypothesis
import pytest

# Examples have no time limit: the machine may be busy, and the first one may load compiled kernels.
hypothesis.settings.register_profile("thor", deadline=None)
hypothesis.settings.load_profile("thor")

pytest_plugins = [
    "tests.services.chromium",
    "tests.services.fake_gcs",
    "tests.services.job_bucket",
    "tests.services.prefect_server",
    "tests.services.rabbitmq",
]

SLOWEST = ("whole_system", "flow_runs", "broker")
"""Directories whose files take minutes. Begun last, one of them would keep one process at work after all others."""


def pytest_configure() -> None:
    """Choose the seed of the tests that are others in every run; the processes of pytest-xdist inherit it."""
    os.environ.setdefault("FUZZ_SEED", str(int.from_bytes(os.urandom(4))))


def pytest_report_header() -> str:
    """Print the seed in the first lines, also in CI: so a run can be repeated."""
    return f"fuzz seed: FUZZ_SEED={os.environ['FUZZ_SEED']}"


@pytest.hookimpl(trylast=True)  # after the order was shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the tests into the order in which their files are handed out (with --no-loadscope-reorder)."""
    items.sort(key=lambda item: _rank(item.path.relative_to(item.config.rootpath).parts))


def _rank(parts: Sequence[str]) -> int:
    return SLOWEST.index(parts[1]) if parts[1] in SLOWEST else len(SLOWEST)
