"""Registers the fixtures of the real services; each is written beside its service in `tests/services`."""

pytest_plugins = [
    "tests.services.chromium",
    "tests.services.fake_gcs",
    "tests.services.prefect_server",
    "tests.services.rabbitmq",
]
