"""What benchmarks feed in: as many streams as wanted, real-shaped, as fast as they go or at a rate."""

import asyncio
import time

import numpy as np
from aiokafka import AIOKafkaProducer

TICK = 0.1  # seconds between two portions of a flow


class Source:
    """Records for a topic: noisy daily waves of so many streams, each in turn, but for the share of a hot one."""

    def __init__(self, topic: str, partitions: int, streams: int, *, hot: float = 0.0, features: int = 1) -> None:
        random = np.random.default_rng(0)
        self._topic, self._partitions = topic, partitions
        self._streams, self._hot, self._features = streams, hot, features
        self._phase, self._size = random.uniform(0, 6.28, streams), random.uniform(1, 100, streams)
        self._random = random
        self._next = 0
        self.sent = 0

    async def send(self, producer: AIOKafkaProducer, records: int) -> None:
        """The next so many records, and wait until they are taken."""
        ids = (self._next + np.arange(records)) % self._streams
        ids[self._random.random(records) < self._hot] = 0
        step = (self._next + np.arange(records)) // self._streams
        self._next += records
        noise = 0.2 * self._random.standard_normal((records, self._features))
        wave = np.sin(step / 3.8 + self._phase[ids])[:, None]
        values = (self._size[ids, None] * (wave + noise)).round(3)
        numbers = b",".join([b"%r"] * self._features)
        template = b'{"value":%b}' % numbers if self._features == 1 else b'{"values":[%b]}' % numbers
        now, waiting = int(time.time() * 1000), []
        for partition in range(self._partitions):
            batch = producer.create_batch()
            mine = np.flatnonzero(ids % self._partitions == partition)
            for i, value in zip(ids[mine].tolist(), values[mine].tolist(), strict=True):
                row = {"key": b"sensor-%d" % i, "value": template % tuple(value), "timestamp": now}
                if batch.append(**row) is None:
                    waiting.append(await producer.send_batch(batch, self._topic, partition=partition))
                    batch = producer.create_batch()
                    batch.append(**row)
            if batch.record_count():
                waiting.append(await producer.send_batch(batch, self._topic, partition=partition))
        await asyncio.gather(*waiting)
        self.sent += records

    async def flow(self, bootstrap: str, rate: float, seconds: float) -> None:
        """Send at this rate for so long, as fast as it goes where the rate cannot be reached."""
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=1 << 19) as producer:
            began, due = time.monotonic(), 0.0
            while (now := time.monotonic() - began) < seconds:
                records = min(int(now * rate - due), int(rate))
                due += records
                if records:
                    await self.send(producer, records)
                await asyncio.sleep(max(0.0, TICK - (time.monotonic() - began - now)))

    async def pour(self, bootstrap: str, records: int) -> None:
        """Send so many as fast as it goes."""
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=1 << 19) as producer:
            for first in range(0, records, 50_000):
                await self.send(producer, min(50_000, records - first))
