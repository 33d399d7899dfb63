"""A rebalance that is over before a busy task has looked up."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka.structs import TopicPartition

from streamrnn.cli_options import load
from streamrnn.service import assembly
from streamrnn.service.processor import Processor, Slice
from streamrnn.transport.contract import RawBatch
from streamrnn.transport.kafka import KafkaTransport, _Rebalances
from tests.kafka.broker import Broker
from tests.kafka.daemon import ROOT
from tests.kafka.plain_clients import read, write
from tests.kafka.world import World, until

RECORDS = [(b"a", b"%d" % n) for n in range(300)]


def test_a_task_that_replays_through_a_whole_rebalance_goes_on_behind_it(
    broker: Broker, unique: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(broker, unique, tmp_path, state__snapshot_interval="1h")
    broker.create_topic(world.topic)
    world.write(*RECORDS)
    world.worker.start()
    until(lambda: world.answers("/readyz") == 200)
    assert len(world.outputs(300)) == 300
    world.worker.kill()  # there is nothing but the first, empty snapshot

    replaying, process = threading.Event(), Processor.process

    def slow(self: Processor, raw: RawBatch, most: int, publish: bool = True) -> Slice:
        if not publish and not replaying.is_set():
            replaying.set()
            time.sleep(1.0)
        return process(self, raw, most, publish)

    monkeypatch.setattr(Processor, "process", slow)
    config = load(
        ROOT / "config" / "streamrnn.yaml", tuple(f"{key}={value}" for key, value in world.settings.items())
    )

    async def scenario() -> int:
        worker = assembly.worker(config, http=False)
        running = asyncio.create_task(worker.run())
        await asyncio.to_thread(replaying.wait, 30.0)
        assert isinstance(worker._transport, KafkaTransport)
        group, place = _Rebalances(worker._transport, worker), {TopicPartition(world.topic, 0)}
        await group.on_partitions_revoked(place)
        group.on_partitions_assigned(place)

        await write(broker.bootstrap_servers, world.topic, RECORDS[:100])
        deadline, seen = time.monotonic() + 30.0, 0
        while seen < 400 and time.monotonic() < deadline:
            await asyncio.sleep(0.3)
            seen = len(await read(broker.bootstrap_servers, f"{world.topic}.forecast"))
        worker._stop.set()
        assert await running == 0
        return seen

    assert asyncio.run(scenario()) == 400
