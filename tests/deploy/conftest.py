"""These tests need the tools that operators have; `make test-deploy` runs them, .ci/run installs what is missing."""

import pytest

from tests.kafka.conftest import broker, unique

__all__ = ["broker", "unique"]


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Where they are deselected, what they import need not be there."""
    return True if "not deploy" in config.getoption("markexpr") else None
