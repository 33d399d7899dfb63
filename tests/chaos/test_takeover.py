"""kill -9 at every step of taking a partition over: whoever comes next finds everything as it should be."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.world import World
from tests.kafka.broker import Broker

KILLED = -9


@pytest.fixture
def world(broker: Broker, unique: Callable[[str], str], tmp_path: Path) -> Iterator[World]:
    made = World(broker, unique, tmp_path)
    yield made
    made.worker.end()


@pytest.mark.parametrize(
    "step",
    [
        "KafkaPartition.fence before",
        "KafkaPartition.fence after",
        "KafkaPartition.save before",
        "AIOKafkaProducer.commit_transaction before",  # of the empty snapshot
        "KafkaPartition.save after",
        "KafkaPartition.commit before",  # of the first offset
        "KafkaPartition.commit after",
        "KafkaPartition.seek after",
        "Processor.process after",
    ],
)
def test_a_worker_that_dies_while_it_takes_over_a_new_partition(world: World, step: str) -> None:
    world.feed(200)
    dying = world.daemon(die=step)
    dying.start()
    assert dying.wait(60) == KILLED
    world.worker.start()
    world.all_forecast()
    assert world.worker.stop() == 0
    assert world.verdict().wrong == []


@pytest.mark.parametrize(
    "step",
    [
        "KafkaPartition.fence before",
        "KafkaPartition.fence after",
        "KafkaPartition.restore before",
        "KafkaPartition.restore after",
        "KafkaPartition.offsets after",
        "KafkaPartition.seek after",
        "Processor.process after",  # in the replay
        "KafkaPartition._send_records after",  # outputs are sent, the transaction is open
        "AIOKafkaProducer.commit_transaction before",
        "KafkaPartition.commit after",
        "KafkaPartition.save before",
        "KafkaPartition.save after",
    ],
)
def test_a_worker_that_dies_while_it_takes_over_from_one_that_was_killed(world: World, step: str) -> None:
    world.feed(200)
    world.worker.start()
    world.says("replaying → running")
    world.feed(100)
    world.all_forecast()
    world.worker.kill()
    world.feed(100)
    dying = world.daemon(die=step)
    dying.start()
    assert dying.wait(60) == KILLED
    world.feed(50)
    world.worker.start()
    world.all_forecast()
    assert world.worker.stop() == 0
    verdict = world.verdict()
    assert verdict.wrong == []
    assert verdict.compared > 400
