"""Fixtures of the tests that need a real broker. They fail where it cannot be started: a skip would hide it."""

import itertools
import uuid
from collections.abc import Callable, Iterator

import pytest

from streamrnn.transport.kafka import KafkaSettings
from tests.kafka.broker import Broker, close_broker, open_broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for the whole run. Whoever freezes it thaws it, whoever stops it starts it again."""
    running = open_broker(tmp_path_factory.mktemp("kafka"))
    yield running
    close_broker(running)


@pytest.fixture
def unique() -> Callable[[str], str]:
    """A function that turns "sensors" into a name that no other test and no other run has."""
    run, count = uuid.uuid4().hex[:8], itertools.count()
    return lambda name: f"{name}-{run}-{next(count)}"


@pytest.fixture
def settings(broker: Broker, unique: Callable[[str], str]) -> KafkaSettings:
    """Settings of an application that nobody else has; its topics do not exist yet."""
    topic = unique("sensors")
    return KafkaSettings(
        app_id=unique("app"),
        bootstrap_servers=broker.bootstrap_servers,
        input_topic=topic,
        output_topic=f"{topic}.forecast",
        dead_letter_topic=f"{topic}.dead-letter",
    )
