"""What benchmarks feed in: as many streams as wanted, real-shaped, as fast as they go or at a rate."""

import asyncio
import time

import numpy as np
from aiokafka import AIOKafkaProducer

TICK = 0.1  # seconds between two portions of a flow
PORTION = 50_000  # records of one portion of what is poured
LONGEST_PAST = 16  # steps that `begin` gives a stream at most: those between the starts of two windows


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

    async def begin(self, bootstrap: str) -> None:
        """One record of each stream: a sequence of 1 to 16 steps, so that windows fall due evenly from then on."""
        async with _producer(bootstrap) as producer:
            for first in range(0, self._streams, PORTION):
                ids = np.arange(first, min(first + PORTION, self._streams))
                lengths = self._random.integers(1, LONGEST_PAST + 1, len(ids))
                steps = np.repeat(ids, lengths), np.concatenate([np.arange(n) - n for n in lengths])
                rows = [b"[%b]" % row for row in self._numbers(*steps)]
                cuts = np.cumsum(lengths).tolist()
                texts = [b'{"values":[%b]}' % b",".join(rows[a:b]) for a, b in zip([0, *cuts], cuts, strict=False)]
                await self._publish(producer, ids, texts)

    async def send(self, producer: AIOKafkaProducer, records: int) -> None:
        """The next so many records, and wait until they are taken."""
        ids = (self._next + np.arange(records)) % self._streams
        ids[self._random.random(records) < self._hot] = 0
        steps = (self._next + np.arange(records)) // self._streams
        self._next += records
        template = b'{"value":%b}' if self._features == 1 else b'{"values":[%b]}'
        await self._publish(producer, ids, [template % row for row in self._numbers(ids, steps)])

    def _numbers(self, ids: np.ndarray, steps: np.ndarray) -> list[bytes]:
        """The features of these steps of these streams, with commas between them."""
        noise = 0.2 * self._random.standard_normal((len(ids), self._features))
        wave = np.sin(steps / 3.8 + self._phase[ids])[:, None]
        values = (self._size[ids, None] * (wave + noise)).round(3)
        row = b",".join([b"%r"] * self._features)
        return [row % tuple(each) for each in values.tolist()]

    async def _publish(self, producer: AIOKafkaProducer, ids: np.ndarray, texts: list[bytes]) -> None:
        now, waiting = int(time.time() * 1000), []
        for partition in range(self._partitions):
            batch = producer.create_batch()
            for i in np.flatnonzero(ids % self._partitions == partition).tolist():
                row = {"key": b"sensor-%d" % ids[i], "value": texts[i], "timestamp": now}
                if batch.append(**row) is None:
                    waiting.append(await producer.send_batch(batch, self._topic, partition=partition))
                    batch = producer.create_batch()
                    batch.append(**row)
            if batch.record_count():
                waiting.append(await producer.send_batch(batch, self._topic, partition=partition))
        await asyncio.gather(*waiting)
        self.sent += len(texts)

    async def flow(self, bootstrap: str, rate: float, seconds: float, tick: float = TICK) -> None:
        """Send at this rate for so long, as fast as it goes where the rate cannot be reached."""
        async with _producer(bootstrap) as producer:
            began, due = time.monotonic(), 0.0
            while (now := time.monotonic() - began) < seconds:
                records = min(int(now * rate - due), int(rate))
                due += records
                if records:
                    await self.send(producer, records)
                await asyncio.sleep(max(0.0, tick - (time.monotonic() - began - now)))

    async def pour(self, bootstrap: str, records: int) -> None:
        """Send so many as fast as it goes."""
        async with _producer(bootstrap) as producer:
            for first in range(0, records, PORTION):
                await self.send(producer, min(PORTION, records - first))


def _producer(bootstrap: str) -> AIOKafkaProducer:
    return AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=1 << 19)
