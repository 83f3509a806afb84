"""Another import path of `tests.stand.inside`, for tests that still name it."""

from tests.stand.inside import (
    Running,
    config_for,
    one_source,
    running_service,
    running_simulator,
    with_source,
)

__all__ = [
    "Running",
    "config_for",
    "one_source",
    "running_service",
    "running_simulator",
    "with_source",
]
