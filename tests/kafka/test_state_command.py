"""`streamrnn state` against a real broker, with real workers living on what it looks at and drops."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from safetensors.numpy import load_file

from streamrnn.transport.contract import PartitionId
from streamrnn.transport.kafka import KafkaSettings
from streamrnn.transport.kafka_reader import read_snapshot
from streamrnn.transport.kafka_state import KafkaStateStore
from tests.kafka.broker import Broker
from tests.kafka.daemon import get, status
from tests.kafka.plain_clients import administrator, read, write
from tests.kafka.world import World, until


class StateWorld(World):
    """Two partitions, each with two streams."""

    def __init__(self, broker: Broker, unique: Callable[[str], str], folder: Path) -> None:
        super().__init__(broker, unique, folder, state__snapshot_interval="1s")
        broker.create_topic(self.topic, 2)

    @property
    def state_topic(self) -> str:
        return f"{self.settings['app_id']}-{self.topic}-state"

    def feed(self, first: int, end: int) -> None:
        """These offsets of both partitions."""
        for partition in range(2):
            self.write(*[(b"ab"[i % 2 : i % 2 + 1], b"%d" % i) for i in range(first, end)], partition=partition)

    def forecast_once(self, number: int, partition: int) -> bool:
        """Whether each of so many records has its one forecast, in order."""
        made = self.outputs(number, partition=partition)
        return [json.loads(value or b"")["offset"] for _, value in made] == list(range(number))

    def tasks(self, name: str) -> list[object]:
        """What /status says of both partitions."""
        return [task[name] for task in status(self.port)["tasks"]]

    def settled(self, offset: int) -> None:
        """Return when both partitions have a snapshot of this offset."""
        until(lambda: self.answers("/readyz") == 200 and self.tasks("snapshot") == [offset, offset])


@pytest.fixture
def world(broker: Broker, unique: Callable[[str], str], tmp_path: Path) -> Iterator[StateWorld]:
    made = StateWorld(broker, unique, tmp_path)
    yield made
    made.worker.end()


def cells(said: str, partition: int) -> list[str]:
    """A partition's row of the table."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in said.splitlines() if "│" in line]
    return next(row for row in rows if row[0] == str(partition))


def test_show_tells_where_a_living_task_stands_and_the_group_takes_no_notice(world: StateWorld) -> None:
    world.feed(0, 100)
    world.worker.start()
    world.settled(100)
    told = world.command("state", "show")
    assert (told.returncode, told.stderr) == (0, "")
    for partition in range(2):
        assert cells(told.stdout, partition)[:6] == [str(partition), "sound", "100", "100", "100", "2"]
    world.feed(100, 120)
    assert world.forecast_once(120, 0) and world.forecast_once(120, 1)
    log = world.log.read_text()
    assert log.count("→ running") == 2 and "held" not in log


def test_a_drop_fences_the_living_task_which_rebuilds_and_forecasts_each_record_once(world: StateWorld) -> None:
    world.feed(0, 100)
    world.worker.start()
    world.settled(100)
    told = world.command("state", "drop", "--partition", "1", "--yes")
    assert (told.returncode, told.stderr) == (0, "")
    assert f"{world.topic}[1]: the snapshot is forgotten" in told.stdout
    assert f"{world.topic}[0]" not in told.stdout
    assert cells(world.command("state", "show").stdout, 1)[1] == "none"
    world.feed(100, 200)
    until(lambda: "there is no state for the committed offset" in world.log.read_text())
    world.settled(200)
    world.feed(200, 220)
    assert world.forecast_once(220, 0) and world.forecast_once(220, 1)
    replayed = re.findall(r"replayed (\d+) records from 0 to \d+ task=(\S+)", world.log.read_text())
    assert [task for _, task in replayed] == [f"{world.topic}[1]"]
    assert 100 < int(replayed[0][0]) <= 200
    assert world.worker.stop() == 0
    row = cells(world.command("state", "show", "--partition", "1").stdout, 1)
    assert row[1:6] == ["sound", "220", "220", "220", "2"]


def test_a_damaged_page_refuses_its_partition_until_the_snapshot_is_dropped(world: StateWorld) -> None:
    world.feed(0, 100)
    world.worker.start()
    world.settled(100)
    assert world.worker.stop() == 0
    damage = [(b"slot/levels/0", b"not the page that the header lists")]
    asyncio.run(write(world.broker.bootstrap_servers, world.state_topic, damage, partition=1))
    shown = world.command("state", "show")
    assert shown.returncode == 1
    assert [cells(shown.stdout, partition)[1] for partition in range(2)] == ["sound", "refused"]
    assert f"{world.topic}[1]: page slot/levels/0 has checksum" in shown.stdout
    assert re.search(r"^streamrnn: 1 of 2 partitions .*state drop .*--partition 1", shown.stderr)
    exported = world.command("state", "export", "--output", str(world.log.parent / "exported"))
    assert exported.returncode == 1
    assert [path.name for path in (world.log.parent / "exported").iterdir()] == [f"{world.topic}-0.safetensors"]

    world.worker.start()
    world.feed(100, 120)
    until(lambda: world.answers("/readyz") == 503 and "refused" in get(world.port, "/readyz")[1])
    assert "`streamrnn state drop --partition 1`" in get(world.port, "/readyz")[1]
    assert world.forecast_once(120, 0)
    assert world.tasks("state") == ["running", "refused"]

    assert world.command("state", "drop", "--partition", "1", "--yes").returncode == 0
    assert world.forecast_once(120, 1)
    until(lambda: world.answers("/readyz") == 200)


