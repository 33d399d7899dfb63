"""The client's own limit: records copied from topic to topic exactly once, and nothing else.

Run by throughput.py as a process of its own: python -m benchmarks.pass_through BOOTSTRAP INPUT OUTPUT GROUP RECORDS
It ends when RECORDS records were copied, and prints the seconds from the first fetch to the last commit and its own
CPU seconds in that time.
"""

import asyncio
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import OffsetAndMetadata, TopicPartition

COMMIT_INTERVAL = 0.1
BATCH_BYTES = 1 << 20


async def copy(bootstrap: str, source: str, target: str, group: str, total: int) -> tuple[float, float]:
    """Seconds and CPU seconds that it took to copy `total` records."""
    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=1 << 20,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=f"{group}-copy", max_batch_size=BATCH_BYTES
    )
    await consumer.start()
    await producer.start()
    try:
        copied, began, cpu = 0, 0.0, 0.0
        while copied < total:
            await producer.begin_transaction()
            sent, positions, due = [], {}, time.perf_counter() + COMMIT_INTERVAL
            while time.perf_counter() < due and copied < total:
                for partition, records in (await consumer.getmany(timeout_ms=50)).items():
                    if not began:
                        began, cpu = time.perf_counter(), time.process_time()
                    batch = producer.create_batch()
                    for record in records:
                        if batch.append(key=record.key, value=record.value, timestamp=record.timestamp) is None:
                            sent.append(await producer.send_batch(batch, target, partition=partition.partition))
                            batch = producer.create_batch()
                            batch.append(key=record.key, value=record.value, timestamp=record.timestamp)
                    sent.append(await producer.send_batch(batch, target, partition=partition.partition))
                    positions[TopicPartition(source, partition.partition)] = records[-1].offset + 1
                    copied += len(records)
            await asyncio.gather(*sent)
            offsets = {place: OffsetAndMetadata(offset, "") for place, offset in positions.items()}
            if offsets:
                await producer.send_offsets_to_transaction(offsets, group)
            await producer.commit_transaction()
        return time.perf_counter() - began, time.process_time() - cpu
    finally:
        await producer.stop()
        await consumer.stop()


if __name__ == "__main__":
    bootstrap_servers, source_topic, target_topic, group_id, number = sys.argv[1:]
    print(*asyncio.run(copy(bootstrap_servers, source_topic, target_topic, group_id, int(number))))
