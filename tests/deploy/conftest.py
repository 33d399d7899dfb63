"""These tests need the tools that operators have; `make test-deploy` runs them, .ci/run installs what is missing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka.broker import Broker, close_broker, open_broker
from tests.kafka.conftest import unique

__all__ = ["unique"]

HERE = Path(__file__).parent


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Where they are deselected, what they import need not be there."""
    return True if "not deploy" in config.getoption("markexpr") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.deploy)


@pytest.fixture(scope="package")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all of them."""
    running = open_broker(tmp_path_factory.mktemp("kafka"))
    yield running
    close_broker(running)