def test_an_export_holds_the_streams_of_a_living_task(world: StateWorld, tmp_path: Path) -> None:
    world.feed(0, 100)
    world.worker.start()
    world.settled(100)
    told = world.command("state", "export", "--output", str(tmp_path / "made"), "--partition", "1")
    assert (told.returncode, told.stderr) == (0, "")
    arrays = load_file(tmp_path / "made" / f"{world.topic}-1.safetensors")
    assert arrays["stream_ids"].tobytes() == b"ab"
    assert arrays["slot/steps"].tolist() == [50, 50]


def test_of_a_topic_that_was_made_anew_drop_tells_how_the_groups_offset_is_set_back(world: StateWorld) -> None:
    world.feed(0, 100)
    world.worker.start()
    world.settled(100)
    assert world.worker.stop() == 0

    async def delete() -> None:
        async with administrator(world.broker.bootstrap_servers) as admin:
            await admin.delete_topics([world.topic])  # the group's offsets go with it (Kafka 4.1)

    async def commit(offset: int) -> None:
        options = {"bootstrap_servers": world.broker.bootstrap_servers, "group_id": world.settings["app_id"]}
        async with AIOKafkaConsumer(**options, enable_auto_commit=False) as consumer:
            consumer.assign([TopicPartition(world.topic, 0)])
            await consumer.commit({TopicPartition(world.topic, 0): offset})

    asyncio.run(delete())
    shown = world.command("state", "show")
    assert cells(shown.stdout, 0)[1:5] == ["sound", "100", "-", "-"]
    world.broker.create_topic(world.topic, 2)
    asyncio.run(commit(100))  # as a mirror of the group would
    shown = world.command("state", "show")
    assert shown.returncode == 1
    assert "the committed offset is 100, the snapshot's is 100, but the log ends at 0" in shown.stdout
    assert "the snapshot's offset is 100, the committed one is none, but the log ends at 0" in shown.stdout
    dropped = world.command("state", "drop", "--partition", "0", "--yes")
    assert dropped.returncode == 0
    assert (
        f"kafka-consumer-groups.sh --bootstrap-server {world.broker.bootstrap_servers} --group "
        f"{world.settings['app_id']} --topic {world.topic}:0 --reset-offsets --to-earliest --execute"
    ) in dropped.stdout


@pytest.mark.parametrize("command", [["show"], ["export", "--output", "nowhere"], ["drop", "--yes"]])
def test_an_application_that_never_ran_and_a_partition_that_is_not_there_are_1(
    world: StateWorld, command: list[str]
) -> None:
    told = world.command("state", *command)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith(f"streamrnn: topic {world.state_topic} does not exist at ")
    assert len(told.stderr.splitlines()) == 1
    world.broker.create_topic(world.state_topic, 2)  # also: it was not created by the look
    told = world.command("state", *command, "--partition", "2")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == (
        f"streamrnn: --partition 2: there is no such partition of {world.topic}, expected 0 to 1\n"
    )


@pytest.mark.parametrize("aborted", [False, True])
def test_a_drop_leaves_nothing_of_a_snapshot_whatever_its_pages_are(
    broker: Broker, settings: KafkaSettings, aborted: bool
) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        broker.create_topic(settings.state_topic, configs={"cleanup.policy": "compact"})
        place = (settings.bootstrap_servers, settings.state_topic)
        pages: list[tuple[bytes | None, bytes | None]] = [(b"header", b"{}"), (b"slot/a/0", b"1"), (b"\xff", b"odd")]
        await write(*place, pages, transaction=settings.snapshot_transactional_id(0))
        await write(*place, [(b"left", b"of another life")])
        if aborted:  # a drop that was fenced before its end
            gone: list[tuple[bytes | None, bytes | None]] = [(key, None) for key, _ in pages]
            await write(*place, gone, transaction=settings.snapshot_transactional_id(0), commit=False)
        store, partition = KafkaStateStore(settings), PartitionId(settings.input_topic, 0)
        assert await store.drop(partition)
        assert await read_snapshot(settings, 0) is None
        newest = {record.key: record.value for record in await read(*place)}
        assert newest == dict.fromkeys([b"header", b"slot/a/0", b"\xff", b"left"])
        assert not await store.drop(partition)

    asyncio.run(scenario())


def test_drops_that_fence_each_other_all_come_to_their_end(broker: Broker, settings: KafkaSettings) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.state_topic)
        await write(settings.bootstrap_servers, settings.state_topic, [(b"header", b"{}")])
        partition = PartitionId(settings.input_topic, 0)
        await asyncio.gather(*(KafkaStateStore(settings).drop(partition) for _ in range(2)))
        assert await read_snapshot(settings, 0) is None

    asyncio.run(scenario())
