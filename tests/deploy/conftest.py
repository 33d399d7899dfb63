"""These tests need the tools that operators have; `make test-deploy` runs them, .ci/run installs what is missing."""

from pathlib import Path

import pytest

from tests.kafka.conftest import broker, unique

__all__ = ["broker", "unique"]

HERE = Path(__file__).parent


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Where they are deselected, what they import need not be there."""
    return True if "not deploy" in config.getoption("markexpr") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.deploy)
