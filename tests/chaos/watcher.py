"""Someone who waits for forecasts: a plain read_committed consumer of the output, and how long each record took."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

FRESH = 1.5  # seconds: a forecast that took no longer came from a healthy system


@dataclass(frozen=True, slots=True)
class Arrival:
    """Forecasts of one partition that became visible together."""

    at: float  # seconds, wall clock
    partition: int
    delay: float  # seconds, the longest from a record's timestamp to its visible forecast


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
                    arrival = Arrival(now, place.partition, now - min(r.timestamp for r in records) / 1000)
                    self.arrivals.append(arrival)
                    self._last[place.partition] = arrival
        finally:
            await consumer.stop()

    def worst_since(self, moment: float) -> float:
        """The longest delay of what became visible since then; what came before is forgotten."""
        while self.arrivals and self.arrivals[0].at < moment:
            self.arrivals.popleft()
        return max((arrival.delay for arrival in self.arrivals), default=0.0)

    async def settled(self, patience: float) -> bool:
        """Wait until every partition's records are forecast without delay; False where that takes too long."""
        began = time.monotonic()
        while time.monotonic() - began < patience:
            now = time.time()
            last = [self._last.get(partition) for partition in range(self._partitions)]
            if all(one is not None and now - one.at < FRESH and one.delay < FRESH for one in last):
                return True
            await asyncio.sleep(0.1)
        return False
