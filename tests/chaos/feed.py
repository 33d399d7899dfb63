"""What is fed in: real series with known content, and among them everything that a record should not be."""

import asyncio
import contextlib
import json
import math
import random
import time
from collections.abc import Iterator

import numpy as np
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streamrnn.service.demo import weather
from streamrnn.transport.csv_table import CsvTable

Message = tuple[bytes | None, bytes | None]
HOUR = 3_600_000
TICK = 0.02


class Feed:
    """Records for `partitions`, some thousand streams of the bundled weather with poison among them, from a seed."""

    def __init__(self, seed: int, streams: int, partitions: int, poison: float) -> None:
        self.random = random.Random(seed)
        self.year: CsvTable = weather()
        self.streams, self.partitions, self.poison = streams, partitions, poison
        self.step = [0] * streams
        self.sent = 0
        self.nuisances = 0

    def records(self) -> Iterator[tuple[int, Message]]:
        """Endless: the partition and the record. One in twenty is of one hot stream."""
        while True:
            for stream in range(self.streams):
                if self.random.random() < self.poison:
                    yield self.random.randrange(self.partitions), self.bad()
                if self.random.random() < 0.05:
                    yield 0, self.good(0)
                yield stream % self.partitions, self.good(stream)

    def good(self, stream: int) -> Message:
        """The stream's next value, seldom several at once, a bare number, or with its name inside."""
        key = f"{self.year.names[stream % len(self.year.names)]}/{stream}"
        step, count = self.step[stream], 1
        form = self.random.random()
        if form < 0.02:
            count = self.random.randrange(2, 6)
        self.step[stream] += count
        values = [self.value(stream, step + i) for i in range(count)]
        at = int(self.year.times[0]) + (step + count - 1) * HOUR
        if count > 1:
            return key.encode(), json.dumps({"values": [[value] for value in values], "time": at}).encode()
        if form > 0.98:
            return None, json.dumps({"stream": key, "value": values[0], "time": at}).encode()
        return key.encode(), json.dumps({"value": values[0], "time": at}).encode()

    def value(self, stream: int, step: int) -> float | None:
        """A year of a column of the weather, begun at another hour for each stream, over and over."""
        row = (stream // len(self.year.names) * 65 + step) % len(self.year.values)
        found = float(self.year.values[row, stream % len(self.year.names)])
        return None if math.isnan(found) else found

    def bad(self) -> Message:
        """A record of one of the kinds that should not be."""
        draw = self.random
        self.nuisances += 1
        fresh = b"nuisance-%d" % self.nuisances
        some = self.good_key()
        kinds: list[Message] = [
            (some, b'{"value": 12.5'),
            (some, b""),
            (some, b'{"reading": 1}'),
            (some, b'{"value": "12.5"}'),
            (some, b'{"value": true}'),
            (some, b'{"values": [1, 2]}'),
            (some, b'{"values": []}'),
            (some, b'{"values": [[1], 2]}'),
            (some, b"[" * 2000),
            (some, b'{"value": 1e999}'),
            (some, b'{"value": -Infinity}'),
            (some, b'{"value": 1, "time": "yesterday"}'),
            (some, json.dumps({"values": [[1.0]] * 5000}).encode()),
            (None, b"12.5"),
            (b"", b"12.5"),
            (b"k" * 300, b"12.5"),
            (b"\xff\xfe", b"12.5"),
            (fresh, None),
            (fresh, b"12.5"),
            (fresh, b'{"value": null}'),
            (b"null", b'{"value": NaN}'),
            (b"huge", b'{"value": %d}' % (10**12 * draw.choice((-1, 1)))),
            (b"tiny", b'{"value": 5e-324}'),
            (b"wild", json.dumps({"value": draw.choice((-1, 1)) * 10.0 ** draw.randrange(-300, 149)}).encode()),
            (b"late", json.dumps({"value": draw.random(), "time": draw.randrange(10**12)}).encode()),
            (b"early", b'{"value": 1, "time": "0001-01-01T00:00:00Z"}'),
            (b"constant", b"7"),
            (b"sentinel", b"-9999"),
            (b"x" * 256, b"1"),
        ]
        if draw.random() < 0.05:
            return some, None  # a stream that was known is forgotten
        if draw.random() < 0.005:
            return some, b"1" * (10 << 20)
        return draw.choice(kinds)

    def good_key(self) -> bytes:
        """The key of one of the real streams."""
        stream = self.random.randrange(self.streams)
        return f"{self.year.names[stream % len(self.year.names)]}/{stream}".encode()

    async def run(self, bootstrap_servers: str, topic: str, rate: float, stop: asyncio.Event) -> None:
        """Send at `rate` records a second until told to stop. The log then holds the truth, whatever was sent."""
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers,
            enable_idempotence=True,
            linger_ms=10,
            max_request_size=12 << 20,
            request_timeout_ms=120_000,
        )
        await producer.start()
        records, began = self.records(), time.monotonic()
        due = 0.0
        last = began
        try:
            while not stop.is_set():
                await asyncio.sleep(TICK)
                now = time.monotonic()
                due += min(now - last, 1.0) * rate  # after a stop of the broker no flood
                last = now
                while self.sent < due and not stop.is_set():
                    partition, (key, value) = next(records)
                    with contextlib.suppress(KafkaError):
                        sent = await producer.send(topic, value, key, partition=partition)
                        sent.add_done_callback(lambda done: done.cancelled() or done.exception())
                    self.sent += 1
            async with asyncio.timeout(60):
                await producer.flush()
        finally:
            await producer.stop()


def scale_of(values: np.ndarray) -> float:
    """A series' scale: the root mean square of its differences that are not zero."""
    moves = np.diff(values[np.isfinite(values)])
    moves = moves[moves != 0]
    return float(np.sqrt(np.mean(moves**2))) if len(moves) else 1.0
