"""The service manager is told that the daemon is ready when its state is back, and not before."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.kafka.broker import Broker
from tests.kafka.daemon import get, status
from tests.kafka.world import World, until
from tests.service.manager import Manager

RECORDS, BATCH, STREAMS, STEPS = 6_000, 120, 500, 10


def sequence(i: int) -> tuple[bytes, bytes]:
    return b"s%d" % (i % STREAMS), json.dumps({"values": [[i + step] for step in range(STEPS)]}).encode()


def test_a_worker_is_ready_only_when_its_first_assignment_is_restored_and_says_what_it_waits_for(
    broker: Broker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    world = World(broker, unique, tmp_path, kafka__group_instance_id=unique("member"), state__snapshot_interval="1h")
    broker.create_topic(world.topic)
    for first in range(0, RECORDS, BATCH):
        world.write(*map(sequence, range(first, first + BATCH)))
    world.worker.start()
    until(lambda: world.answers("/readyz") == 200)
    until(lambda: status(world.port)["tasks"][0]["committed"] == RECORDS)
    world.worker.kill()

    manager = Manager(str(tmp_path / "notify"))
    world.worker.environment["NOTIFY_SOCKET"] = manager.address
    world.worker.start()
    try:
        until(lambda: "READY=1" in manager.words)
        assert get(world.port, "/readyz")[0] == 200
        metrics = get(world.port, "/metrics")[1].splitlines()
        replayed = next(line for line in metrics if line.startswith("streamrnn_records_replayed_total"))
        assert float(replayed.split()[-1]) == RECORDS, "ready before all was replayed"
        waited_for = manager.words[: manager.words.index("READY=1")]
        assert all(word.startswith("STATUS=") for word in waited_for)
        assert f"STATUS={world.topic}[0] is replaying" in waited_for, json.dumps(waited_for)
        assert world.worker.stop() == 0
        until(lambda: "STOPPING=1" in manager.words)
    finally:
        world.worker.end()
        manager.close()
