"""Someone who waits for forecasts: a plain read_committed consumer of the output, and how long each record took."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition


@dataclass(frozen=True, slots=True)
class Arrival:
    """Forecasts of one partition that became visible together."""

    at: float  # seconds, wall clock
    partition: int
    oldest: float  # the records' timestamps, in the same seconds
    newest: float

    @property
    def delay(self) -> float:
        """The longest that one of these records waited for its visible forecast."""
        return self.at - self.oldest


class Watcher:
    """Reads as long as `run` does."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self.arrivals: deque[Arrival] = deque()
        self._last: dict[int, Arrival] = {}
        self.forecasts = 0

    async def run(self, bootstrap_servers: str, topic: str) -> None:
        """Until cancelled."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            metadata_max_age_ms=2000,
        )
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, partition) for partition in range(self._partitions)])
            while True:
                try:
                    polled = await consumer.getmany(timeout_ms=100)
                except KafkaError:
                    await asyncio.sleep(0.2)
                    continue
                now = time.time()
                for place, records in polled.items():
                    self.forecasts += len(records)
                    times = [record.timestamp / 1000 for record in records]
                    arrival = Arrival(now, place.partition, min(times), max(times))
                    self.arrivals.append(arrival)
                    self._last[place.partition] = arrival
        finally:
            await consumer.stop()

    def worst_since(self, moment: float) -> float:
        """The longest delay of what became visible since then; what came before is forgotten."""
        while self.arrivals and self.arrivals[0].at < moment:
            self.arrivals.popleft()
        return max((arrival.delay for arrival in self.arrivals), default=0.0)

    def seen(self) -> str:
        """Of each partition, how long ago forecasts were seen and how long the slowest of them had taken."""
        now = time.time()
        last = {number: self._last.get(number) for number in range(self._partitions)}
        return ", ".join(
            f"{number}: never" if one is None else f"{number}: {now - one.at:.1f} s ago, after {one.delay:.1f} s"
            for number, one in last.items()
        )

    async def caught_up(self, moment: float, patience: float) -> bool:
        """Wait until every partition shows forecasts of records later than this; False where that takes too long."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if len(self._last) == self._partitions and all(one.newest >= moment for one in self._last.values()):
                return True
            await asyncio.sleep(0.1)
        return False
