"""From a record's timestamp until a read_committed reader outside has its forecast.

    python -m benchmarks.latency [--rates 1000 10000 50000] [--intervals 20ms 100ms 500ms] [--seconds 15]

One process on one core with 10,000 streams, exactly once, learning on, snapshots running; the broker, the sender (a
portion every 10 ms) and the reader have the other cores.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from benchmarks.measured import PARTITIONS, daemons
from benchmarks.source import Source
from benchmarks.throughput import kafka
from tests.kafka.broker import Broker

STREAMS = 10_000
TICK = 0.01
SETTLED = 2.0  # seconds at first that do not count
PERCENTILES = (50.0, 99.0, 99.9)
RATES, INTERVALS, SECONDS = (1000, 10_000, 50_000), ("20ms", "100ms", "500ms"), 15.0
HEAD = (
    "| commit interval | records/s | p50 | p99 | p99.9 |",
    "|---:|---:|---:|---:|---:|",
)


@dataclass(frozen=True, slots=True)
class Row:
    """Milliseconds at one rate."""

    interval: str
    rate: float
    milliseconds: tuple[float, ...]  # by PERCENTILES

    def __str__(self) -> str:
        told = " | ".join(f"{ms:,.0f} ms" for ms in self.milliseconds)
        return f"| {self.interval} | {self.rate:,.0f} | {told} |"


def latencies(broker: Broker, interval: str, rates: Sequence[float], seconds: float) -> Iterator[Row]:
    """A row for each rate, of one daemon."""
    source, target = f"latency-{interval}", f"latency-{interval}.forecast"
    for name in (source, target):
        broker.create_topic(name, PARTITIONS)
    with (
        ProcessPoolExecutor(1) as sender,
        daemons(broker, source, target, settings={"kafka.commit_interval": interval}) as running,
    ):
        asyncio.run(Source(source, PARTITIONS, STREAMS).begin(broker.bootstrap_servers))
        running.until(STREAMS)
        for rate in rates:
            made = asyncio.run(_measured(sender, broker.bootstrap_servers, source, target, rate, seconds))
            yield Row(interval, rate, tuple(np.percentile(made, PERCENTILES)))


async def _measured(
    sender: Executor, bootstrap: str, source: str, target: str, rate: float, seconds: float
) -> np.ndarray:
    """Milliseconds of each record sent after SETTLED."""
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed") as consumer:
        consumer.assign([TopicPartition(target, partition) for partition in range(PARTITIONS)])
        await consumer.seek_to_end()
        sending = asyncio.get_running_loop().run_in_executor(sender, _send, bootstrap, source, rate, seconds)
        stamps, arrivals, seen = list[int](), list[np.ndarray](), 0
        while not sending.done() or seen < sending.result():
            for records in (await consumer.getmany(timeout_ms=50)).values():
                seen += len(records)
                stamps += [record.timestamp for record in records]
                arrivals.append(np.full(len(records), 1000 * time.time()))
    sent = np.array(stamps)
    made: np.ndarray = (np.concatenate(arrivals) - sent)[sent > sent.min() + 1000 * SETTLED]
    return made


def _send(bootstrap: str, topic: str, rate: float, seconds: float) -> int:
    """How many were sent."""
    source = Source(topic, PARTITIONS, STREAMS)
    asyncio.run(source.flow(bootstrap, rate, seconds, TICK))
    return source.sent


def main() -> None:
    """Read the options, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--intervals", nargs="+", default=INTERVALS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    given = parser.parse_args()
    print(*HEAD, sep="\n")
    with kafka() as broker:
        for interval in given.intervals:
            for row in latencies(broker, interval, given.rates, given.seconds):
                print(row, flush=True)


if __name__ == "__main__":
    main()
