"""The chamber's tests need a real broker; theirs forgets sessions and transactions sooner than a default one."""

from collections.abc import Iterator

import pytest

from tests.kafka.broker import Broker
from tests.kafka.conftest import unique

__all__ = ["unique"]

IMPATIENT = {
    "group.min.session.timeout.ms": "1000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(12 << 20),
}


@pytest.fixture(scope="package")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all scenarios."""
    running = Broker(tmp_path_factory.mktemp("chaos"), properties=IMPATIENT)
    running.start()
    yield running
    running.kill()
