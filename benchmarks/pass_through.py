"""The client's own limit: records copied from topic to topic exactly once, and nothing else.

    python -m benchmarks.pass_through BOOTSTRAP INPUT OUTPUT GROUP RECORDS [--skip N] [--partitions 0,1]

Ends when RECORDS records were copied, of which the clock leaves out the first N. Prints the seconds, and its own CPU
seconds in that time. With `-` for OUTPUT it only fetches.
"""

import argparse
import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

COMMIT_INTERVAL = 0.1
BATCH_BYTES = 1 << 20


class Clock:
    """Counts records, and the seconds since the first of those that count."""

    def __init__(self, total: int, skip: int) -> None:
        self._total, self._skip = total, skip
        self.seen = 0
        self._began = self._cpu = 0.0

    @property
    def done(self) -> bool:
        return self.seen >= self._total

    def saw(self, records: int) -> None:
        """So many more have been fetched."""
        if not self._began and self.seen >= self._skip:
            self._began, self._cpu = time.perf_counter(), time.process_time()
        self.seen += records

    def told(self) -> tuple[float, float]:
        """Seconds, CPU seconds."""
        return time.perf_counter() - self._began, time.process_time() - self._cpu


async def fetch(consumer: AIOKafkaConsumer, clock: Clock) -> None:
    """Fetch all records."""
    while not clock.done:
        for records in (await consumer.getmany(timeout_ms=50)).values():
            clock.saw(len(records))


async def copy(consumer: AIOKafkaConsumer, bootstrap: str, target: str, group: str, clock: Clock) -> None:
    """Fetch all records and publish them to `target`, in transactions that hold the offsets too."""
    client = f"{group}-{min(consumer.assignment()).partition}"
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=client, max_batch_size=BATCH_BYTES
    ) as producer:
        while not clock.done:
            await producer.begin_transaction()
            sent: list[asyncio.Future[object]] = []
            offsets, due = {}, time.perf_counter() + COMMIT_INTERVAL
            while time.perf_counter() < due and not clock.done:
                for place, records in (await consumer.getmany(timeout_ms=50)).items():
                    clock.saw(len(records))
                    await publish(producer, target, place.partition, records, sent)
                    offsets[place] = OffsetAndMetadata(records[-1].offset + 1, "")
            await asyncio.gather(*sent)
            if offsets:
                await producer.send_offsets_to_transaction(offsets, group)
            await producer.commit_transaction()


async def publish(
    producer: AIOKafkaProducer,
    target: str,
    partition: int,
    records: list[ConsumerRecord],
    sent: list[asyncio.Future[object]],
) -> None:
    """Hand over records as they are."""
    batch = producer.create_batch()
    for record in records:
        row = {"key": record.key, "value": record.value, "timestamp": record.timestamp}
        if batch.append(**row) is None:
            sent.append(await producer.send_batch(batch, target, partition=partition))
            batch = producer.create_batch()
            batch.append(**row)
    sent.append(await producer.send_batch(batch, target, partition=partition))


async def run(given: argparse.Namespace) -> tuple[float, float]:
    """Seconds and CPU seconds for what was asked."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=given.bootstrap,
        group_id=given.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=1 << 20,
    )
    async with consumer:
        consumer.assign([TopicPartition(given.input, partition) for partition in given.partitions])
        clock = Clock(given.records, given.skip)
        if given.output == "-":
            await fetch(consumer, clock)
        else:
            await copy(consumer, given.bootstrap, given.output, given.group, clock)
        return clock.told()


def main() -> None:
    """Read the arguments, copy, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bootstrap", "input", "output", "group"):
        parser.add_argument(name)
    parser.add_argument("records", type=int)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--partitions", type=lambda text: [int(n) for n in text.split(",")], default=[0, 1, 2, 3])
    print(*asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
