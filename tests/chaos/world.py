"""A topic, a worker on it and what comes out: what the scripted scenarios are played in."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from tests.chaos.feed import Feed, Message
from tests.chaos.verdict import Verdict, judge
from tests.kafka.broker import Broker, free_port
from tests.kafka.daemon import ROOT, Daemon, get, status
from tests.kafka.plain_clients import read, write

PATIENCE = 60.0
BATCH = 50  # records in one write


class World:
    """One application, its streams fed from a seed."""

    def __init__(
        self, broker: Broker, unique: Callable[[str], str], folder: Path, *, partitions: int = 1, poison: float = 0.03
    ) -> None:
        self.broker, self.folder, self.partitions = broker, folder, partitions
        self.topic, self.port = unique("scene"), free_port()
        self.place = TopicPartition(self.topic, 0)
        self.settings: dict[str, object] = {
            "app_id": unique("chaos"),
            "input.topic": self.topic,
            "output.topic": f"{self.topic}.forecast",
            "state.snapshot_interval": "500ms",
            "kafka.session_timeout": "3s",
        }
        self.log = folder / "worker.log"
        self.worker = self.daemon()
        self._feed = Feed(1, streams=20, partitions=partitions, poison=poison)
        self._records = self._feed.records()
        broker.create_topic(self.topic, partitions, configs={"max.message.bytes": str(12 << 20)})

    def daemon(self, die: str | None = None, **settings: object) -> Daemon:
        """A worker, one that dies at a place if that is wanted."""
        return Daemon(
            self.log,
            self.settings
            | {"kafka.bootstrap_servers": self.broker.bootstrap_servers, "http.port": self.port}
            | settings,
            module="tests.chaos.worker",
            environment={"STREAMRNN_CHAOS_DIE": die} if die else {},
        )

    def grow(self, partitions: int) -> None:
        """Add partitions to the input, and feed them too."""
        self.broker.add_partitions(self.topic, partitions)
        self.partitions = self._feed.partitions = partitions

    def feed(self, number: int) -> None:
        """So many more records."""
        by_partition: dict[int, list[Message]] = {}
        for _ in range(number):
            partition, record = next(self._records)
            if len(record[1] or b"") < 10_000:
                by_partition.setdefault(partition, []).append(record)
        for partition, records in by_partition.items():
            for first in range(0, len(records), BATCH):
                part = records[first : first + BATCH]
                asyncio.run(write(self.broker.bootstrap_servers, self.topic, part, partition=partition))

    def offsets(self) -> tuple[int | None, int, int]:
        """Of partition 0: the group's committed offset, where the log begins and where it ends."""

        async def ask() -> tuple[int | None, int, int]:
            async with self._member() as consumer:
                earliest = (await consumer.beginning_offsets([self.place]))[self.place]
                end = (await consumer.end_offsets([self.place]))[self.place]
                return await consumer.committed(self.place), earliest, end

        return asyncio.run(ask())

    @property
    def state_topic(self) -> str:
        return f"{self.settings['app_id']}-{self.topic}-state"

    def stored_offset(self) -> int:
        """The next offset of the newest snapshot of partition 0."""
        pages = asyncio.run(read(self.broker.bootstrap_servers, self.state_topic))
        headers = [
            json.loads(page.value.partition(b"\n")[0]) for page in pages if page.key == b"header" and page.value
        ]
        offset: int = headers[-1]["offset"]
        return offset

    def outcomes(self) -> list[int]:
        """Offsets of partition 0 that have a forecast, in the order of the output."""
        made = asyncio.run(read(self.broker.bootstrap_servers, f"{self.topic}.forecast"))
        return [json.loads(record.value)["offset"] for record in made if record.value]

    def committed_all(self) -> bool:
        """The committed offset of every partition is its end."""
        tasks = status(self.port)["tasks"]
        return len(tasks) == self.partitions and all(task["lag"] == 0 and task["committed"] for task in tasks)

    def drop(self) -> None:
        """`streamrnn state drop`."""
        sets = [f"--set={key}={value}" for key, value in self.settings.items()]
        sets.append(f"--set=kafka.bootstrap_servers={self.broker.bootstrap_servers}")
        command = [sys.executable, "-m", "streamrnn", "state", "drop", "-c", "config/streamrnn.yaml", "--yes", *sets]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr

    def commit(self, offset: int) -> None:
        """Set the group's offset of partition 0 while no worker runs, as an operator does."""

        async def put() -> None:
            async with self._member() as consumer:
                consumer.assign([self.place])
                await consumer.commit({self.place: OffsetAndMetadata(offset, "")})

        asyncio.run(put())

    def _member(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self.broker.bootstrap_servers,
            group_id=str(self.settings["app_id"]),
            enable_auto_commit=False,
        )

    def all_forecast(self) -> None:
        """Wait until the committed offset is the log's end."""
        self.until(lambda: self.offsets()[0] == self.offsets()[2], "the worker did not come to the end of its input")

    def says(self, text: str) -> None:
        """Wait until the worker's log holds this."""
        self.until(lambda: text in self.log.read_text(), f"the worker's log does not say {text!r}")

    def unready(self, text: str) -> None:
        """Wait until /readyz is 503 with this in its reason."""
        self.until(
            lambda: (found := self.readiness())[0] == 503 and text in found[1], f"/readyz does not say {text!r}"
        )

    def ready(self) -> None:
        """Wait until /readyz is 200."""
        self.until(lambda: self.readiness()[0] == 200, "the worker does not get ready")

    def readiness(self) -> tuple[int, str]:
        """Status and body of /readyz; 0 where nobody answers."""
        try:
            return get(self.port, "/readyz")
        except OSError:
            return 0, ""

    def until(self, true: Callable[[], bool], complaint: str) -> None:
        """Wait until something is true."""
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < deadline, f"{complaint}. The end of its log:\n{self.log.read_text()[-3000:]}"
            time.sleep(0.1)

    def verdict(self) -> Verdict:
        """What is wrong, from outside."""
        settings = self.settings | {"output.topic": f"{self.topic}.forecast"}
        return asyncio.run(judge(self.broker.bootstrap_servers, settings, self.folder, self.partitions, self.topic))
